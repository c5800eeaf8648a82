"""The frozen network and what it gives of a frame."""
