"""One frame of a sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vos.types.arrays import Image, Size
from vos.types.whole_numbers import whole_number


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a sequence: its pixels, and its place among the others.

    Attributes:
        index: position in the source, from 0. Kept when only a part of the source is tracked.
        image: uint8 (H, W, 3), RGB, C-contiguous, read-only. Copy it to change it.
        name: file stem (``"00037"``), or the zero-padded index for videos; the output's name.
        time: presentation time in seconds from the start of the source, or None if unknown.
    Raises:
        ValueError: the image is not uint8 (H, W, 3) with H, W > 0, the name no text, or the index negative or no whole
            number.
    """

    index: int
    image: Image
    name: str
    time: float | None = None

    def __post_init__(self) -> None:
        image = self.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"frame {self.name}: image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        if not isinstance(self.name, str):
            raise ValueError(f"frame {self.index}: its name is {self.name!r}, expected text")
        object.__setattr__(self, "index", whole_number(self.index, f"frame {self.name}: its index", ValueError))
        if self.index < 0:
            raise ValueError(f"frame {self.name}: index is {self.index}, expected 0 or more")
        view = np.ascontiguousarray(image).view()
        view.flags.writeable = False
        object.__setattr__(self, "image", view)

    @property
    def size(self) -> Size:
        """(H, W) of the image, in pixels."""
        height, width = self.image.shape[:2]
        return int(height), int(width)
