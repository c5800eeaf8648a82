"""What past frames looked like and where labels were, kept so that cells of any of them are fetched at once.

Cells are kept in blocks of 2 x 2: a block's mean says whether to look at its cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from vos_propagation.planes import halved
from vos_propagation.tiles import BLOCK, Places, places_of


@dataclass(frozen=True)
class Remembered:
    """A past frame.

    Attributes:
        slot: where it is in the memory.
        places: where each label was, without the first, the background.
    """

    slot: int
    places: Places


class Memory:
    """A fixed number of frames of one size, with one number of labels.

    Attributes:
        shape: a frame's rows and columns, blocks.
        slots: how many frames.
        labels: V, how many labels, with the background.
        keys: (slots * rows * columns, 4 C), the cells of each block.
        means: (slots * rows * columns, C), each block's mean.
        values: (slots * rows * columns, 16 V), for each cell of a block the labels of its quarters.
    """

    def __init__(self, slots: int, cells: Tensor, labels: int) -> None:
        """Make room.

        Args:
            slots: how many frames.
            cells: (rows, columns, 4, C) as any frame's; of the dtype and on the device of what will be kept.
            labels: V, how many labels, with the background.
        """
        rows, columns, size, channels = cells.shape
        self.shape = rows, columns
        self.slots, self.labels, self._area = slots, labels, rows * columns
        self.keys = cells.new_zeros(slots * self._area, size * channels)
        self.means = cells.new_zeros(slots * self._area, channels)
        self.values = cells.new_zeros(slots * self._area, size * 4 * labels)

    def put(self, cells: Tensor, labels: Tensor, kept: Iterable[Remembered]) -> Remembered:
        """Remember a frame in a slot that no other uses.

        Args:
            cells: (rows, columns, 4, C), of at most about unit length over C.
            labels: (V, 2 h, 2 w), summing to 1 over V, or to 0 where a cell shall not vote.
            kept: the frames that shall stay; fewer than there are slots.
        Returns:
            The frame.
        Raises:
            RuntimeError: no slot is left.
        """
        used = {frame.slot for frame in kept}
        slot = next((at for at in range(self.slots) if at not in used), None)
        if slot is None:
            raise RuntimeError(f"all of {self.slots} slots are in use")
        here = self._slice(slot)
        coarse = halved(labels)
        rows, columns = self.shape
        # Row of the block, of the cell in it and of the quarter in that; then the same for the columns. The last, two
        # numbers, goes as one.
        two = torch.int32 if self.values.dtype.itemsize == 2 else torch.int64
        quarters = labels.to(self.values.dtype).view(two).view(len(labels), rows, BLOCK, 2, columns, BLOCK)
        self.values[here].view(two).view(rows, columns, BLOCK, BLOCK, -1, 2).copy_(quarters.permute(1, 4, 2, 5, 0, 3))
        self.keys[here] = cells.reshape(self._area, -1)
        self.means[here] = block_means(cells).view(self._area, -1)
        return Remembered(slot, places_of(coarse[1:]))

    def cells_of(self, frame: Remembered) -> Tensor:
        """Give back a frame's cells, (rows, columns, 4, C)."""
        return self.keys[self._slice(frame.slot)].view(*self.shape, BLOCK * BLOCK, -1)

    def labels_of(self, frame: Remembered) -> Tensor:
        """Give back a frame's labels, float32 (V, 2 h, 2 w), in the precision that they were kept in."""
        rows, columns = self.shape
        values = self.values[self._slice(frame.slot)].view(rows, columns, BLOCK, BLOCK, -1, 2, 2)
        quarters = values.permute(4, 0, 2, 5, 1, 3, 6)
        return quarters.reshape(-1, 2 * BLOCK * rows, 2 * BLOCK * columns).float()

    def _slice(self, slot: int) -> slice:
        return slice(slot * self._area, (slot + 1) * self._area)

    def index(self, frame: Remembered, rows: Tensor, columns: Tensor) -> Tensor:
        """Say which of the memory's blocks are at rows and columns (n,) of a frame, in blocks: int64 (n,)."""
        return (frame.slot * self.shape[0] + rows) * self.shape[1] + columns


def in_blocks(cells: Tensor) -> Tensor:
    """Bring (h, w, C), h and w even, into blocks: (h / 2, w / 2, 4, C)."""
    height, width, channels = cells.shape
    split = cells.view(height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels)
    return split.transpose(1, 2).reshape(height // BLOCK, width // BLOCK, BLOCK * BLOCK, channels)


def block_means(cells: Tensor) -> Tensor:
    """Give the means of blocks (..., 4, C): (..., C)."""
    return cells.mean(-2)
