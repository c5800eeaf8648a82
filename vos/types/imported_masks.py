"""Masks that were read from a file of another tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from vos.types.arrays import LabelMap


@dataclass(frozen=True)
class ImportedFrame:
    """One frame's label map from a file of another tool.

    Attributes:
        name: the frame's name in the file, without folder and suffix (``"00037"``).
        label_map: uint8 (H, W): 0 and object ids.
        index: the frame's index in its sequence, from 0, where the file states it; else None.
    Raises:
        ValueError: the name is no text.
    """

    name: str
    label_map: LabelMap
    index: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"a frame's name is {self.name!r}, expected text")


@dataclass(frozen=True)
class ImportedMasks:
    """The masks of one sequence in a file or folder of another tool.

    Attributes:
        sequence: the sequence's name.
        frames: makes an iterator over the frames, in order; each call begins anew, and one frame is read at a time.
        labels: what the file calls the objects, by object id; empty where it names none.
        unclear_ids: why an id may be another object in the next frame, for a message; empty where ids hold.
    """

    sequence: str
    frames: Callable[[], Iterator[ImportedFrame]]
    labels: Mapping[int, str] = field(default_factory=dict)
    unclear_ids: str = ""
