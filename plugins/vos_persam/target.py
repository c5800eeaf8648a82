"""PerSAM's target embedding and location prior: the object's appearance, and its similarity map in a frame."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, BoolArray, EmptyMaskError, OptionError
from vos_sam.view import View, scaled_image

PIXEL_MEAN, PIXEL_STD = 123.675, 58.395
"""Segment Anything's normalisation of the first channel, which the official code applies to the mask too."""
MAJORITY = 0.5


def official_cells(mask: BoolArray, view: View, grid: tuple[int, int], value: int) -> Tensor:
    """Sample a mask on the embedding's grid as the official code does: as a picture, normalised and padded.

    A cell is part of the object where the result is above 0: where the mean of the four middle pixels of its 16 x 16
    exceeds 123.675, so ``value`` decides how much of the border is dropped.

    Args:
        mask: bool (H, W), frame size.
        view: the frame's place in the model's input.
        grid: (h, w) of the embedding.
        value: 1 to 255: what the official code paints the object with (215 in videos; the annotation's red in images).
    Returns:
        float32 (h, w), normalised mask values.
    Source: persam_video.py:56-62, per_segment_anything/predictor.py and sam.py at a7e8724.
    """
    scaled = scaled_image(mask.astype(np.uint8) * np.uint8(value), view.input_size)
    normalised = (torch.from_numpy(np.array(scaled)).float() - PIXEL_MEAN) / PIXEL_STD
    height, width = view.input_size
    padded = F.pad(normalised, (0, view.side - width, 0, view.side - height))
    return F.interpolate(padded[None, None], grid, mode="bilinear", align_corners=False)[0, 0]


def coverage(mask: BoolArray, view: View, grid: tuple[int, int]) -> Tensor:
    """Measure how much of each cell of the embedding's grid an object covers.

    Args:
        mask: bool (H, W), frame size.
        view: the frame's place in the model's input.
        grid: (h, w) of the embedding.
    Returns:
        float32 (h, w) in [0, 1]; 0 in the padding. Its sum is the object's area in cells, however small it is.
    """
    (height, width), (input_height, input_width) = view.size, view.input_size
    down = _overlap(height, input_height, grid[0], view.side)
    across = _overlap(width, input_width, grid[1], view.side)
    return down @ torch.from_numpy(mask.astype(np.float32)) @ across.T


def _overlap(pixels: int, scaled: int, cells: int, side: int) -> Tensor:
    """(cells, pixels): share of each cell of a padded side that each scaled pixel covers."""
    edges = torch.arange(pixels + 1, dtype=torch.float64) * (scaled / pixels * cells / side)
    cell = torch.arange(cells, dtype=torch.float64)[:, None]
    shared = torch.minimum(edges[1:], cell + 1) - torch.maximum(edges[:-1], cell)
    return shared.clamp(min=0).float()


def cell_weights(covered: Tensor) -> Tensor:
    """Choose the cells that stand for an object, and how much each counts.

    Args:
        covered: float32 (h, w), as ``coverage`` gives it.
    Returns:
        float32 (h, w): 1 for cells that the object mostly covers; where it covers none so, the coverage of the cells
        that hold at least half as much of it as the fullest.
    Raises:
        EmptyMaskError: the object has no pixel.
    """
    fullest = covered.max()
    if fullest <= 0:
        raise EmptyMaskError("the object has no pixel in the reference frame. Give a mask that marks it.")
    if fullest > MAJORITY:
        return (covered > MAJORITY).float()
    return torch.where(covered >= fullest / 2, covered, 0.0)


def mean_embedding(features: Tensor, weights: Tensor) -> Tensor:
    """Average the image embedding over the object (PerSAM's target embedding).

    Args:
        features: float32 (C, h, w), one frame's embedding.
        weights: float32 (h, w), how much each cell counts; not all 0.
    Returns:
        float32 (C,), not normalised.
    Source: arXiv:2305.03048, section 3.1; persam.py:89-93 at a7e8724, which gives NaN where no cell counts.
    """
    weights = weights.to(features)
    return (features * weights).sum(dim=(1, 2)) / weights.sum()


def peak_embedding(features: Tensor, weights: Tensor) -> Tensor:
    """Halfway between the mean and the channelwise maximum over the object: PerSAM-F's and the videos' target.

    Args:
        features: float32 (C, h, w).
        weights: float32 (h, w); the maximum is over the cells above 0.
    Returns:
        float32 (C,), not normalised.
    Source: persam_video.py:71-73, persam_f.py:101-103 at a7e8724.
    """
    largest = features[:, weights.to(features.device) > 0].amax(dim=1)
    return largest / 2 + mean_embedding(features, weights) / 2


def unit(vectors: Tensor) -> Tensor:
    """Scale (..., C) to length 1."""
    scaled: Tensor = vectors / vectors.norm(dim=-1, keepdim=True)
    return scaled


def similarity(features: Tensor, target_features: Tensor) -> Tensor:
    """Cosine similarity of every cell with every target.

    Args:
        features: float32 (C, h, w).
        target_features: float32 (K, C), unit length.
    Returns:
        float32 (K, h, w) in [-1, 1].
    """
    normalised = features / features.norm(dim=0, keepdim=True)
    maps: Tensor = target_features @ normalised.flatten(1)
    return maps.view(-1, *features.shape[1:])


def at_frame_size(maps: Tensor, view: View) -> Tensor:
    """Resize similarity maps to the frame as the official code does: four times larger, then as masks.

    Args:
        maps: float32 (K, h, w) on the embedding's grid.
        view: the frame's place in the model's input.
    Returns:
        float32 (K, H, W).
    """
    return view.upsample(F.interpolate(maps[None], scale_factor=4, mode="bilinear")[0])


def extreme_points(maps: Tensor, count: int, *, largest: bool = True) -> AnyArray:
    """Find the places of the highest (or lowest) values.

    Args:
        maps: float32 (K, H, W).
        count: how many for each map.
        largest: the highest; else the lowest.
    Returns:
        int64 (K, count, 2), x first, best first.
    """
    index = maps.flatten(1).topk(count, largest=largest)[1]
    width = maps.shape[-1]
    return torch.stack([index % width, index // width], dim=-1).cpu().numpy()


def similar_points(maps: Tensor, view: View, count: int, *, largest: bool = True) -> AnyArray:
    """Find the most similar places at a quarter of the model's input, without making frame-sized maps.

    Args:
        maps: float32 (K, h, w) on the embedding's grid.
        view: the frame's place in the model's input.
        count: how many for each map.
        largest: the most similar; else the least.
    Returns:
        float64 (K, count, 2), x first, pixels of the frame.
    """
    fine = F.interpolate(maps[None], scale_factor=4, mode="bilinear")[0]
    points = extreme_points(view.crop(fine), count, largest=largest)
    height, width = view.size
    input_height, input_width = view.input_size
    step = view.side / fine.shape[-1]
    pixels = (points + 0.5) * step * np.array([width / input_width, height / input_height]) - 0.5
    clipped: AnyArray = np.clip(pixels, 0, np.array([width - 1, height - 1]))
    return clipped


def count_places(view: View, grid: tuple[int, int]) -> int:
    """Count the places that ``similar_points`` chooses from.

    Args:
        view: the frame's place in the model's input.
        grid: (h, w) of the embedding.
    Returns:
        The places at a quarter of the model's input that the frame touches.
    """
    return view.crop(torch.empty(4 * grid[0], 4 * grid[1])).numel()


def refuse_more_points(topk: int, places: int) -> None:
    """Refuse more points of the highest similarity than there are places.

    Raises:
        OptionError: there are fewer places.
    """
    if topk > places:
        raise OptionError(f"topk is {topk}, expected at most {places}: a frame of this size has no more places.")


def boxes_of(masks: Tensor) -> list[AnyArray | None]:
    """Find each mask's box.

    Args:
        masks: bool (K, H, W).
    Returns:
        K of (x0, y0, x1, y1), int64, the last pixels included; None for an empty mask.
    """
    columns, rows = masks.any(dim=1).cpu().numpy(), masks.any(dim=2).cpu().numpy()
    boxes: list[AnyArray | None] = []
    for by_column, by_row in zip(columns, rows, strict=True):
        x, y = np.flatnonzero(by_column), np.flatnonzero(by_row)
        boxes.append(np.array([x[0], y[0], x[-1], y[-1]]) if len(x) else None)
    return boxes


def expanded(box: AnyArray, margin: int, view: View) -> AnyArray:
    """Expand a box on all sides, within the frame.

    Args:
        box: (4,), the last pixels included.
        margin: pixels.
        view: gives the frame's size.
    Returns:
        (4,); x1 may be W and y1 H, one past the last pixel.
    Source: persam_video.py:178-181 at a7e8724.
    """
    height, width = view.size
    low = np.maximum(box[:2] - margin, 0)
    return np.concatenate([low, np.minimum(box[2:] + margin, [width, height])])


def center_of(box: AnyArray) -> AnyArray:
    """The centre of a box, rounded down: (2,), x first."""
    return (box[:2] + box[2:]) // 2
