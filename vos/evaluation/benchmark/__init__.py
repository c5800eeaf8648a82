"""A tracker over a whole data set: what to run, the run, and its results."""
