"""The values that cross every seam: frames, label maps, annotations, predictions, runs. Imports nothing above it."""
