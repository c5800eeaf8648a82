import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vos_propagation.config import MatchingConfig
from vos_propagation.memory import label_votes
from vos_propagation.memory.key_value_store import KeyValueMemoryStore, MemoryFrame, in_blocks
from vos_propagation.memory.label_votes import Votes, global_votes, local_votes, principal_axes
from vos_propagation.ops.query_tiles import SIDE, Tiles, matching_tiles, object_places, tiles_near_objects
from vos_propagation.ops.scratch import ScratchBuffers


def unit(channels: int, height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(channels, height, width, generator=generator), dim=0)


def all_tiles(height: int, width: int) -> Tiles:
    return tiles_near_objects(torch.ones(1, height, width), 0)


def labels_of(height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(torch.randn(3, height, width, generator=generator), 0)


def blocks_of(cells: torch.Tensor) -> torch.Tensor:
    return in_blocks(cells.permute(1, 2, 0).contiguous())


def memory_of(cells: list[torch.Tensor], labels: list[torch.Tensor]) -> tuple[KeyValueMemoryStore, list[MemoryFrame]]:
    memory = KeyValueMemoryStore(len(cells), blocks_of(cells[0]), len(labels[0]))
    frames: list[MemoryFrame] = []
    for own, coarse_votes in zip(cells, labels, strict=True):
        frames.append(memory.put(blocks_of(own), coarse_votes, frames))
    return memory, frames


def votes_of(
    query: torch.Tensor,
    cells: list[torch.Tensor],
    labels: list[torch.Tensor],
    tiles: Tiles,
    radius: int = 4,
    top_k: int = 1,
    anchors: int = 1,
    scratch: ScratchBuffers | None = None,
) -> tuple[Votes, Votes]:
    memory, frames = memory_of(cells, labels)
    config = MatchingConfig(window_radius=radius, top_k=top_k)
    matched = [(frame, tiles) for frame in frames]
    return local_votes(blocks_of(query), memory, matched, tiles, config, anchors, scratch or ScratchBuffers())


def in_window(at: int, radius: int, length: int) -> range:
    """The blocks along one side of the window that belongs to a tile's first row or column."""
    side = min(SIDE + radius, length // 2)
    first = min(max(at // 2 - radius // 2, 0), length // 2 - side)
    return range(first, first + side)


@settings(deadline=None, max_examples=20)
@example(6, 6, 2, 0, False)  # windows of 72 blocks, of which 8 are chosen
@given(st.integers(2, 10), st.integers(2, 10), st.sampled_from([0, 2]), st.integers(0, 1000), st.booleans())
def test_local_votes_weight_the_cells_of_the_most_similar_blocks_by_similarity_above_the_threshold(
    rows: int, columns: int, radius: int, seed: int, first_alone: bool
) -> None:
    height, width, top_k, anchors = 2 * rows, 2 * columns, 3, 2
    query = unit(6, height, width, seed)
    cells = [unit(6, height, width, seed + 1 + i) for i in range(3)]
    labels = [labels_of(height, width, seed).roll(i, 1) for i in range(3)]
    tiles = all_tiles(height, width)
    every, first = votes_of(query, cells, labels, tiles, radius, top_k, anchors)
    answer = first if first_alone else every
    for y, x in [(0, 0), (height - 1, width - 1), (height // 2, width // 3)]:
        at = tiles.frame_blocks.tolist().index(y // 2 * columns + x // 2)
        tile = int(tiles.query_blocks[at]) // SIDE**2
        row, column = int(tiles.rows[tile]), int(tiles.columns[tile])
        own = F.avg_pool2d(query[:, y // 2 * 2 : y // 2 * 2 + 2, x // 2 * 2 : x // 2 * 2 + 2], 2)[:, 0, 0]
        chosen: list[tuple[int, int, int]] = []
        for frames, count in (
            (range(anchors), MatchingConfig.anchor_blocks),
            (range(anchors, 3), MatchingConfig.other_blocks),
        ):
            near = [
                (float(own @ F.avg_pool2d(cells[i], 2)[:, v, u]), (i, v, u))
                for i in frames
                for v in in_window(row, radius, height)
                for u in in_window(column, radius, width)
            ]
            if frames[0] == 0 or not first_alone:
                chosen += [place for _, place in sorted(near, reverse=True)[:count]]
        like = torch.tensor(
            [
                [float(query[:, y, x] @ cells[i][:, 2 * v + c // 2, 2 * u + c % 2]) for c in range(4)]
                for i, v, u in chosen
            ]
        )
        threshold = like.amax(1).sort(descending=True).values[top_k - 1] - MatchingConfig.vote_margin
        total, share = torch.zeros(3), 0.0
        for (i, v, u), block in zip(chosen, like, strict=True):
            for c, s in enumerate(block):
                weight = max(0.0, float(s - threshold))
                total += weight * labels[i][:, 2 * v + c // 2, 2 * u + c % 2]
                share += weight
        torch.testing.assert_close(answer.labels[:, y, x], total / share, atol=1e-3, rtol=1e-3)
        assert abs(float(answer.similarity[y, x]) - float(like.max())) < 1e-5


def test_principal_axes_keep_what_differs_and_drop_the_rest() -> None:
    large, small = unit(4, 10, 12, 0), 0.01 * unit(4, 10, 12, 1)
    cells = torch.cat([small[:2], large, small[2:]])
    axes = principal_axes(cells, 4)
    torch.testing.assert_close(axes @ axes.T, torch.eye(4), atol=1e-5, rtol=0)
    kept = torch.einsum("dc,chw->dhw", axes, cells)
    torch.testing.assert_close(
        kept.flatten(1).T @ kept.flatten(1), cells.flatten(1).T @ cells.flatten(1), atol=1e-3, rtol=0
    )
    assert axes[:, [0, 1, 6, 7]].abs().max() < 0.1


def test_a_frame_that_is_in_memory_gives_its_own_labels() -> None:
    query = unit(32, 16, 24, 0)
    labels = F.one_hot(torch.arange(16 * 24).view(16, 24) // 50 % 3, 3).permute(2, 0, 1).float()
    for votes in votes_of(query, [query], [labels], all_tiles(16, 24)):
        assert torch.equal(votes.labels.argmax(0), labels.argmax(0))
        torch.testing.assert_close(votes.similarity, torch.ones(16, 24))


def test_cells_outside_the_query_blocks_get_no_votes() -> None:
    query, support = unit(8, 16, 24, 0), torch.zeros(1, 16, 24)
    support[0, 4, 10] = 1
    votes = votes_of(query, [query], [torch.ones(1, 16, 24)], tiles_near_objects(support, 2), top_k=3)[0]
    assert votes.labels[0, 2:8, 8:14].min() > 0.99
    for planes in (votes.labels, votes.similarity[None]):
        planes[0, 2:8, 8:14] = 0
        assert planes.max() == 0


def test_votes_do_not_depend_on_the_number_of_blocks_in_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    query, labels = unit(6, 24, 40, 0), labels_of(24, 40, 1)
    cells, coarse_votes = [unit(6, 24, 40, i + 1) for i in range(3)], [labels.roll(i, 1) for i in range(3)]
    together, first = votes_of(query, cells, coarse_votes, all_tiles(24, 40), 4, 3, 2)
    monkeypatch.setattr(label_votes, "BLOCKS_PER_CALL", 48)
    apart, first_apart = votes_of(query, cells, coarse_votes, all_tiles(24, 40), 4, 3, 2)
    torch.testing.assert_close(apart.labels, together.labels)
    torch.testing.assert_close(first_apart.labels, first.labels)


def square(top: int, left: int) -> torch.Tensor:
    plane = torch.zeros(1, 32, 64)
    plane[0, top : top + 8, left : left + 8] = 1
    return plane


@pytest.mark.parametrize("moved", [0, 40])
def test_an_object_far_from_where_it_was_annotated_still_gets_its_votes(moved: int) -> None:
    ground, thing = unit(32, 32, 64, 0), unit(32, 8, 8, 1)
    before, now = ground.clone(), ground.roll(5, 2)
    before[:, 8:16, 8:16] = thing
    now[:, 8:16, 8 + moved : 16 + moved] = thing
    memory, (frame,) = memory_of([before], [torch.cat([1 - square(8, 8), square(8, 8)])])
    support = square(8, 8 + moved)
    tiles = tiles_near_objects(support, 0)
    then = matching_tiles(tiles, object_places(support), frame.places)
    config = MatchingConfig(window_radius=4, top_k=1)
    votes, _ = local_votes(blocks_of(now), memory, [(frame, then)], tiles, config, 1, ScratchBuffers())
    assert votes.labels[1, 8:16, 8 + moved : 16 + moved].min() > 0.9


def test_global_votes_find_a_cell_wherever_it_went() -> None:
    cells = unit(32, 6, 7, 3)
    moved = cells.roll((3, 2), (1, 2))
    label = torch.zeros(1, 6, 7)
    label[0, 1, 1] = 1
    votes = global_votes(moved, cells.flatten(1), label.flatten(1), 1)
    assert votes[0, 4, 3] == 1
    assert votes.sum() == 1


def test_reused_scratch_buffers_do_not_change_votes() -> None:
    """A small frame follows a large one: its windows overwrite a part of the buffers."""
    scratch = ScratchBuffers()
    for height, width in ((40, 56), (12, 18), (40, 56)):
        query, labels = unit(6, height, width, height), labels_of(height, width, 1)
        tiles = all_tiles(height, width)
        cells, coarse_votes = [unit(6, height, width, i) for i in range(3)], [labels.roll(i, 1) for i in range(3)]
        used, used_first = votes_of(query, cells, coarse_votes, tiles, 4, 3, 2, scratch)
        fresh, fresh_first = votes_of(query, cells, coarse_votes, tiles, 4, 3, 2, ScratchBuffers())
        assert torch.equal(used.labels, fresh.labels)
        assert torch.equal(used_first.labels, fresh_first.labels)
        assert torch.equal(used.similarity, fresh.similarity)
