"""Segment Anything's zero-shot experiments as commands: masks from a point, edges."""
