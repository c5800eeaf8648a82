"""Speed of packed masks: J and F of a 480 x 854 mask, packed 64 pixels a word, against NumPy and OpenCV.

    python tests/benchmarks/bench_packed_masks.py

Prints the ratio of the medians over the same masks in the same run; both give the same values.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from vos.evaluation.metrics import packed_masks as bits
from vos.evaluation.metrics.boundary_accuracy import f_measure, tolerance_in_pixels
from vos.evaluation.metrics.frame_scores import score_pair
from vos.types.arrays import BoolArray

SIZE = (480, 854)
RADIUS = tolerance_in_pixels(0.008, SIZE)
REPEATS = 15


def outline(mask: BoolArray) -> BoolArray:
    """The mask's outline by shifts of whole arrays, as the official tool makes it."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, both = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    marked: BoolArray = (mask ^ right) | (mask ^ below) | (mask ^ both)
    return marked


def with_opencv(truth: BoolArray, mask: BoolArray) -> tuple[float, float]:
    """J and F with NumPy arrays of a byte a pixel and OpenCV's dilation."""
    disk = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * RADIUS + 1,) * 2)
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disk[:] = x * x + y * y <= RADIUS * RADIUS
    edges = [outline(one) for one in (truth, mask)]
    near = [cv2.dilate(one.view(np.uint8), disk).view(np.bool_) for one in edges]
    counts = [int(np.count_nonzero(one)) for one in (edges[1] & near[0], edges[1], edges[0] & near[1], edges[0])]
    j = np.count_nonzero(truth & mask) / np.count_nonzero(truth | mask)
    return float(j), f_measure(*counts)


def packed(truth: BoolArray, mask: BoolArray) -> tuple[float, float]:
    """The same by packed masks, packing included."""
    return score_pair(bits.pack(truth), bits.pack(mask), SIZE[1], RADIUS)


def median_seconds(how: Callable[[BoolArray, BoolArray], object], truth: BoolArray, mask: BoolArray) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        how(truth, mask)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cv2.setNumThreads(1)
    for radius in (30, 110, 200):
        distance = np.hypot(y - 240, x - 400)
        angle = np.arctan2(y - 240, x - 400)
        truth = distance < radius * (1 + 0.2 * np.sin(7 * angle))
        mask = distance < radius * (1 + 0.2 * np.sin(7 * angle + 0.2))
        assert np.allclose(packed(truth, mask), with_opencv(truth, mask), atol=1e-12)
        plain, ours = (median_seconds(how, truth, mask) for how in (with_opencv, packed))
        print(f"object of radius {radius}: NumPy and OpenCV take {plain / ours:.1f} times as long as packed masks")


if __name__ == "__main__":
    main()
