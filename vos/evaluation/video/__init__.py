"""Scoring video: the protocols, the scores of a sequence and those of a data set."""
