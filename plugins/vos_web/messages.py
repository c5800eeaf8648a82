"""Errors in the words of the page."""

from __future__ import annotations

from vos.plugin import TruncatedSourceError, VosError


def page_message(error: VosError) -> str:
    """An error's message; options of ``vos track``, which the page does not have, are left out."""
    if isinstance(error, TruncatedSourceError):
        return (
            f"the video is damaged or cut short: of {error.frames_declared} frames the first {error.frames_read} can "
            "be read. These can be annotated, tracked and exported."
        )
    return str(error)
