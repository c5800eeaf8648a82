"""Reusable buffers for full-size logits, which are constant outside the objects' boxes.

A new allocation for each frame takes longer than filling the boxes: the operating system clears every page first.
"""

from __future__ import annotations

from weakref import ReferenceType, ref

from torch import Tensor

from vos.plugin import FloatArray
from vos_propagation.ops.boxes import Box

# Number of buffers: a caller may still hold the logits of the frame before.
POOL_SIZE = 2


class LogitBuffer:
    """A buffer of one size whose planes are exported to a caller without a copy.

    Attributes:
        planes: float32 (K, h, w).
    """

    def __init__(self, shape: tuple[int, int, int], like: Tensor, blank: float) -> None:
        self.planes = like.new_full(shape, blank)
        self._blank = blank
        self._drawn: list[tuple[int, Box]] = []
        self._exported: ReferenceType[FloatArray] | None = None

    def is_free(self) -> bool:
        """Test whether no caller holds the exported array or a view of it."""
        return self._exported is None or self._exported() is None

    def clear(self) -> None:
        """Reset the parts that were filled."""
        for row, (y, x) in self._drawn:
            self.planes[row, y, x] = self._blank
        self._drawn.clear()

    def draw(self, row: int, box: Box, values: Tensor) -> None:
        """Fill a box of one plane."""
        self.planes[row, box[0], box[1]] = values
        self._drawn.append((row, box))

    def export(self) -> FloatArray:
        """Return the planes as an array, on a CPU without a copy; they are not cleared while a caller holds it."""
        exported: FloatArray = self.planes.cpu().numpy()
        # Views of the exported array keep a reference to it.
        self._exported = ref(exported)
        return exported


class LogitBufferPool:
    """A pool of buffers; buffers of the latest size are reused."""

    def __init__(self, blank: float) -> None:
        self._blank = blank
        self._buffers: list[LogitBuffer] = []

    def acquire(self, shape: tuple[int, int, int], like: Tensor) -> LogitBuffer:
        """Return a cleared buffer of a size (K, h, w), on the device of ``like``."""
        self._buffers = [buffer for buffer in self._buffers if buffer.planes.shape == shape]
        for buffer in self._buffers:
            if buffer.is_free():
                buffer.clear()
                return buffer
        buffer = LogitBuffer(shape, like, self._blank)
        self._buffers = [*self._buffers, buffer][-POOL_SIZE:]
        return buffer
