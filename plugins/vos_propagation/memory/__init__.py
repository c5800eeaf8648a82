"""Annotated and recent frames, and what is learnt from them."""
