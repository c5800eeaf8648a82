"""Properties of a source of frames that are known before any frame is read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from pathlib import Path
from types import NoneType

from vos.types.arrays import Size
from vos.types.whole_numbers import whole_number


@dataclass(frozen=True)
class SourceInfo:
    """Properties of a source of frames that are known before any frame is read.

    Attributes:
        location: what the user gave: a path, a camera index or an address.
        name: the sequence's name; the output folder is called so.
        kind: the reader, as shown to the user (``"video (PyAV)"``, ``"image folder"``).
        frame_count: number of frames, or None where the source cannot tell (camera, stream).
        size: (H, W) of the frames in pixels, or None until the first one is read.
        fps: mean frames per second of the track that is read, or None where frames have no times.
        seekable: True if any frame can be read at any time, so that a run may go backward.
        frame_names: output names of all frames where files give them; None means zero-padded indices.
        annotation_folder: the folder of label maps that the layout puts beside the frames
            (DAVIS and YouTube-VOS: ``Annotations``), or None.
        sample_aspect_ratio: width of a pixel divided by its height, as a player shows the frames (after rotation);
            1 for square pixels and where it is not known.
        frame_files: names with suffix of the files that hold the frames (``"00000.jpg"``), one a frame, or None where
            a frame has no file of its own.
        left_out: indices of frames that a source over another one does not give: a run passes over them, and they get
            no masks. What a plugin opens leaves none out.
        local_copy: where the copy of what an address names lies, which the host reads; None for other locations.
    Raises:
        ValueError: the location, the name or the kind is no text, the number of frames no whole number, the size no
            pair of them, fps no number, or the names no tuple of text.
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
    sample_aspect_ratio: Fraction = Fraction(1)
    frame_files: tuple[str, ...] | None = None
    left_out: frozenset[int] = frozenset()
    local_copy: Path | None = None

    def __post_init__(self) -> None:
        for what, kinds, expected in (
            ("location", str, "text"),
            ("name", str, "text"),
            ("kind", str, "text"),
            ("fps", (Real, NoneType), "a number or None"),
            ("frame_names", (tuple, list, NoneType), "a tuple of text, or None"),
        ):
            if not isinstance(value := getattr(self, what), kinds):
                raise ValueError(f"info.{what} is {value!r:.80}, expected {expected}")
        if other := [name for name in self.frame_names or () if not isinstance(name, str)]:
            raise ValueError(f"info.frame_names has {other[0]!r:.80}, expected text")
        if self.frame_count is not None:
            object.__setattr__(self, "frame_count", whole_number(self.frame_count, "info.frame_count", ValueError))
        if self.size is not None:
            if not isinstance(self.size, (tuple, list)) or len(self.size) != 2:
                raise ValueError(f"info.size is {self.size!r:.80}, expected (H, W)")
            object.__setattr__(self, "size", tuple(whole_number(side, "info.size", ValueError) for side in self.size))
