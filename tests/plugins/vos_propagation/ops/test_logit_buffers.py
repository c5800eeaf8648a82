"""Buffers are reused, but never while a caller holds the exported array."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import vos
from vos_propagation.ops.logit_buffers import POOL_SIZE, LogitBufferPool

BLANK = -8.0
SHAPE = (2, 6, 8)
BOX = slice(1, 3), slice(4, 8)


@pytest.fixture
def buffers() -> LogitBufferPool:
    return LogitBufferPool(BLANK)


@pytest.fixture
def quick_collections() -> Iterator[None]:
    """Exempt what the process holds already from garbage collection, which takes 0.5 s with all plugins imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def drawn(buffers: LogitBufferPool, value: float) -> np.ndarray:
    buffer = buffers.acquire(SHAPE, torch.zeros(1))
    buffer.draw(1, BOX, torch.full((2, 4), value))
    return buffer.export()


def expected(value: float) -> np.ndarray:
    planes = np.full(SHAPE, BLANK, np.float32)
    planes[1, 1:3, 4:8] = value
    return planes


def test_an_exported_box_is_cleared_before_the_next_use(buffers: LogitBufferPool) -> None:
    first = drawn(buffers, 3.0)
    assert first.dtype == np.float32
    assert np.array_equal(first, expected(3.0))
    del first
    assert (buffers.acquire(SHAPE, torch.zeros(1)).export() == BLANK).all()


def test_memory_that_no_caller_holds_is_reused(buffers: LogitBufferPool) -> None:
    addresses = set()
    for value in range(6):
        addresses.add(drawn(buffers, value).ctypes.data)
    assert len(addresses) == 1


@pytest.mark.parametrize(
    "held",
    [
        lambda given: given,
        lambda given: given[1],
        lambda given: given[1:, 1:3][0].T,
        lambda given: given.view(),
        torch.from_numpy,
        memoryview,
        lambda given: vos.Prediction((1, 2), given),
        lambda given: vos.Prediction((1, 2), given).logits[1],
    ],
)
def test_a_held_array_is_not_overwritten(buffers: LogitBufferPool, quick_collections: None, held) -> None:
    kept = []
    for value in range(2 * POOL_SIZE + 2):
        kept.append(held(drawn(buffers, value)))
        gc.collect()
    arrays = [np.asarray(getattr(one, "logits", one)) for one in kept]
    for value, array in enumerate(arrays):
        assert array.max() == max(value, BLANK)


def test_a_held_frame_needs_a_second_buffer_and_no_third(buffers: LogitBufferPool) -> None:
    before, addresses = drawn(buffers, 0.0), set()
    for value in range(1, 6):
        now = drawn(buffers, value)
        addresses |= {before.ctypes.data, now.ctypes.data}
        assert np.array_equal(before, expected(value - 1))
        before = now
        del now
    assert len(addresses) == 2


def test_another_number_of_objects_needs_another_buffer(buffers: LogitBufferPool) -> None:
    drawn(buffers, 1.0)
    assert buffers.acquire((3, 6, 8), torch.zeros(1)).planes.shape == (3, 6, 8)
    assert np.array_equal(drawn(buffers, 2.0), expected(2.0))
