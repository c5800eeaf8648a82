"""Time per frame, summed up in constant memory."""

from __future__ import annotations

import bisect
import time

_FIRST_EDGE_MS = 0.05
_GROWTH = 1.1
_BINS = 150


class FrameTimes:
    """Counts intervals into bins that grow by 10 %, so that quantiles are known to 5 % whatever the length."""

    def __init__(self) -> None:
        self._edges = [_FIRST_EDGE_MS * _GROWTH**i for i in range(_BINS)]
        self._counts = [0] * (_BINS + 1)
        self._count = 0
        self._total = 0.0
        self._largest = 0.0
        self._last = time.perf_counter()

    def start(self) -> None:
        """Start the first interval."""
        self._last = time.perf_counter()

    def tick(self) -> None:
        """End an interval and begin the next."""
        now = time.perf_counter()
        milliseconds = (now - self._last) * 1000
        self._last = now
        self._counts[bisect.bisect(self._edges, milliseconds)] += 1
        self._count += 1
        self._total += milliseconds
        self._largest = max(self._largest, milliseconds)

    def summary(self) -> dict[str, float]:
        """Mean, median, 95th percentile and maximum in milliseconds; empty before the first tick."""
        if not self._count:
            return {}
        return {
            "mean": round(self._total / self._count, 2),
            "median": round(self._quantile(0.5), 2),
            "p95": round(self._quantile(0.95), 2),
            "max": round(self._largest, 2),
        }

    def _quantile(self, share: float) -> float:
        below = 0
        for index, count in enumerate(self._counts):
            below += count
            if below >= share * self._count:
                return min(self._largest, self._edges[min(index, _BINS - 1)])
        return self._largest
