"""Training of the shipped decoder: clips are made, cues recorded, the decoder fitted."""
