"""Outputs of a run: planned and checked before it begins, complete or absent, and recorded in run.json."""
