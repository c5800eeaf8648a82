"""A source whose frames are another's in any order: backward, or with annotated frames first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from vos.plugin import Frame, Source, SourceInfo


class ReorderedSource:
    """Frame ``p`` of this source is frame ``order[p]`` of another one."""

    def __init__(self, source: Source, order: Sequence[int]) -> None:
        """Choose the frames and their order.

        Args:
            source: a seekable source; it stays open.
            order: indices in it, each at most once.
        """
        self._source = source
        self._order = order
        info = source.info
        names = info.frame_names
        self._info = dataclasses.replace(
            info,
            frame_count=len(order),
            frame_names=None if names is None else tuple(names[index] for index in order),
            frame_files=None,
            annotation_folder=None,
        )

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames; see ``vos.plugin.Source``."""
        positions = range(len(self._order)) if indices is None else indices
        for first, run in neighbouring_runs([self._order[position] for position in positions]):
            for offset, frame in enumerate(self._source.frames(run)):
                yield Frame(positions[first + offset], frame.image, frame.name, frame.time)

    def close(self) -> None:
        """The other source stays open."""


def neighbouring_runs(wanted: Sequence[int]) -> Iterator[tuple[int, range]]:
    """Split indices into runs of neighbours: the place of each run's first index, and the run."""
    first = 0
    while first < len(wanted):
        step = wanted[first + 1] - wanted[first] if first + 1 < len(wanted) else 1
        last = first
        if step in (1, -1):
            while last + 1 < len(wanted) and wanted[last + 1] - wanted[last] == step:
                last += 1
        else:
            step = 1
        yield first, range(wanted[first], wanted[last] + step, step)
        first = last + 1
