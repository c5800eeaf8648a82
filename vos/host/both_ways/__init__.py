"""Tracking both ways: which pass gives each object's mask, and one label map out of two passes."""
