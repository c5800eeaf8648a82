"""Votes by similarity: a cell takes the labels of the most similar cells near it in a few past frames.

Source: label propagation as in CRW (Jabri et al., arXiv:2006.14613) and DINO (Caron et al.,
arXiv:2104.14294), where the top-k cells of a window vote with softmax weights. Here four cells together
first choose the blocks of four that are most like them on the mean, and each then votes among the cells
of those by how far they are above the k-th best block: nearly the same voters, for a fraction of the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.activations import relu_
from vos_propagation.bits import comparable
from vos_propagation.memory import Memory, Remembered, block_means
from vos_propagation.tiles import BLOCK, SIDE, Tiles

# Blocks of the past that a block of cells looks at, of annotated frames and of the others.
CHOSEN_ANNOTATED, CHOSEN = 8, 24
# How far below the threshold a cell's similarity is when its vote is worth nothing.
MARGIN = 0.01
# So many values of a table of likeness share a row; so many at most have an index that fits below a bfloat16's bits.
SHARED = 8
LARGEST = 1 << 16
# Tiles whose windows are searched at a time, and blocks that vote at a time: bounds the memory that it takes, whatever
# the objects cover. Voters' cells are fetched for so many blocks as a core's cache holds. The last blocks are filled up
# to a multiple: for each new number, the library keeps kernels.
CHUNK, LOOKING, FETCHED, GRAIN = 8, 512, 64, 16


@dataclass(frozen=True)
class Votes:
    """What a vote gave; 0 where nobody was asked.

    Attributes:
        labels: float32 (V, h, w), the weighted mean of the voters' labels.
        similarity: float32 (h, w), the highest similarity.
    """

    labels: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class FineVotes(Votes):
    """What a vote gave, for each quarter of a cell too.

    Attributes:
        fine: float32 (V, 2 h, 2 w), as ``labels``, but each voter speaks for the quarters of its cell one by one.
    """

    fine: Tensor


class Workspace:
    """Memory that is used again from frame to frame: to get it anew costs more than much of what is done in it.

    Attributes:
        room: how many times larger than asked for it is made, for what is known to come.
    """

    def __init__(self) -> None:
        self.room = 1.0
        self._parts: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Give an uninitialised tensor as ``like``, but perhaps of another dtype; what had that name before is lost."""
        size = math.prod(shape)
        part = self._parts.get(name)
        if part is None or part.numel() < size:
            part = self._parts[name] = like.new_empty(math.ceil(self.room * size), dtype=dtype)
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


def local_votes(
    query: Tensor,
    memory: Memory,
    asked: Sequence[tuple[Remembered, Tiles]],
    tiles: Tiles,
    radius: int,
    voters: int,
    anchors: int,
    workspace: Workspace,
) -> tuple[FineVotes, Votes]:
    """Let the most similar cells of the memory, near the same place, vote: all frames together, and the first few.

    Args:
        query: (rows, columns, 4, C), the frame's cells in blocks, of at most unit length over C.
        memory: that the frames are in.
        asked: frames, each with the tile in it that stands for each of ``tiles``.
        tiles: where to look; other cells get no votes.
        radius: how far a tile's window reaches beyond it, an even number of cells; it is moved to lie in the frame.
        voters: the cells above this best block vote.
        anchors: how many of the frames, from the first, vote once more without the others; at least 1.
        workspace: for what is needed in between.
    Returns:
        Of all frames and of the first ``anchors``.
    """
    sides = min(SIDE + radius, memory.shape[0]), min(SIDE + radius, memory.shape[1])
    first = torch.stack([_window_starts(memory, frame, where, radius, sides) for frame, where in asked], 1)
    own = anchors * math.prod(sides)
    workspace.room = memory.slots / len(asked)
    means = _of_tiles(block_means(query), tiles)
    likeliest: list[Tensor] = []
    for at in range(0, len(means), CHUNK):
        part = means[at : at + CHUNK]
        blocks, there = _windows(memory, first[at : at + CHUNK], sides, workspace)
        likeness = workspace.take("likeness", (len(part), blocks.shape[1], SIDE * SIDE), part)
        torch.bmm(there, part.transpose(1, 2), out=likeness)
        likeliest.append(_likeliest(blocks, likeness, own, workspace))
    alone = min(CHOSEN_ANNOTATED, own)
    filled = F.pad(torch.stack([tiles.asked, tiles.where]), (0, -len(tiles.asked) % GRAIN))
    chosen, cells = torch.cat(likeliest).index_select(0, filled[0]), query.flatten(0, 1).index_select(0, filled[1])
    parts = [
        _votes_among(cells[at : at + LOOKING], memory, chosen[at : at + LOOKING], alone, voters, workspace)
        for at in range(0, len(cells), LOOKING)
    ]
    return _spread(torch.cat(parts)[: len(tiles.where)], tiles, memory.labels)


def _window_starts(memory: Memory, frame: Remembered, tiles: Tiles, radius: int, sides: tuple[int, int]) -> Tensor:
    """Say which block each tile's window, of ``sides`` blocks, begins with: int64 (n,)."""
    starts = [
        (at // BLOCK - radius // BLOCK).clamp(0, length - side)
        for at, length, side in zip((tiles.rows, tiles.columns), memory.shape, sides, strict=True)
    ]
    return memory.index(frame, *starts)


def _windows(memory: Memory, first: Tensor, sides: tuple[int, int], workspace: Workspace) -> tuple[Tensor, Tensor]:
    """List the blocks of windows that begin with the blocks ``first`` (n, F), a frame after the other.

    Returns:
        Which blocks, int64 (n, F * area), and their means, (n, F * area, C).
    """
    count, channels = len(first), memory.means.shape[1]
    height, width = sides
    lines = first[..., None] + torch.arange(height, device=first.device) * memory.shape[1]
    blocks = (lines[..., None] + torch.arange(width, device=first.device)).view(count, -1)
    # A line of a window lies in one piece.
    pieces = memory.means.as_strided((len(memory.means) - width + 1, width * channels), (channels, 1))
    means = workspace.take("means", (lines.numel(), width * channels), memory.means)
    torch.index_select(pieces, 0, lines.flatten(), out=means)
    return blocks, means.view(count, -1, channels)


def _likeliest(blocks: Tensor, likeness: Tensor, own: int, workspace: Workspace) -> Tensor:
    """Choose the likeliest of windows' blocks for each of their tiles' own.

    Args:
        blocks: int64 (n, N), the blocks of each tile's windows.
        likeness: (n, N, SIDE * SIDE), how much they are like each block of the tile.
        own: how many of the N, from the first, are of annotated frames.
        workspace: for what is needed in between.
    Returns:
        int64 (n * SIDE * SIDE, M), of ``blocks``; first those of annotated frames, at most ``CHOSEN_ANNOTATED``.
    """
    rest = blocks.shape[1] - own
    chosen = _highest(likeness[:, :own], min(CHOSEN_ANNOTATED, own), workspace)
    chosen = torch.cat([chosen, own + _highest(likeness[:, own:], min(CHOSEN, rest), workspace)], dim=-1)
    return blocks.gather(1, chosen.flatten(1)).view(-1, chosen.shape[-1])


def _votes_among(
    cells: Tensor, memory: Memory, chosen: Tensor, alone: int, voters: int, workspace: Workspace
) -> Tensor:
    """Let the cells of chosen blocks vote: those of all, and those of the first ``alone`` of them.

    Args:
        cells: (n, 4, C), of the blocks that look.
        memory: that the voters are in.
        chosen: int64 (n, M), the blocks that each looks at.
        alone: how many of the M, from the first, are of annotated frames.
        voters: the cells above this best block vote.
        workspace: for what is needed in between.
    Returns:
        float32 (n, 4, 6 V + 2). All say the labels of each cell's quarters, those of the cell and the highest
        similarity; then the first alone those of the cell and the highest similarity.
    """
    count, asked, channels = cells.shape
    looked, where = chosen.shape[1], chosen.flatten()
    similarity = workspace.take("similarity", (count, asked, asked * looked), cells)
    for at in range(0, count, FETCHED):
        part = cells[at : at + FETCHED]
        rows = where[at * looked : (at + FETCHED) * looked]
        keys = workspace.take("keys", (len(rows), memory.keys.shape[1]), cells)
        torch.index_select(memory.keys, 0, rows, out=keys)
        torch.bmm(part, keys.view(len(part), -1, channels).transpose(1, 2), out=similarity[at : at + FETCHED])
    values = workspace.take("values", (len(where), memory.values.shape[1]), cells)
    torch.index_select(memory.values, 0, where, out=values)
    maxima = _highest_of_four(similarity)
    weights = workspace.take("weights", (count, 2, asked, asked * looked), cells)
    alike: list[Tensor] = []
    for answer, number in enumerate((looked, alone)):
        best = _best(maxima[..., :number], min(voters, number)).float()
        threshold = (best.amin(-1, keepdim=True) - MARGIN).to(cells.dtype)
        heard, others = weights[:, answer].tensor_split((asked * number,), dim=-1)
        relu_(torch.sub(similarity[..., : asked * number], threshold, out=heard))
        others.zero_()
        alike.append(best.amax(-1, keepdim=True))
    # Both at once: the first are among all, and a part of the values would have to be copied.
    total = torch.bmm(weights.flatten(1, 2), values.view(count, asked * looked, -1)).float()
    total = total.view(count, 2, asked, memory.labels, -1)
    # A cell that says anything says labels that sum to 1.
    fine = total / total.sum(-2).mean(-1)[..., None, None].clamp_min(1e-6)
    labels = fine.mean(-1)
    return torch.cat([fine[:, 0].flatten(2), labels[:, 0], alike[0], labels[:, 1], alike[1]], dim=-1)


def _highest(values: Tensor, count: int, workspace: Workspace) -> Tensor:
    """Say where about the highest values of each column of (n, N, m) are, in any order: int64 (n, m, count).

    A column is laid as a table, and of those of its rows whose own highest values are highest each gives its highest:
    some that share a row are missed, but it takes a quarter of the time. Values below 0 come last, in any order, and
    all have bfloat16's precision: so where each is fits into its lower bits, and needs no search of its own. A table of
    less than two rows for each that is looked for would miss too many: all its values are searched.
    """
    total = values.shape[1]
    if total > LARGEST or total % SHARED or total < 2 * SHARED * max(1, count):
        return values.topk(count, dim=1).indices.transpose(1, 2)
    rounded = workspace.take("rounded", tuple(values.shape), values, torch.float32).copy_(values.to(torch.bfloat16))
    both = rounded.view(torch.int32)
    both += torch.arange(total, dtype=torch.int32, device=values.device)[:, None]
    highest = both.view(len(both), SHARED, total // SHARED, -1).amax(1).transpose(1, 2).contiguous()
    return (_best(highest, count) & (LARGEST - 1)).long()


def _highest_of_four(values: Tensor) -> Tensor:
    """Give the highest of every four neighbours, where that is not below 0: (..., 4 n) to (..., n)."""
    if values.device.type != "cpu":
        return values.view(*values.shape[:-1], -1, 4).amax(-1)
    # For so short a row NumPy takes a fifth of the time of torch.
    each = comparable(values)
    first, second = np.maximum(each[..., 0::4], each[..., 1::4]), np.maximum(each[..., 2::4], each[..., 3::4])
    return torch.from_numpy(np.maximum(first, second)).view(values.dtype)


def _best(values: Tensor, count: int) -> Tensor:
    """Give the highest values of each row of (..., n), in any order, where those are not below 0: (..., count)."""
    if count == values.shape[-1]:
        return values
    if values.device.type == "cpu":
        # NumPy's search takes a third of the time of torch's, on one core in place of two.
        best = np.partition(comparable(values), -count, axis=-1)[..., -count:]
        return torch.from_numpy(best).view(values.dtype)
    return values.topk(count, dim=-1, sorted=False).values


def _of_tiles(blocks: Tensor, tiles: Tiles) -> Tensor:
    """Take the tiles' blocks out of (rows, columns, C): (n, SIDE * SIDE, C); 0 outside the frame."""
    below, right = (max(0, SIDE - length) for length in blocks.shape[:2])
    if below or right:
        blocks = F.pad(blocks, (0, 0, 0, right, 0, below))
    within = torch.arange(SIDE, device=blocks.device)
    rows = (tiles.rows // BLOCK)[:, None, None] + within[:, None]
    columns = (tiles.columns // BLOCK)[:, None, None] + within
    return blocks[rows, columns].flatten(1, 2)


def _spread(answer: Tensor, tiles: Tiles, labels: int) -> tuple[FineVotes, Votes]:
    """Put what blocks say, as ``_votes_among`` gives it, where they are; 0 elsewhere."""
    height, width = tiles.shape
    flat = answer.new_zeros(height * width // BLOCK**2, *answer.shape[1:])
    flat[tiles.where] = answer
    split = flat.view(height // BLOCK, width // BLOCK, BLOCK, BLOCK, -1)
    planes = split.permute(4, 0, 2, 1, 3).reshape(-1, height, width)
    fine, own, alike, first, first_alike = torch.split(planes, [4 * labels, labels, 1, labels, 1])
    return FineVotes(own, alike[0], F.pixel_shuffle(fine, 2)), Votes(first, first_alike[0])


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
