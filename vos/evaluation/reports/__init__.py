"""Scores as text tables, CSV and HTML."""
