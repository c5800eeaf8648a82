"""The official DAVIS procedure written plainly: whole-frame masks of every object, dilation by a disk.

The named baseline of ``bench_evaluation.py`` and the oracle of the tests. It follows davis2017-evaluation
(davis2017/evaluation.py, metrics.py, utils.py at ac7c43f) step by step, on masks that it reads with Pillow.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def disk(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


def outline(mask: np.ndarray) -> np.ndarray:
    """A pixel is on the boundary if its right, lower or diagonal neighbour differs; edges look along the edge."""
    mask = mask.astype(bool)
    right, below, diagonal = (np.zeros_like(mask) for _ in range(3))
    right[:, :-1] = mask[:, 1:]
    below[:-1] = mask[1:]
    diagonal[:-1, :-1] = mask[1:, 1:]
    found = (mask ^ right) | (mask ^ below) | (mask ^ diagonal)
    found[-1] = mask[-1] ^ right[-1]
    found[:, -1] = mask[:, -1] ^ below[:, -1]
    found[-1, -1] = False
    return found


def plain_j(truth: np.ndarray, mask: np.ndarray, void: np.ndarray | None = None) -> float:
    valid = np.ones(truth.shape, dtype=bool) if void is None else ~void.astype(bool)
    truth, mask = truth.astype(bool), mask.astype(bool)
    union = np.sum((truth | mask) & valid)
    return float(np.sum((truth & mask) & valid) / union) if union else 1.0


def plain_f(truth: np.ndarray, mask: np.ndarray, void: np.ndarray | None = None, tolerance: float = 0.008) -> float:
    valid = np.ones(truth.shape, dtype=bool) if void is None else ~void.astype(bool)
    radius = int(tolerance if tolerance >= 1 else np.ceil(tolerance * np.linalg.norm(truth.shape)))
    mask_outline, truth_outline = outline(mask.astype(bool) & valid), outline(truth.astype(bool) & valid)
    mask_near = cv2.dilate(mask_outline.astype(np.uint8), disk(radius))
    truth_near = cv2.dilate(truth_outline.astype(np.uint8), disk(radius))
    mask_length, truth_length = mask_outline.sum(), truth_outline.sum()
    if mask_length == 0 and truth_length > 0:
        precision, recall = 1.0, 0.0
    elif mask_length > 0 and truth_length == 0:
        precision, recall = 0.0, 1.0
    elif mask_length == 0 and truth_length == 0:
        precision, recall = 1.0, 1.0
    else:
        precision = float((mask_outline * truth_near).sum() / mask_length)
        recall = float((truth_outline * mask_near).sum() / truth_length)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_statistics(values: np.ndarray) -> tuple[float, float, float]:
    edges = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(int)
    quarters = [values[edges[i] : edges[i + 1] + 1] for i in range(4)]
    return float(np.mean(values)), float(np.mean(values > 0.5)), float(np.mean(quarters[0]) - np.mean(quarters[3]))


def one_hot(label_maps: np.ndarray, count: int) -> np.ndarray:
    """bool (count, T, H, W)."""
    return np.arange(1, count + 1)[:, None, None, None] * np.ones(label_maps.shape) == label_maps[None]


def score_maps(truths: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Semi-supervised J and F, (objects, frames), of all frames given; the first truth counts the objects."""
    truths = np.where(truths == 255, 0, truths)
    count = int(truths[0].max())
    truth_masks, masks = one_hot(truths, count), one_hot(predictions, count)
    j = np.array([[plain_j(t, m) for t, m in zip(*pair, strict=True)] for pair in zip(truth_masks, masks, strict=True)])
    f = np.array([[plain_f(t, m) for t, m in zip(*pair, strict=True)] for pair in zip(truth_masks, masks, strict=True)])
    return j, f


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def score_folders(
    truth: Path, predictions: Path, sequences: list[str], *, merge: bool = False
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """As the official tool: first and last frames left out, all masks of a sequence in memory."""
    scores = {}
    for sequence in sequences:
        names = sorted(path.name for path in (truth / sequence).glob("*.png"))
        truths = np.stack([read(truth / sequence / name) for name in names])
        found = np.stack([read(predictions / sequence / name) for name in names[1:-1]])
        if merge:
            truths, found = (truths > 0).astype(np.uint8), (found > 0).astype(np.uint8)
        first = truths[0]
        volume = np.concatenate([first[None], truths[1:-1]])
        j, f = score_maps(volume, np.concatenate([first[None], found]))
        scores[sequence] = j[:, 1:], f[:, 1:]
    return scores


if __name__ == "__main__":
    import sys

    root, folder, *names = sys.argv[1:]
    table = score_folders(Path(root), Path(folder), names)
    everything = list(table.values())
    mean_j = np.mean([row.mean() for j, _ in everything for row in j])
    mean_f = np.mean([row.mean() for _, f in everything for row in f])
    print(f"J&F {(mean_j + mean_f) / 2:.3f}, J {mean_j:.3f}, F {mean_f:.3f}")
