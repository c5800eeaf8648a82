"""Shipped sources: video files, folders of images (DAVIS and YouTube-VOS layouts too), cameras and streams."""

from __future__ import annotations

from vos.plugin import Source, hookimpl


@hookimpl
def vos_open_source(location: str) -> Source | None:
    """Choose a reader by what the location is."""
    from vos_sources.locate import open_location

    return open_location(location)
