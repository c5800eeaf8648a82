"""Query tiles: squares of 8x8 feature cells near the objects, and the matching squares of a past frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray

# Side of a tile, cells.
TILE = 8
# Side of a block, cells.
BLOCK = 2
# Side of a tile, blocks.
SIDE = TILE // BLOCK
_BLOCKS_OF_TILE = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)


@dataclass(frozen=True)
class Tiles:
    """Query tiles of 8x8 cells; they may overlap.

    Attributes:
        shape: (h, w) of the frame, cells.
        rows: int64 (n,), first row of each tile, cells, even.
        columns: int64 (n,), first column of each tile, cells, even.
        owners: int64 (n,), row, from 0, of the object that each tile covers.
        query_blocks: int64 (m,), indices among the n * 16 blocks of all tiles: each block near an object, once.
        frame_blocks: int64 (m,), indices of the same blocks among the blocks of the frame, row by row.
    """

    shape: tuple[int, int]
    rows: Tensor
    columns: Tensor
    owners: Tensor
    query_blocks: Tensor
    frame_blocks: Tensor


@dataclass(frozen=True)
class ObjectPlaces:
    """The position and size of each label in a frame.

    Attributes:
        centres: float32 (V, 2), mean row and column, cells; 0 for a label without cells.
        sizes: float32 (V,), area, cells.
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


def tiles_near_objects(support: Tensor, search_radius: int) -> Tiles:
    """Cover the cells within a radius of the objects with tiles, strip by strip.

    Args:
        support: (K, h, w), above 0.1 where each object may be; h and w even.
        search_radius: cells.
    Returns:
        The tiles, object by object; a cell near several objects is covered for the first of them.
    """
    height, width = support.shape[1:]
    square = np.ones((2 * search_radius + 1, 2 * search_radius + 1), np.uint8)
    near: list[AnyArray] = [
        _blocks_of(cv2.dilate(likely, square)) for likely in (support > 0.1).cpu().numpy().view(np.uint8)
    ]
    rows, columns = height // BLOCK, width // BLOCK
    wanted = np.any(near, axis=0) if near else np.zeros((rows, columns), dtype=bool)
    tile_blocks = np.full((rows, columns), -1, dtype=np.int64)
    tiles: list[tuple[int, int, int]] = []
    for owner, uncovered in enumerate(near):
        uncovered[tile_blocks >= 0] = False
        while uncovered.any():
            row = max(0, min(int(uncovered.any(1).argmax()), rows - SIDE))
            strip = np.asarray(uncovered[row : row + SIDE].any(0))
            while strip.any():
                column = max(0, min(int(strip.argmax()), columns - SIDE))
                strip[column : column + SIDE] = False
                part = tile_blocks[row : row + SIDE, column : column + SIDE]
                own = len(tiles) * SIDE * SIDE + _BLOCKS_OF_TILE[: part.shape[0], : part.shape[1]]
                free = (part < 0) & wanted[row : row + SIDE, column : column + SIDE]
                np.copyto(part, own, where=free)
                tiles.append((BLOCK * row, BLOCK * column, owner))
            uncovered[row : row + SIDE] = False
    tops, lefts, owners = torch.tensor(tiles, dtype=torch.int64).reshape(-1, 3).to(support.device).T
    covered = np.flatnonzero(tile_blocks >= 0)
    query_blocks, frame_blocks = (
        torch.from_numpy(at).to(support.device) for at in (tile_blocks.ravel()[covered], covered)
    )
    return Tiles((height, width), tops, lefts, owners, query_blocks, frame_blocks)


def matching_tiles(tiles: Tiles, now: ObjectPlaces, then: ObjectPlaces) -> Tiles:
    """Find the tiles of a past frame at the past position of each tile's object.

    Args:
        tiles: tiles of this frame.
        now: positions of the K objects in this frame.
        then: positions of the K objects in the past frame.
    Returns:
        For each tile one of the past frame, shifted by the motion of its object, an even number of cells.
    """
    height, width = tiles.shape
    known = (now.sizes > 1) & (then.sizes > 1)
    shift = (2 * ((now.centres - then.centres) / 2).round() * known[:, None]).long()[tiles.owners]
    rows = (tiles.rows - shift[:, 0]).clamp(0, max(0, height - TILE))
    columns = (tiles.columns - shift[:, 1]).clamp(0, max(0, width - TILE))
    return replace(tiles, rows=rows, columns=columns)


def _blocks_of(cells: AnyArray) -> AnyArray:
    """Return bool (h / 2, w / 2), the blocks of 2x2 cells with a nonzero cell of uint8 (h, w)."""
    blocks: AnyArray = np.maximum(np.maximum(cells[0::2, 0::2], cells[0::2, 1::2]), cells[1::2, 0::2])
    return np.maximum(blocks, cells[1::2, 1::2]).astype(bool)
