"""Cores that two threads share: one makes the next frame's features while the other tracks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def halves_of(threads: int) -> tuple[int, int]:
    """Split threads between features, which take longer for one object, and tracking; each gets one at least."""
    return (threads + 1) // 2, max(1, threads // 2)


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
