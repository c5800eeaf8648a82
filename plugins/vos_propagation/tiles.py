"""Where to look: tiles near the objects, and where those were in a past frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from vos import AnyArray

TILE = 8
_WITHIN = np.arange(TILE * TILE).reshape(TILE, TILE)


@dataclass(frozen=True)
class Tiles:
    """Squares of 8 x 8 cells to look at, where they cover most; they may overlap.

    Attributes:
        rows: int64 (n,), each tile's first row, cells, even.
        columns: int64 (n,), each tile's first column, cells, even.
        owners: int64 (n,), the row, from 0, of the object that each was laid for.
        places: int64 (h, w), where each cell's answer is among the n * 64 of all tiles; -1 for a cell in none.
    """

    rows: Tensor
    columns: Tensor
    owners: Tensor
    places: Tensor


@dataclass(frozen=True)
class Places:
    """Where labels are in a frame.

    Attributes:
        centres: float32 (V, 2), the mean row and column, cells; 0 for a label that is nowhere.
        sizes: float32 (V,), cells.
    """

    centres: Tensor
    sizes: Tensor


def places_of(labels: Tensor) -> Places:
    """Say where labels (V, h, w) are."""
    height, width = labels.shape[1:]
    sizes = labels.sum((1, 2))
    y = torch.arange(height, device=labels.device, dtype=labels.dtype)
    x = torch.arange(width, device=labels.device, dtype=labels.dtype)
    moments = torch.stack([labels.sum(2) @ y, labels.sum(1) @ x], 1)
    return Places(moments / sizes.clamp_min(1e-6)[:, None], sizes)


def tiles_near(support: Tensor, reach: int) -> Tiles:
    """Cover the cells within ``reach`` of where objects may be with tiles, as few as laying them in strips gives.

    Args:
        support: (K, h, w), at least 0.1 where each object may be; h and w even.
        reach: cells.
    Returns:
        The tiles, object by object; what one object's tiles cover is not covered again for the next.
    """
    height, width = support.shape[1:]
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    places = np.full((height, width), -1, dtype=np.int64)
    tiles: list[tuple[int, int, int]] = []
    for owner, likely in enumerate((support > 0.1).cpu().numpy()):
        left: AnyArray = cv2.dilate(likely.view(np.uint8), around)
        left[places >= 0] = 0
        while left.any():
            row = max(0, min(_even(left.any(1).argmax()), height - TILE))
            strip = np.asarray(left[row : row + TILE].any(0))
            while strip.any():
                column = max(0, min(_even(strip.argmax()), width - TILE))
                strip[column : column + TILE] = False
                part = places[row : row + TILE, column : column + TILE]
                own = len(tiles) * TILE * TILE + _WITHIN[: part.shape[0], : part.shape[1]]
                np.copyto(part, own, where=part < 0)
                tiles.append((row, column, owner))
            left[row : row + TILE] = 0
    rows, columns, owners = torch.tensor(tiles, dtype=torch.int64).reshape(-1, 3).to(support.device).T
    return Tiles(rows, columns, owners, torch.from_numpy(places).to(support.device))


def tiles_before(tiles: Tiles, now: Places, then: Places) -> Tiles:
    """Find the tiles of a past frame where the objects of these tiles were.

    Args:
        tiles: of this frame.
        now: where each of the K objects may be now.
        then: where each was in the past frame.
    Returns:
        For each of the tiles one of the past frame, moved as its object has moved, by an even number of cells.
    """
    height, width = tiles.places.shape
    known = (now.sizes > 1) & (then.sizes > 1)
    shift = (2 * ((now.centres - then.centres) / 2).round() * known[:, None]).long()[tiles.owners]
    rows = (tiles.rows - shift[:, 0]).clamp(0, max(0, height - TILE))
    columns = (tiles.columns - shift[:, 1]).clamp(0, max(0, width - TILE))
    return replace(tiles, rows=rows, columns=columns)


def _even(at: np.intp) -> int:
    return int(at) // 2 * 2
