"""Label votes: a cell takes the labels of the most similar cells in windows of the memory frames.

Source: label propagation as in CRW (Jabri et al., arXiv:2006.14613) and DINO (Caron et al., arXiv:2104.14294), where
the top-k cells of a window vote with softmax weights. Here each query block of 2x2 cells first selects the most similar
blocks of the memory by their mean keys. Each query cell then weights the cells of those blocks by how far their
similarity exceeds that of the k-th best block, which selects nearly the same cells at a fraction of the cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.config import MatchingConfig
from vos_propagation.memory.key_value_store import KeyValueMemoryStore, MemoryFrame, block_means
from vos_propagation.ops.activations import relu_
from vos_propagation.ops.query_tiles import BLOCK, SIDE, Tiles
from vos_propagation.ops.scratch import ScratchBuffers
from vos_propagation.ops.topk import approx_topk_indices, max_of_four, topk_of_rows

# Query tiles whose windows are compared in one call: bounds the memory of the similarities.
TILES_PER_CALL = 8
# Query blocks that vote in one call, for the same reason.
BLOCKS_PER_CALL = 512
# Query blocks whose selected keys are gathered in one call: as many as fit into the cache of a CPU core.
BLOCKS_PER_GATHER = 64
# The number of query blocks is padded to a multiple of this: torch compiles and keeps kernels for each new number.
BLOCK_COUNT_MULTIPLE = 16


@dataclass(frozen=True)
class Votes:
    """The result of a vote; 0 in cells that were no query.

    Attributes:
        labels: float32 (V, h, w), the weighted mean of the memory cells' labels.
        similarity: float32 (h, w), the highest similarity to a memory cell.
    """

    labels: Tensor
    similarity: Tensor


def principal_axes(cells: Tensor, count: int) -> Tensor:
    """Compute the principal axes of a frame's features.

    Args:
        cells: (C, h, w).
        count: number of axes.
    Returns:
        (count, C), orthonormal rows, in the dtype and on the device of ``cells``.
    """
    flat = cells.float().flatten(1)
    # On the host, once per sequence: not every device has this decomposition.
    axes: Tensor = torch.linalg.eigh((flat @ flat.T).cpu()).eigenvectors[:, -count:].T
    return axes.to(cells.device, cells.dtype).contiguous()


def local_votes(
    query: Tensor,
    memory: KeyValueMemoryStore,
    frames: Sequence[tuple[MemoryFrame, Tiles]],
    tiles: Tiles,
    config: MatchingConfig,
    anchors: int,
    scratch: ScratchBuffers,
) -> tuple[Votes, Votes]:
    """Vote by the most similar cells in windows of the memory frames: of all frames, and of the annotated ones alone.

    Args:
        query: (rows, columns, 4, C), the frame's cells in blocks, at most unit length over C.
        memory: the store that holds the memory frames.
        frames: memory frames, each with the tiles in it that match ``tiles``.
        tiles: the query tiles; other cells get no votes.
        config: the radius of the windows, which are shifted to lie inside the frame, and how many cells vote.
        anchors: number of annotated frames, the first of ``frames``; at least 1.
        scratch: reusable buffers.
    Returns:
        The votes of all frames, and those of the first ``anchors`` frames.
    """
    sides = min(SIDE + config.window_radius, memory.shape[0]), min(SIDE + config.window_radius, memory.shape[1])
    starts = torch.stack([_window_starts(memory, *at, config.window_radius, sides) for at in frames], 1)
    anchor_area = anchors * math.prod(sides)
    scratch.room = memory.slots / len(frames)
    means = _of_tiles(block_means(query), tiles)
    selected: list[Tensor] = []
    for at in range(0, len(means), TILES_PER_CALL):
        part = means[at : at + TILES_PER_CALL]
        blocks, window_means = _windows(memory, starts[at : at + TILES_PER_CALL], sides, scratch)
        similarity = scratch.acquire("block_similarity", (len(part), blocks.shape[1], SIDE * SIDE), part)
        torch.bmm(window_means, part.transpose(1, 2), out=similarity)
        selected.append(_select_blocks(blocks, similarity, anchor_area, config, scratch))
    padding = (0, -len(tiles.query_blocks) % BLOCK_COUNT_MULTIPLE)
    query_blocks, frame_blocks = F.pad(torch.stack([tiles.query_blocks, tiles.frame_blocks]), padding)
    chosen = torch.cat(selected).index_select(0, query_blocks)
    cells = query.flatten(0, 1).index_select(0, frame_blocks)
    anchor_blocks = min(config.anchor_blocks, anchor_area)
    parts = [
        _votes_among(cells[part], memory, chosen[part], anchor_blocks, config, scratch)
        for part in (slice(at, at + BLOCKS_PER_CALL) for at in range(0, len(cells), BLOCKS_PER_CALL))
    ]
    votes = torch.cat(parts)[: len(tiles.frame_blocks)]
    of_all, of_anchors = (Votes(planes[:-1], planes[-1]) for planes in _scatter(votes, tiles).chunk(2))
    return of_all, of_anchors


def _window_starts(
    memory: KeyValueMemoryStore, frame: MemoryFrame, tiles: Tiles, radius: int, sides: tuple[int, int]
) -> Tensor:
    """Return the first block of each tile's window, of ``sides`` blocks, in the store: int64 (n,)."""
    starts = [
        (at // BLOCK - radius // BLOCK).clamp(0, length - side)
        for at, length, side in zip((tiles.rows, tiles.columns), memory.shape, sides, strict=True)
    ]
    return memory.index(frame, *starts)


def _windows(
    memory: KeyValueMemoryStore, first: Tensor, sides: tuple[int, int], scratch: ScratchBuffers
) -> tuple[Tensor, Tensor]:
    """List the blocks of the windows whose first blocks are ``first``, (n, F), frame by frame.

    Returns:
        The blocks' indices, int64 (n, F * area), and their mean keys, (n, F * area, C).
    """
    count, channels = len(first), memory.means.shape[1]
    height, width = sides
    row_starts = first[..., None] + torch.arange(height, device=first.device) * memory.shape[1]
    blocks = (row_starts[..., None] + torch.arange(width, device=first.device)).view(count, -1)
    # The means of a window's row are adjacent in memory: one index fetches the whole row.
    window_rows = memory.means.as_strided((len(memory.means) - width + 1, width * channels), (channels, 1))
    means = scratch.acquire("means", (row_starts.numel(), width * channels), memory.means)
    torch.index_select(window_rows, 0, row_starts.flatten(), out=means)
    return blocks, means.view(count, -1, channels)


def _select_blocks(
    blocks: Tensor, similarity: Tensor, anchor_area: int, config: MatchingConfig, scratch: ScratchBuffers
) -> Tensor:
    """Select the most similar blocks of the windows for each block of their tiles.

    Args:
        blocks: int64 (n, N), the blocks of each tile's windows.
        similarity: (n, N, SIDE * SIDE), to each block of the tile.
        anchor_area: the first blocks of the N, this many, are of annotated frames.
        config: how many blocks to select.
        scratch: reusable buffers.
    Returns:
        int64 (n * SIDE * SIDE, M), of ``blocks``; first those of annotated frames.
    """
    counts = min(config.anchor_blocks, anchor_area), min(config.other_blocks, blocks.shape[1] - anchor_area)
    chosen = approx_topk_indices(similarity, anchor_area, counts, scratch)
    return blocks.gather(1, chosen.flatten(1)).view(-1, chosen.shape[-1])


def _votes_among(
    cells: Tensor,
    memory: KeyValueMemoryStore,
    chosen: Tensor,
    anchor_blocks: int,
    config: MatchingConfig,
    scratch: ScratchBuffers,
) -> Tensor:
    """Vote by the cells of the selected blocks: by all of them, and by the first ``anchor_blocks`` blocks alone.

    Args:
        cells: (n, 4, C), the cells of the query blocks.
        memory: the store that holds the memory frames.
        chosen: int64 (n, M), the blocks selected for each query block.
        anchor_blocks: the first blocks of the M, this many, are of annotated frames.
        config: how many cells vote, and with which weight.
        scratch: reusable buffers.
    Returns:
        float32 (n, 4, 2 V + 2): the labels and highest similarity of each cell by all blocks, then the same by the
        annotated frames alone.
    """
    count, block_cells, channels = cells.shape
    block_count, where = chosen.shape[1], chosen.flatten()
    similarity = scratch.acquire("similarity", (count, block_cells, block_cells * block_count), cells)
    for at in range(0, count, BLOCKS_PER_GATHER):
        part = cells[at : at + BLOCKS_PER_GATHER]
        rows = where[at * block_count : (at + BLOCKS_PER_GATHER) * block_count]
        keys = scratch.acquire("keys", (len(rows), memory.keys.shape[1]), cells)
        torch.index_select(memory.keys, 0, rows, out=keys)
        out = similarity[at : at + BLOCKS_PER_GATHER]
        torch.bmm(part, keys.view(len(part), -1, channels).transpose(1, 2), out=out)
    values = scratch.acquire("values", (len(where), memory.values.shape[1]), cells)
    torch.index_select(memory.values, 0, where, out=values)
    maxima = max_of_four(similarity)
    weights = scratch.acquire("weights", (count, 2, block_cells, block_cells * block_count), cells)
    highest: list[Tensor] = []
    for vote, number in enumerate((block_count, anchor_blocks)):
        best = topk_of_rows(maxima[..., :number], min(config.top_k, number)).float()
        threshold = (best.amin(-1, keepdim=True) - config.vote_margin).to(cells.dtype)
        voting, silent = weights[:, vote].tensor_split((block_cells * number,), dim=-1)
        relu_(torch.sub(similarity[..., : block_cells * number], threshold, out=voting))
        silent.zero_()
        highest.append(best.amax(-1, keepdim=True))
    # One product for both votes: the values of the annotated frames alone would have to be copied.
    total = torch.bmm(weights.flatten(1, 2), values.view(count, block_cells * block_count, -1)).float()
    total = total.view(count, 2, block_cells, memory.labels)
    # Labels sum to 1 in each cell, or to 0 where nothing votes.
    labels = total / total.sum(-1, keepdim=True).clamp_min(1e-6)
    return torch.cat([labels[:, 0], highest[0], labels[:, 1], highest[1]], dim=-1)


def _of_tiles(blocks: Tensor, tiles: Tiles) -> Tensor:
    """Gather the tiles' blocks from (rows, columns, C): (n, SIDE * SIDE, C); 0 outside the frame."""
    below, right = (max(0, SIDE - length) for length in blocks.shape[:2])
    if below or right:
        blocks = F.pad(blocks, (0, 0, 0, right, 0, below))
    within = torch.arange(SIDE, device=blocks.device)
    rows = (tiles.rows // BLOCK)[:, None, None] + within[:, None]
    columns = (tiles.columns // BLOCK)[:, None, None] + within
    return blocks[rows, columns].flatten(1, 2)


def _scatter(votes: Tensor, tiles: Tiles) -> Tensor:
    """Scatter the votes of the query blocks' cells, (m, 4, n), to the frame: (n, h, w); 0 elsewhere."""
    height, width = tiles.shape
    flat = votes.new_zeros(height * width // BLOCK**2, *votes.shape[1:])
    flat[tiles.frame_blocks] = votes
    blocks = flat.view(height // BLOCK, width // BLOCK, BLOCK, BLOCK, -1)
    return blocks.permute(4, 0, 2, 1, 3).reshape(-1, height, width)


def global_votes(query: Tensor, keys: Tensor, values: Tensor, top_k: int) -> Tensor:
    """Vote by the most similar keys, whatever their position.

    Args:
        query: (C, h, w), unit length over C.
        keys: (C, N), unit length over C.
        values: (V, N), labels.
        top_k: number of keys that vote, all with the same weight.
    Returns:
        float32 (V, h, w), the mean of those keys' labels.
    """
    channels, height, width = query.shape
    similarity = query.reshape(channels, -1).T.contiguous() @ keys
    index = similarity.float().topk(min(top_k, keys.shape[1]), dim=-1).indices
    return values.float()[:, index].mean(dim=-1).reshape(-1, height, width)
