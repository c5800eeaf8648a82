"""Cores that threads share: two make the next frames' features while one tracks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def shares_of_threads(threads: int) -> tuple[int, int]:
    """Split threads: how many each of the two that make features gets, and how many the one that tracks."""
    tracking = max(1, threads // 2)
    return max(1, (threads - tracking + 1) // 2), tracking


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads for what this thread asks of it, or as many as before for None."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
