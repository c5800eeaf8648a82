"""Masks from clicks by a learnt decoder over the features of the embedded tracker's network."""
