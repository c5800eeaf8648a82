"""What a source of frames is, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from vos.arrays import Size
from vos.frame import Frame


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its frames are read.

    Attributes:
        location: what the user gave: a path, a camera index or an address.
        name: the sequence's name; the output folder is called so.
        kind: what reads it, for people (``"video (decord)"``, ``"image folder"``).
        frame_count: number of frames, or None where the source cannot tell (camera, stream).
        size: (H, W) of the frames in pixels, or None until the first one is read.
        fps: mean frames per second, or None where frames have no times.
        seekable: True if any frame can be read at any time, so that a run may go backward.
        frame_names: output names of all frames where files give them; None means zero-padded indices.
        annotation_folder: the folder of label maps that the layout puts beside the frames
            (DAVIS and YouTube-VOS: ``Annotations``), or None.
    """

    location: str
    name: str
    kind: str
    frame_count: int | None = None
    size: Size | None = None
    fps: float | None = None
    seekable: bool = True
    frame_names: tuple[str, ...] | None = None
    annotation_folder: Path | None = None


@runtime_checkable
class Source(Protocol):
    """An ordered set of frames."""

    @property
    def info(self) -> SourceInfo:
        """What is known before reading."""
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
