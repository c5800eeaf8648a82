"""Division of the cores between the two threads that encode coming frames and the thread that tracks."""

from __future__ import annotations


def split_threads(threads: int) -> tuple[int, int]:
    """Return the number of torch threads for each of the two encoding threads, and for the tracking one."""
    tracking = max(1, threads // 2)
    return max(1, (threads - tracking + 1) // 2), tracking
