"""The source protocol: an ordered set of frames that the host reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from vos.types.frame import Frame
from vos.types.source_info import SourceInfo


@runtime_checkable
class Source(Protocol):
    """An ordered set of frames."""

    @property
    def info(self) -> SourceInfo:
        """Properties that are known before any frame is read."""
        ...

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames lazily.

        Args:
            indices: which frames, in the order wanted; None for all, forward. A source that is not
                seekable takes forward ranges alone. A range may reach past the end of a source
                whose ``frame_count`` is None; it then ends with the source.
        Yields:
            Frames whose ``index`` are those of ``indices``.
        Raises:
            SourceError: a frame cannot be read.
            TruncatedSourceError: the source ended before its declared length.
        """
        ...

    def close(self) -> None:
        """Release the file or device. No frame is read after it."""
        ...
