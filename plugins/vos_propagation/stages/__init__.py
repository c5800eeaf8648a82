"""The steps that run on each frame, one a module."""
