"""Scores of single images: PerSeg, semantic classes, Hungarian matching, initializers."""
