"""Votes by similarity: a cell takes the labels of the most similar cells near it in a few past frames.

Source: label propagation as in CRW (Jabri et al., arXiv:2006.14613) and DINO (Caron et al.,
arXiv:2104.14294), where the top-k cells of a window vote with softmax weights. Here the k-th best of
the maxima over small groups of cells is a threshold, and each cell votes by how far it is above it:
nearly the same voters, found with a few passes of plain arithmetic in place of a sort.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
GROUPS = 8
MARGIN = 0.01
# Tiles that vote at a time: bounds the memory that it takes, whatever the objects cover.
CHUNK = 16
_WITHIN = np.arange(TILE * TILE).reshape(TILE, TILE)

Corners: TypeAlias = tuple[Tensor, Tensor]
"""First row and first column, int64 (n,) each, of a frame's tiles; in the padded frame, of their windows."""


@dataclass(frozen=True)
class Tiles:
    """Squares of 8 x 8 cells to look at, wherever they cover most; they may overlap.

    Attributes:
        rows: int64 (n,), each tile's first row, cells.
        columns: int64 (n,), each tile's first column, cells.
        owners: int64 (n,), the row, from 0, of the object that each was laid for.
        places: int64 (h, w), where each cell's answer is among the n * 64 of all tiles; -1 for a cell in none.
    """

    rows: Tensor
    columns: Tensor
    owners: Tensor
    places: Tensor


@dataclass(frozen=True)
class Votes:
    """What a vote gave; 0 where nobody was asked.

    Attributes:
        labels: float32 (V, h, w), the weighted mean of the voters' labels.
        similarity: float32 (h, w), the highest similarity.
        fine: float32 (V, 2 h, 2 w), as ``labels``, but each voter speaks for the quarters of its cell one by one.
    """

    labels: Tensor
    similarity: Tensor
    fine: Tensor


@dataclass(frozen=True)
class Places:
    """Where labels are in a frame.

    Attributes:
        centres: float32 (V, 2), the mean row and column, cells; 0 for a label that is nowhere.
        sizes: float32 (V,), cells.
    """

    centres: Tensor
    sizes: Tensor


@dataclass(frozen=True)
class Remembered:
    """A past frame, padded so that every tile's window lies inside it.

    Attributes:
        keys: (h', w', C), zero outside the frame.
        values: (h', w', 4 V + 1), the labels of each cell's quarters, then their sum's mean: 0 outside the frame and
            where they say nothing.
        labels: (V, 2 h, 2 w), the labels without padding.
        cells: (C, h, w), the keys without padding.
        places: where each label was, without the first, the background.
    """

    keys: Tensor
    values: Tensor
    labels: Tensor
    cells: Tensor
    places: Places


class Workspace:
    """Memory that is used again from frame to frame: to get it anew costs more than much of what is done in it."""

    def __init__(self) -> None:
        self._parts: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Give an uninitialised tensor, of the dtype and device of ``like``; what had that name before is lost."""
        size = math.prod(shape)
        part = self._parts.get(name)
        if part is None or part.numel() < size:
            part = self._parts[name] = like.new_empty(size)
        return part[:size].view(shape)


def principal_axes(cells: Tensor, count: int) -> Tensor:
    """Find the directions in which a frame's cells differ most.

    Args:
        cells: (C, h, w).
        count: how many directions.
    Returns:
        (count, C), orthonormal rows, in the dtype and on the device of ``cells``.
    """
    flat = cells.float().flatten(1)
    # On the host, once a sequence: not every device can do it.
    axes: Tensor = torch.linalg.eigh((flat @ flat.T).cpu()).eigenvectors[:, -count:].T
    return axes.to(cells.device, cells.dtype).contiguous()


def remember(cells: Tensor, labels: Tensor, radius: int) -> Remembered:
    """Make a frame ready for voting.

    Args:
        cells: (C, h, w), of at most about unit length over C.
        labels: (V, 2 h, 2 w), summing to 1 over V, or to 0 where a cell shall not vote.
        radius: of the windows that will be cut from it, cells.
    Returns:
        The padded frame.
    """
    coarse = F.avg_pool2d(labels, 2)
    values = torch.cat([F.pixel_unshuffle(labels, 2), coarse.sum(0, keepdim=True)]).to(cells.dtype)
    return Remembered(_pad(cells, radius), _pad(values, radius), labels, cells, places_of(coarse[1:]))


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
        support: (K, h, w), at least 0.1 where each object may be.
        reach: cells.
    Returns:
        The tiles, object by object; what one object's tiles cover is not covered again for the next.
    """
    side = 2 * reach + 1
    tall = F.max_pool2d(support[:, None], (side, 1), 1, (reach, 0))
    near = F.max_pool2d(tall, (1, side), 1, (0, reach))[:, 0] > 0.1
    height, width = near.shape[1:]
    places = np.full((height, width), -1, dtype=np.int64)
    tiles: list[tuple[int, int, int]] = []
    for owner, wanted in enumerate(near.cpu().numpy()):
        left = wanted & (places < 0)
        while left.any():
            row = max(0, min(int(left.any(1).argmax()), height - TILE))
            strip = left[row : row + TILE]
            while strip.any():
                column = max(0, min(int(strip.any(0).argmax()), width - TILE))
                here = slice(row, row + TILE), slice(column, column + TILE)
                part = places[here]
                own = len(tiles) * TILE * TILE + _WITHIN[: part.shape[0], : part.shape[1]]
                places[here] = np.where(part < 0, own, part)
                left[here] = False
                tiles.append((row, column, owner))
    rows, columns, owners = torch.tensor(tiles, dtype=torch.int64).reshape(-1, 3).to(support.device).T
    return Tiles(rows, columns, owners, torch.from_numpy(places).to(support.device))


def tiles_before(tiles: Tiles, now: Places, then: Places) -> Tiles:
    """Find the tiles of a past frame where the objects of these tiles were.

    Args:
        tiles: of this frame.
        now: where each of the K objects may be now.
        then: where each was in the past frame.
    Returns:
        For each of the tiles one of the past frame, moved as its object has moved.
    """
    height, width = tiles.places.shape
    known = (now.sizes > 1) & (then.sizes > 1)
    shift = ((now.centres - then.centres).round() * known[:, None]).long()[tiles.owners]
    rows = (tiles.rows - shift[:, 0]).clamp(0, max(0, height - TILE))
    columns = (tiles.columns - shift[:, 1]).clamp(0, max(0, width - TILE))
    return replace(tiles, rows=rows, columns=columns)


def local_votes(
    query: Tensor,
    memory: Sequence[tuple[Remembered, Tiles]],
    tiles: Tiles,
    radius: int,
    voters: int,
    anchors: int,
    workspace: Workspace,
) -> tuple[Votes, Votes]:
    """Let the most similar cells of the memory, near the same place, vote: all frames together, and the first few.

    A tile's cells share one window, which reaches ``radius`` cells beyond the tile on each side.

    Args:
        query: (C, h, w), of at most unit length over C.
        memory: frames made by ``remember`` with the same radius, each with the tile in it that stands for each of
            ``tiles``.
        tiles: where to look; other cells get no votes.
        radius: cells, an even number.
        voters: about how many cells vote.
        anchors: how many of the frames, from the first, vote once more without the others; at least 1.
        workspace: for what is needed in between.
    Returns:
        Of all frames and of the first ``anchors``.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    cells = _tile_cells(query, tiles)
    for first in range(0, len(cells), CHUNK):
        part = slice(first, first + CHUNK)
        asked = [(frame, (where.rows[part], where.columns[part])) for frame, where in memory]
        parts.append(_votes_of(cells[part], asked, TILE + 2 * radius, voters, anchors, workspace))
    answers = []
    for answer in map(torch.cat, zip(*parts, strict=True)):
        planes = _untile(answer, tiles)
        fine = F.pixel_shuffle(planes[:-1], 2)
        answers.append(Votes(F.avg_pool2d(fine, 2), planes[-1], fine))
    return answers[0], answers[1]


def _votes_of(
    cells: Tensor,
    memory: Sequence[tuple[Remembered, Corners]],
    side: int,
    voters: int,
    anchors: int,
    workspace: Workspace,
) -> tuple[Tensor, Tensor]:
    """Let windows of ``side`` cells vote on (n, TILE * TILE, C): twice (n, TILE * TILE, 4 V + 1), similarity last."""
    count, asked, channels = cells.shape
    keys = workspace.take("keys", (count, side * side, channels), cells)
    similarity = workspace.take("similarity", (len(memory), count, asked, side * side), cells)
    weight = workspace.take("weight", (count, asked, side * side), cells)
    values, maxima = [], []
    for (frame, where), out in zip(memory, similarity, strict=True):
        _windows(frame.keys, where, side, keys)
        torch.bmm(cells, keys.transpose(1, 2), out=out)
        maxima.append(out.view(count, asked, GROUPS, -1).amax(2))
        values.append(_windows(frame.values, where, side))

    def count_votes(frames: int) -> Tensor:
        top = torch.cat(maxima[:frames], dim=-1).float().topk(voters, dim=-1).values
        threshold = (top[..., -1:] - MARGIN).to(cells.dtype)
        total = cells.new_zeros(count, asked, values[0].shape[-1], dtype=torch.float32)
        for near, labels in zip(similarity[:frames], values[:frames], strict=True):
            torch.sub(near, threshold, out=weight).clamp_(min=0)
            total += torch.bmm(weight, labels).float()
        return torch.cat([total[..., :-1] / total[..., -1:].clamp_min(1e-6), top[..., :1]], dim=-1)

    return count_votes(len(memory)), count_votes(anchors)


def _untile(answer: Tensor, tiles: Tiles) -> Tensor:
    """Put (n, TILE * TILE, V) back in place: (V, h, w), 0 outside the tiles."""
    flat = answer.flatten(0, 1)
    grid: Tensor = flat[tiles.places.clamp_min(0)] * (tiles.places >= 0)[..., None]
    return grid.permute(2, 0, 1).contiguous()


def global_votes(query: Tensor, keys: Tensor, values: Tensor, voters: int) -> Tensor:
    """Let the most similar cells vote wherever they are.

    Args:
        query: (C, h, w), unit length over C.
        keys: (C, N), unit length over C.
        values: (V, N), labels.
        voters: how many cells vote, all with the same weight.
    Returns:
        float32 (V, h, w), the mean of the voters' labels.
    """
    channels, height, width = query.shape
    similarity = query.reshape(channels, -1).T.contiguous() @ keys
    index = similarity.float().topk(min(voters, keys.shape[1]), dim=-1).indices
    return values.float()[:, index].mean(dim=-1).reshape(-1, height, width)


def _pad(planes: Tensor, radius: int) -> Tensor:
    _, height, width = planes.shape
    below, right = max(0, TILE - height), max(0, TILE - width)
    padded = F.pad(planes, (radius, radius + right, radius, radius + below))
    return padded.permute(1, 2, 0).contiguous()


def _tile_cells(query: Tensor, tiles: Tiles) -> Tensor:
    """Take the tiles' cells out of (C, h, w): (n, TILE * TILE, C)."""
    return _windows(_pad(query, 0), (tiles.rows, tiles.columns), TILE)


def _windows(padded: Tensor, corners: Corners, side: int, out: Tensor | None = None) -> Tensor:
    """Cut each tile's window out of (h', w', C), a row of cells at a time: (n, side * side, C), in ``out``."""
    height, width, channels = padded.shape
    rows = padded.as_strided((height * width - side + 1, side * channels), (channels, 1))
    below = torch.arange(side, device=padded.device) * width
    first = (corners[0] * width + corners[1])[:, None] + below
    cut = torch.index_select(rows, 0, first.flatten(), out=None if out is None else out.view(-1, side * channels))
    return cut.view(-1, side * side, channels)
