"""Division of the cores between the two threads that encode coming frames and the thread that tracks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def split_threads(threads: int) -> tuple[int, int]:
    """Divide the cores between encoding and tracking.

    Args:
        threads: torch's threads in all, 2 or more.
    Returns:
        For each of the two encoding threads, and for the tracking one. Encoding takes nearly all of a frame's time.
    """
    return max(1, threads // 2), max(1, threads // 4)


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Limit the number of threads that torch uses for operations of this thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
