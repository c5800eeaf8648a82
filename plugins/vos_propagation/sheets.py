"""Planes that are blank but for a few parts, in memory that is used again once nobody has them any more.

Memory that is new each time costs more than what is drawn: the system clears it page by page, then it is filled.
"""

from __future__ import annotations

from weakref import ReferenceType, ref

from torch import Tensor

from vos.plugin import FloatArray
from vos_propagation.boxes import Box

# A caller may still have the frame before.
KEPT = 2


class Sheet:
    """Planes of one size, to draw on and to give away.

    Attributes:
        planes: float32 (K, h, w).
    """

    def __init__(self, shape: tuple[int, int, int], like: Tensor, blank: float) -> None:
        self.planes = like.new_full(shape, blank)
        self._blank = blank
        self._drawn: list[tuple[int, Box]] = []
        self._given: ReferenceType[FloatArray] | None = None

    def is_free(self) -> bool:
        """Tell whether nobody has what was given away, nor a part of it."""
        return self._given is None or self._given() is None

    def wipe(self) -> None:
        """Make blank again what was drawn."""
        for row, (y, x) in self._drawn:
            self.planes[row, y, x] = self._blank
        self._drawn.clear()

    def draw(self, row: int, box: Box, values: Tensor) -> None:
        """Fill a part of one plane."""
        self.planes[row, box[0], box[1]] = values
        self._drawn.append((row, box))

    def give(self) -> FloatArray:
        """Give the planes to the host, on a CPU without a copy: they are not wiped while anybody has them."""
        given: FloatArray = self.planes.cpu().numpy()
        # Whatever shares its memory holds on to this very array, which does not own it.
        self._given = ref(given)
        return given


class Sheets:
    """Gives blank sheets; those of the latest size are used again."""

    def __init__(self, blank: float) -> None:
        self._blank = blank
        self._kept: list[Sheet] = []

    def take(self, shape: tuple[int, int, int], like: Tensor) -> Sheet:
        """Give a blank sheet of a size (K, h, w), on the device of ``like``."""
        self._kept = [sheet for sheet in self._kept if sheet.planes.shape == shape]
        for sheet in self._kept:
            if sheet.is_free():
                sheet.wipe()
                return sheet
        sheet = Sheet(shape, like, self._blank)
        self._kept = [*self._kept, sheet][-KEPT:]
        return sheet
