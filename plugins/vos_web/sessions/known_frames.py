"""A source of those frames of a video that have label maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from vos.plugin import Frame, Source, SourceInfo
from vos_web.sessions.session import Session
from vos_web.tracking.reordered_source import neighbouring_runs


class KnownFrames:
    """Another source without some of its frames; the others keep their indices, names and times."""

    def __init__(self, source: Source, left_out: frozenset[int]) -> None:
        """Choose the frames.

        Args:
            source: a seekable source; it stays open.
            left_out: indices of the frames that are not given.
        """
        self._source = source
        self._info = dataclasses.replace(source.info, left_out=left_out)

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames; see ``vos.plugin.Source``."""
        wanted = range(self._info.frame_count or 0) if indices is None else indices
        for _, run in neighbouring_runs([index for index in wanted if index not in self._info.left_out]):
            yield from self._source.frames(run)

    def close(self) -> None:
        """The other source stays open."""


def object_gaps(session: Session) -> list[tuple[str, int, int]]:
    """Objects that some frame shows, but that nobody annotated or tracked in some of the known frames.

    Returns:
        Each object's name, the number of these frames and the first of them.
    """
    gaps = []
    for entry in session.facts.objects:
        unknown = [frame for frame in session.presence.unknown(entry.id) if entry.end is None or frame < entry.end]
        if unknown and not entry.deleted and session.presence.shown(entry.id):
            gaps.append((entry.name, len(unknown), unknown[0]))
    return gaps


def unknown_frames(session: Session) -> list[int]:
    """Indices of the frames that are neither annotated nor tracked, ascending."""
    known = np.flatnonzero(session.presence.known).tolist()
    with_masks = {index for index in known if session.mask_path(index).exists()}
    return [index for index in range(session.facts.frame_count) if index not in with_masks]
