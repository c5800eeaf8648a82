"""Division of the cores between the two threads that encode coming frames and the thread that tracks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def split_threads(threads: int) -> tuple[int, int]:
    """Return the number of torch threads for each of the two encoding threads, and for the tracking one."""
    tracking = max(1, threads // 2)
    return max(1, (threads - tracking + 1) // 2), tracking


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Limit the number of threads that torch uses for operations of this thread; None leaves it as it is."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
