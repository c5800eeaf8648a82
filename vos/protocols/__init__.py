"""What a plugin object must offer: trackers, initializers, sources and writers."""
