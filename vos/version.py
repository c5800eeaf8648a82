"""The installed distribution's version."""

from importlib import metadata

__version__: str = metadata.version("vos-toolkit")
