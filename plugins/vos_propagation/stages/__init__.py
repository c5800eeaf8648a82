"""The steps that run on each frame, one or two in each module."""
