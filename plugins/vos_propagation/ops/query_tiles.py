"""Query tiles: squares of 8x8 feature cells near the objects, and the matching squares of a past frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray

TILE = 8
BLOCK = 2
# Blocks along a tile's side.
SIDE = TILE // BLOCK
_WITHIN = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)


@dataclass(frozen=True)
class Tiles:
    """Query tiles of 8x8 cells; they may overlap.

    Attributes:
        shape: of the frame, (h, w) cells.
        rows: int64 (n,), each tile's first row, cells, even.
        columns: int64 (n,), each tile's first column, cells, even.
        owners: int64 (n,), the row, from 0, of the object that each tile covers.
        asked: int64 (m,), the blocks that query, of the n * 16 blocks of all tiles: those near an object, each once.
        where: int64 (m,), the index of each of those among the frame's blocks, row by row.
    """

    shape: tuple[int, int]
    rows: Tensor
    columns: Tensor
    owners: Tensor
    asked: Tensor
    where: Tensor


@dataclass(frozen=True)
class ObjectPlaces:
    """The position and size of each label in a frame.

    Attributes:
        centres: float32 (V, 2), the mean row and column, cells; 0 for a label that is nowhere.
        sizes: float32 (V,), cells.
    """

    centres: Tensor
    sizes: Tensor


def object_places(labels: Tensor) -> ObjectPlaces:
    """Measure the position and size of labels (V, h, w)."""
    height, width = labels.shape[1:]
    sizes = labels.sum((1, 2))
    y = torch.arange(height, device=labels.device, dtype=labels.dtype)
    x = torch.arange(width, device=labels.device, dtype=labels.dtype)
    moments = torch.stack([labels.sum(2) @ y, labels.sum(1) @ x], 1)
    return ObjectPlaces(moments / sizes.clamp_min(1e-6)[:, None], sizes)


def tiles_near_objects(support: Tensor, reach: int) -> Tiles:
    """Cover the cells within ``reach`` of the objects with tiles, strip by strip.

    Args:
        support: (K, h, w), at least 0.1 where each object may be; h and w even.
        reach: cells.
    Returns:
        The tiles, object by object; cells that are covered already are not covered again.
    """
    height, width = support.shape[1:]
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    near: list[AnyArray] = [
        _blocks_of(cv2.dilate(likely, around)) for likely in (support > 0.1).cpu().numpy().view(np.uint8)
    ]
    rows, columns = height // BLOCK, width // BLOCK
    wanted = np.any(near, axis=0) if near else np.zeros((rows, columns), dtype=bool)
    seats = np.full((rows, columns), -1, dtype=np.int64)
    tiles: list[tuple[int, int, int]] = []
    for owner, left in enumerate(near):
        left[seats >= 0] = False
        while left.any():
            row = max(0, min(int(left.any(1).argmax()), rows - SIDE))
            strip = np.asarray(left[row : row + SIDE].any(0))
            while strip.any():
                column = max(0, min(int(strip.argmax()), columns - SIDE))
                strip[column : column + SIDE] = False
                part = seats[row : row + SIDE, column : column + SIDE]
                own = len(tiles) * SIDE * SIDE + _WITHIN[: part.shape[0], : part.shape[1]]
                free = (part < 0) & wanted[row : row + SIDE, column : column + SIDE]
                np.copyto(part, own, where=free)
                tiles.append((BLOCK * row, BLOCK * column, owner))
            left[row : row + SIDE] = False
    tops, lefts, owners = torch.tensor(tiles, dtype=torch.int64).reshape(-1, 3).to(support.device).T
    where = np.flatnonzero(seats >= 0)
    asked, places = (torch.from_numpy(at).to(support.device) for at in (seats.ravel()[where], where))
    return Tiles((height, width), tops, lefts, owners, asked, places)


def matching_tiles(tiles: Tiles, now: ObjectPlaces, then: ObjectPlaces) -> Tiles:
    """Find the tiles of a past frame where the objects of these tiles were.

    Args:
        tiles: of this frame.
        now: where each of the K objects may be now.
        then: where each was in the past frame.
    Returns:
        For each of the tiles one of the past frame, moved as its object has moved, by an even number of cells.
    """
    height, width = tiles.shape
    known = (now.sizes > 1) & (then.sizes > 1)
    shift = (2 * ((now.centres - then.centres) / 2).round() * known[:, None]).long()[tiles.owners]
    rows = (tiles.rows - shift[:, 0]).clamp(0, max(0, height - TILE))
    columns = (tiles.columns - shift[:, 1]).clamp(0, max(0, width - TILE))
    return replace(tiles, rows=rows, columns=columns)


def _blocks_of(cells: AnyArray) -> AnyArray:
    """Return bool (h / 2, w / 2), the blocks of 2x2 with a cell of uint8 (h, w) that is not 0."""
    blocks: AnyArray = np.maximum(np.maximum(cells[0::2, 0::2], cells[0::2, 1::2]), cells[1::2, 0::2])
    return np.maximum(blocks, cells[1::2, 1::2]).astype(bool)
