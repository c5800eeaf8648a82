"""Tracking a session in a worker process."""
