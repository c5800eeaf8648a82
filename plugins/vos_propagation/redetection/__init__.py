"""Verification of tracked objects, and the search for lost ones in the whole frame."""
