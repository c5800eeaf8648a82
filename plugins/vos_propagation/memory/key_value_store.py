"""Keys and labels of all memory frames in one tensor each, so that one call fetches cells of any frame.

Cells are stored in blocks of 2x2; the mean key of a block decides whether its cells are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from vos_propagation.ops.query_tiles import BLOCK, ObjectPlaces, object_places


@dataclass(frozen=True)
class MemoryFrame:
    """A frame of the memory.

    Attributes:
        slot: its index in the store.
        places: the position of each object, without background.
    """

    slot: int
    places: ObjectPlaces


class KeyValueMemoryStore:
    """A fixed number of frames of one size, with one number of labels.

    Attributes:
        shape: (rows, columns) of a frame, blocks.
        slots: the largest number of frames.
        labels: V, the number of labels, background included.
        keys: (slots * rows * columns, 4 C), the cells of each block.
        means: (slots * rows * columns, C), each block's mean.
        values: (slots * rows * columns, 4 V), the labels of each cell of a block.
    """

    def __init__(self, slots: int, cells: Tensor, labels: int) -> None:
        """Allocate the store.

        Args:
            slots: the largest number of frames.
            cells: (rows, columns, 4, C), the cells of any frame, for size, dtype and device.
            labels: V, the number of labels, background included.
        """
        rows, columns, size, channels = cells.shape
        self.shape = rows, columns
        self.slots, self.labels, self._area = slots, labels, rows * columns
        self.keys = cells.new_zeros(slots * self._area, size * channels)
        self.means = cells.new_zeros(slots * self._area, channels)
        self.values = cells.new_zeros(slots * self._area, size * labels)

    def put(self, cells: Tensor, labels: Tensor, kept: Iterable[MemoryFrame]) -> MemoryFrame:
        """Store a frame in a free slot.

        Args:
            cells: (rows, columns, 4, C), at most about unit length over C.
            labels: float32 (V, h, w), summing to 1 over V, or to 0 where a cell must not vote.
            kept: the stored frames that must stay; fewer than there are slots.
        Returns:
            The frame.
        Raises:
            RuntimeError: no slot is free.
        """
        used = {frame.slot for frame in kept}
        slot = next((at for at in range(self.slots) if at not in used), None)
        if slot is None:
            raise RuntimeError(f"all of {self.slots} slots are in use")
        part = self._slice(slot)
        rows, columns = self.shape
        by_block = labels.view(len(labels), rows, BLOCK, columns, BLOCK).permute(1, 3, 2, 4, 0)
        self.values[part].view(by_block.shape).copy_(by_block)
        self.keys[part] = cells.reshape(self._area, -1)
        self.means[part] = block_means(cells).view(self._area, -1)
        return MemoryFrame(slot, object_places(labels[1:]))

    def cells_of(self, frame: MemoryFrame) -> Tensor:
        """Return a frame's keys, (rows, columns, 4, C)."""
        return self.keys[self._slice(frame.slot)].view(*self.shape, BLOCK * BLOCK, -1)

    def labels_of(self, frame: MemoryFrame) -> Tensor:
        """Return a frame's labels, float32 (V, h, w), at the precision of the store."""
        rows, columns = self.shape
        values = self.values[self._slice(frame.slot)].view(rows, columns, BLOCK, BLOCK, -1)
        return values.permute(4, 0, 2, 1, 3).reshape(-1, BLOCK * rows, BLOCK * columns).float()

    def _slice(self, slot: int) -> slice:
        return slice(slot * self._area, (slot + 1) * self._area)

    def index(self, frame: MemoryFrame, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the store's block indices, int64 (n,), of block rows and columns (n,) of a frame."""
        return (frame.slot * self.shape[0] + rows) * self.shape[1] + columns


def in_blocks(cells: Tensor) -> Tensor:
    """Group cells (h, w, C), h and w even, into blocks of 2x2: (h / 2, w / 2, 4, C)."""
    height, width, channels = cells.shape
    split = cells.view(height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels)
    return split.transpose(1, 2).reshape(height // BLOCK, width // BLOCK, BLOCK * BLOCK, channels)


def block_means(cells: Tensor) -> Tensor:
    """Average the cells of each block: (..., 4, C) to (..., C)."""
    return cells.mean(-2)
