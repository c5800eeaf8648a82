"""Protocols of plugin objects: the methods of trackers, initializers, sources, writers and executors."""
