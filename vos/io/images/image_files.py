"""The image files of one sequence: values of more than 8 bits are reduced by one scale for all frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vos.io.images.image_file import read_pixels, to_rgb
from vos.io.images.value_scale import ValueScale, evenly_spaced, find_value_scale
from vos.types.arrays import Image, Size


class ImageFiles:
    """Reads the files of a sequence as frames; may be used by several threads at a time.

    Attributes:
        size: (H, W) of the first image.
        scale: how values of more than 8 bits are reduced, None where the first image has 8; its ``text`` is for people.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the first image, and more of them where it has more than 8 bits.

        Args:
            paths: in the order of frames, at least one.
        Raises:
            SourceError: one of those cannot be read.
        """
        self._paths = list(paths)
        first = read_pixels(self._paths[0])
        self.size: Size = (first.shape[0], first.shape[1])
        self.scale: ValueScale | None = None
        if first.dtype != np.uint8:
            others = (read_pixels(self._paths[index]) for index in evenly_spaced(len(paths))[1:])
            self.scale = find_value_scale([first, *others])

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> Image:
        """Read an image.

        Args:
            index: of the file, from 0.
        Returns:
            uint8 (H, W, 3), RGB.
        Raises:
            SourceError: it cannot be read, or is damaged.
        """
        return to_rgb(read_pixels(self._paths[index]), self.scale)
