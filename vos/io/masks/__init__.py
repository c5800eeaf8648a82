"""Mask files: label maps in palette, grey, RGB and cut-out images, read strictly and written with the DAVIS palette."""
