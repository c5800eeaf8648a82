"""The frame loop: passes over the frames of a source, a tracker called with each, a label map of each answer."""
