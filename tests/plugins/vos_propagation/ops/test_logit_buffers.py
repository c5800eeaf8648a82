"""Sheets are used again, but never while somebody still has what was on them."""

import gc

import numpy as np
import pytest
import torch

import vos
from vos_propagation.ops.logit_buffers import KEPT, LogitBufferPool

BLANK = -8.0
SHAPE = (2, 6, 8)
BOX = slice(1, 3), slice(4, 8)


@pytest.fixture
def buffers() -> LogitBufferPool:
    return LogitBufferPool(BLANK)


def drawn(buffers: LogitBufferPool, value: float) -> np.ndarray:
    buffer = buffers.acquire(SHAPE, torch.zeros(1))
    buffer.draw(1, BOX, torch.full((2, 4), value))
    return buffer.export()


def expected(value: float) -> np.ndarray:
    planes = np.full(SHAPE, BLANK, np.float32)
    planes[1, 1:3, 4:8] = value
    return planes


def test_what_was_drawn_is_given_and_gone_from_the_next(buffers: LogitBufferPool) -> None:
    first = drawn(buffers, 3.0)
    assert first.dtype == np.float32
    assert np.array_equal(first, expected(3.0))
    del first
    assert (buffers.acquire(SHAPE, torch.zeros(1)).export() == BLANK).all()


def test_memory_that_nobody_has_is_used_again(buffers: LogitBufferPool) -> None:
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
def test_what_somebody_has_stays_as_it_was(buffers: LogitBufferPool, held) -> None:
    kept = []
    for value in range(2 * KEPT + 2):
        kept.append(held(drawn(buffers, value)))
        gc.collect()
    arrays = [np.asarray(getattr(one, "logits", one)) for one in kept]
    for value, array in enumerate(arrays):
        assert array.max() == max(value, BLANK)


def test_a_frame_before_that_is_still_held_takes_a_second_sheet_and_no_third(buffers: LogitBufferPool) -> None:
    before, addresses = drawn(buffers, 0.0), set()
    for value in range(1, 6):
        now = drawn(buffers, value)
        addresses |= {before.ctypes.data, now.ctypes.data}
        assert np.array_equal(before, expected(value - 1))
        before = now
        del now
    assert len(addresses) == 2


def test_another_number_of_objects_takes_another_sheet(buffers: LogitBufferPool) -> None:
    drawn(buffers, 1.0)
    assert buffers.acquire((3, 6, 8), torch.zeros(1)).planes.shape == (3, 6, 8)
    assert np.array_equal(drawn(buffers, 2.0), expected(2.0))
