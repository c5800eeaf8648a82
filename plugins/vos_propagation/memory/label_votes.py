"""Label votes: a cell takes the labels of the most similar cells in windows of the memory frames.

Source: label propagation as in CRW (Jabri et al., arXiv:2006.14613) and DINO (Caron et al.,
arXiv:2104.14294), where the top-k cells of a window vote with softmax weights. Here a block of four cells first
selects the most similar blocks by their mean keys. Each cell then weighs the cells of those blocks by how far their
similarity exceeds that of the k-th best block: nearly the same cells for a fraction of the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.memory.key_value_store import KeyValueMemoryStore, MemoryFrame, block_means
from vos_propagation.ops.activations import relu_
from vos_propagation.ops.query_tiles import BLOCK, SIDE, Tiles
from vos_propagation.ops.scratch import ScratchBuffers
from vos_propagation.ops.topk import approx_topk_indices, max_of_four, topk_of_rows

# Blocks of the past that a block of cells looks at, of annotated frames and of the others.
CHOSEN_ANNOTATED, CHOSEN = 8, 24
# How far below the threshold a cell's similarity is when its vote is worth nothing.
MARGIN = 0.01
# Tiles whose windows are searched at a time, and blocks that vote at a time: bounds the memory that it takes, whatever
# the objects cover. Voters' cells are fetched for so many blocks as a core's cache holds. The last blocks are filled up
# to a multiple: for each new number, the library keeps kernels.
CHUNK, LOOKING, FETCHED, GRAIN = 8, 512, 64, 16


@dataclass(frozen=True)
class Votes:
    """The result of a vote; 0 where no cell queried.

    Attributes:
        labels: float32 (V, h, w), the weighted mean of the voters' labels.
        similarity: float32 (h, w), the highest similarity.
    """

    labels: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class FineVotes(Votes):
    """The result of a vote at 8 px and at 4 px.

    Attributes:
        fine: float32 (V, 2 h, 2 w), as ``labels``, from the labels of each quarter of a memory cell.
    """

    fine: Tensor


def principal_axes(cells: Tensor, count: int) -> Tensor:
    """Compute the principal axes of a frame's features.

    Args:
        cells: (C, h, w).
        count: number of axes.
    Returns:
        (count, C), orthonormal rows, in the dtype and on the device of ``cells``.
    """
    flat = cells.float().flatten(1)
    # On the host, once a sequence: not every device can do it.
    axes: Tensor = torch.linalg.eigh((flat @ flat.T).cpu()).eigenvectors[:, -count:].T
    return axes.to(cells.device, cells.dtype).contiguous()


def local_votes(
    query: Tensor,
    memory: KeyValueMemoryStore,
    asked: Sequence[tuple[MemoryFrame, Tiles]],
    tiles: Tiles,
    radius: int,
    top_k: int,
    anchors: int,
    scratch: ScratchBuffers,
) -> tuple[FineVotes, Votes]:
    """Vote by the most similar cells of the memory, in windows: of all frames together, and of the annotated ones.

    Args:
        query: (rows, columns, 4, C), the frame's cells in blocks, of at most unit length over C.
        memory: that the frames are in.
        asked: memory frames, each with the tiles in it that match ``tiles``.
        tiles: cells that query; other cells get no votes.
        radius: how far a tile's window reaches beyond it, an even number of cells; it is moved to lie in the frame.
        voters: the cells above this best block vote.
        anchors: number of annotated frames, the first of ``asked``, which also vote alone; at least 1.
        scratch: reusable buffers.
    Returns:
        Of all frames and of the first ``anchors``.
    """
    sides = min(SIDE + radius, memory.shape[0]), min(SIDE + radius, memory.shape[1])
    starts = torch.stack([_window_starts(memory, frame, where, radius, sides) for frame, where in asked], 1)
    own = anchors * math.prod(sides)
    scratch.room = memory.slots / len(asked)
    means = _of_tiles(block_means(query), tiles)
    best_blocks: list[Tensor] = []
    for at in range(0, len(means), CHUNK):
        part = means[at : at + CHUNK]
        blocks, there = _windows(memory, starts[at : at + CHUNK], sides, scratch)
        key_similarity = scratch.take("likeness", (len(part), blocks.shape[1], SIDE * SIDE), part)
        torch.bmm(there, part.transpose(1, 2), out=key_similarity)
        best_blocks.append(_best_blocks(blocks, key_similarity, own, scratch))
    alone = min(CHOSEN_ANNOTATED, own)
    filled = F.pad(torch.stack([tiles.asked, tiles.where]), (0, -len(tiles.asked) % GRAIN))
    chosen, cells = torch.cat(best_blocks).index_select(0, filled[0]), query.flatten(0, 1).index_select(0, filled[1])
    parts = [
        _votes_among(cells[at : at + LOOKING], memory, chosen[at : at + LOOKING], alone, top_k, scratch)
        for at in range(0, len(cells), LOOKING)
    ]
    fine, coarse_votes = (torch.cat(answers)[: len(tiles.where)] for answers in zip(*parts, strict=True))
    every, first = _spread(coarse_votes, tiles).chunk(2)
    return FineVotes(every[:-1], every[-1], _spread_fine(fine, tiles)), Votes(first[:-1], first[-1])


def _window_starts(
    memory: KeyValueMemoryStore, frame: MemoryFrame, tiles: Tiles, radius: int, sides: tuple[int, int]
) -> Tensor:
    """Say which block each tile's window, of ``sides`` blocks, begins with: int64 (n,)."""
    starts = [
        (at // BLOCK - radius // BLOCK).clamp(0, length - side)
        for at, length, side in zip((tiles.rows, tiles.columns), memory.shape, sides, strict=True)
    ]
    return memory.index(frame, *starts)


def _windows(
    memory: KeyValueMemoryStore, first: Tensor, sides: tuple[int, int], scratch: ScratchBuffers
) -> tuple[Tensor, Tensor]:
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
    means = scratch.take("means", (lines.numel(), width * channels), memory.means)
    torch.index_select(pieces, 0, lines.flatten(), out=means)
    return blocks, means.view(count, -1, channels)


def _best_blocks(blocks: Tensor, key_similarity: Tensor, own: int, scratch: ScratchBuffers) -> Tensor:
    """Choose the likeliest of windows' blocks for each of their tiles' own.

    Args:
        blocks: int64 (n, N), the blocks of each tile's windows.
        likeness: (n, N, SIDE * SIDE), how much they are like each block of the tile.
        own: how many of the N, from the first, are of annotated frames.
        workspace: for what is needed in between.
    Returns:
        int64 (n * SIDE * SIDE, M), of ``blocks``; first those of annotated frames, at most ``CHOSEN_ANNOTATED``.
    """
    counts = min(CHOSEN_ANNOTATED, own), min(CHOSEN, blocks.shape[1] - own)
    chosen = approx_topk_indices(key_similarity, own, counts, scratch)
    return blocks.gather(1, chosen.flatten(1)).view(-1, chosen.shape[-1])


def _votes_among(
    cells: Tensor, memory: KeyValueMemoryStore, chosen: Tensor, alone: int, top_k: int, scratch: ScratchBuffers
) -> tuple[Tensor, Tensor]:
    """Let the cells of chosen blocks vote: those of all, and those of the first ``alone`` of them.

    Args:
        cells: (n, 4, C), of the blocks that look.
        memory: that the voters are in.
        chosen: int64 (n, M), the blocks that each looks at.
        alone: how many of the M, from the first, are of annotated frames.
        voters: the cells above this best block vote.
        workspace: for what is needed in between.
    Returns:
        Of each cell what all say of its quarters, float32 (n, 4, V, 4). And float32 (n, 4, 2 V + 2): its labels and the
        highest similarity by all, then the same by the first alone.
    """
    count, asked, channels = cells.shape
    looked, where = chosen.shape[1], chosen.flatten()
    similarity = scratch.take("similarity", (count, asked, asked * looked), cells)
    for at in range(0, count, FETCHED):
        part = cells[at : at + FETCHED]
        rows = where[at * looked : (at + FETCHED) * looked]
        keys = scratch.take("keys", (len(rows), memory.keys.shape[1]), cells)
        torch.index_select(memory.keys, 0, rows, out=keys)
        torch.bmm(part, keys.view(len(part), -1, channels).transpose(1, 2), out=similarity[at : at + FETCHED])
    values = scratch.take("values", (len(where), memory.values.shape[1]), cells)
    torch.index_select(memory.values, 0, where, out=values)
    maxima = max_of_four(similarity)
    weights = scratch.take("weights", (count, 2, asked, asked * looked), cells)
    alike: list[Tensor] = []
    for answer, number in enumerate((looked, alone)):
        best = topk_of_rows(maxima[..., :number], min(top_k, number)).float()
        threshold = (best.amin(-1, keepdim=True) - MARGIN).to(cells.dtype)
        heard, others = weights[:, answer].tensor_split((asked * number,), dim=-1)
        relu_(torch.sub(similarity[..., : asked * number], threshold, out=heard))
        others.zero_()
        alike.append(best.amax(-1, keepdim=True))
    # Both at once: the first are among all, and a part of the values would have to be copied.
    total = torch.bmm(weights.flatten(1, 2), values.view(count, asked * looked, -1)).float()
    total = total.view(count, 2, asked, memory.labels, -1)
    labels = total.mean(-1)
    # What a cell says sums to 1, if it says anything.
    weight = labels.sum(-1, keepdim=True).clamp_min(1e-6)
    labels = labels / weight
    fine = total[:, 0] / weight[:, 0, ..., None]
    return fine, torch.cat([labels[:, 0], alike[0], labels[:, 1], alike[1]], dim=-1)


def _of_tiles(blocks: Tensor, tiles: Tiles) -> Tensor:
    """Take the tiles' blocks out of (rows, columns, C): (n, SIDE * SIDE, C); 0 outside the frame."""
    below, right = (max(0, SIDE - length) for length in blocks.shape[:2])
    if below or right:
        blocks = F.pad(blocks, (0, 0, 0, right, 0, below))
    within = torch.arange(SIDE, device=blocks.device)
    rows = (tiles.rows // BLOCK)[:, None, None] + within[:, None]
    columns = (tiles.columns // BLOCK)[:, None, None] + within
    return blocks[rows, columns].flatten(1, 2)


def _spread(answers: Tensor, tiles: Tiles) -> Tensor:
    """Put what blocks' cells say, (m, 4, n), where they are: (n, h, w); 0 elsewhere."""
    return _at_home(answers, tiles).permute(4, 0, 2, 1, 3).reshape(-1, *tiles.shape)


def _spread_fine(quarters: Tensor, tiles: Tiles) -> Tensor:
    """Put what is said of cells' quarters, float32 (m, 4, n, 4), where they are: (n, 2 h, 2 w); 0 elsewhere."""
    height, width = tiles.shape
    # Two quarters that lie side by side go as one number.
    pairs = _at_home(quarters.view(torch.int64).flatten(2), tiles).view(
        height // BLOCK, width // BLOCK, BLOCK, BLOCK, -1, 2
    )
    planes = pairs.permute(4, 0, 2, 5, 1, 3).contiguous()
    return planes.view(torch.float32).view(-1, 2 * height, 2 * width)


def _at_home(answers: Tensor, tiles: Tiles) -> Tensor:
    """Lay what blocks' cells say, (m, 4, n), out as the frame's blocks: (rows, columns, 2, 2, n); 0 elsewhere."""
    height, width = tiles.shape
    flat = answers.new_zeros(height * width // BLOCK**2, *answers.shape[1:])
    flat[tiles.where] = answers
    return flat.view(height // BLOCK, width // BLOCK, BLOCK, BLOCK, -1)


def global_votes(query: Tensor, keys: Tensor, values: Tensor, top_k: int) -> Tensor:
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
    index = similarity.float().topk(min(top_k, keys.shape[1]), dim=-1).indices
    return values.float()[:, index].mean(dim=-1).reshape(-1, height, width)
