"""DiffSeg: segments of a frame from Stable Diffusion's self-attention, without labels or text."""
