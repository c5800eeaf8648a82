import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vos_propagation.matching import (
    MARGIN,
    TILE,
    Remembered,
    Tiles,
    global_votes,
    local_votes,
    principal_axes,
    remember,
    tiles_before,
    tiles_near,
)


def unit(channels: int, height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(channels, height, width, generator=generator), dim=0)


def all_tiles(height: int, width: int) -> Tiles:
    rows, columns = torch.nonzero(torch.ones(-(-height // TILE), -(-width // TILE)), as_tuple=True)
    return Tiles(rows, columns)


def labels_of(height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(torch.randn(3, height, width, generator=generator), 0)


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 20), st.integers(3, 20), st.sampled_from([2, 4]), st.integers(0, 1000), st.booleans())
def test_local_votes_weigh_every_cell_by_how_far_it_is_above_the_threshold(
    height: int, width: int, radius: int, seed: int, first_alone: bool
) -> None:
    voters = 3
    query, labels = unit(6, height, width, seed), labels_of(height, width, seed)
    memory = [remember(unit(6, height, width, seed + 1 + i), labels.roll(i, 1), radius) for i in range(3)]
    tiles = all_tiles(height, width)
    answers = local_votes(query, [(frame, tiles) for frame in memory], tiles, radius, voters, 2)
    votes, similarity = answers[first_alone].labels, answers[first_alone].similarity
    memory = memory[:2] if first_alone else memory
    side = TILE + 2 * radius
    for y, x in [(0, 0), (height - 1, width - 1), (height // 2, width // 3)]:
        top, left = y // TILE * TILE - radius, x // TILE * TILE - radius
        like, label = [], []
        for frame in memory:
            for v in range(side):
                for u in range(side):
                    inside = 0 <= top + v < height and 0 <= left + u < width
                    cell = frame.cells[:, top + v, left + u] if inside else torch.zeros(6)
                    like.append(float(query[:, y, x] @ cell))
                    label.append(frame.labels[:, top + v, left + u] if inside else None)
        area = side * side // 8
        maxima = torch.tensor(like).view(len(memory), 8, area).amax(1).flatten().sort(descending=True).values
        threshold = maxima[voters - 1] - MARGIN
        weights = [max(0.0, s - float(threshold)) for s in like]
        share = sum(w for w, at in zip(weights, label, strict=True) if at is not None)
        expected = sum(w * at for w, at in zip(weights, label, strict=True) if at is not None) / max(share, 1e-6)
        torch.testing.assert_close(votes[:, y, x], torch.as_tensor(expected).expand(3), atol=1e-3, rtol=1e-3)
        assert abs(float(similarity[y, x]) - max(like)) < 1e-5


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
    tiles = all_tiles(16, 24)
    for votes in local_votes(query, [(remember(query, labels, 4), tiles)], tiles, 4, 1, 1):
        assert torch.equal(votes.labels.argmax(0), labels.argmax(0))
        torch.testing.assert_close(votes.similarity, torch.ones(16, 24))


def test_cells_outside_the_tiles_get_no_votes() -> None:
    query = unit(8, 16, 24, 0)
    tiles = Tiles(torch.tensor([1]), torch.tensor([2]))
    votes = local_votes(query, [(remember(query, torch.ones(1, 16, 24), 4), tiles)], tiles, 4, 3, 1)[0].labels
    assert votes[0, 8:, 16:].min() > 0.99
    assert votes[0, :8].max() == 0
    assert votes[0, :, :16].max() == 0


def test_tiles_near_an_object_are_those_within_reach() -> None:
    support = torch.zeros(20, 30)
    support[9, 9] = 1
    tiles = tiles_near(support, 1)
    assert list(zip(tiles.rows.tolist(), tiles.columns.tolist(), strict=True)) == [(1, 1)]
    tiles = tiles_near(support, 2)
    assert sorted(zip(tiles.rows.tolist(), tiles.columns.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(tiles_near(torch.zeros(20, 30), 8).rows) == 0


def square(top: int, left: int) -> torch.Tensor:
    plane = torch.zeros(1, 32, 64)
    plane[0, top : top + 8, left : left + 8] = 1
    return plane


def test_a_past_frame_is_asked_where_the_object_was_then() -> None:
    there = tiles_near(square(8, 48)[0], 0)
    then = tiles_before(there, square(8, 48), square(16, 8))
    assert (there.rows.tolist(), there.columns.tolist()) == ([1], [6])
    assert (then.rows.tolist(), then.columns.tolist()) == ([2], [1])


def test_each_tile_moves_with_the_object_nearest_to_it_and_stays_in_the_frame() -> None:
    support = torch.cat([square(0, 0), square(24, 56)])
    labels = torch.cat([square(0, 8), torch.zeros(1, 32, 64)])
    tiles = Tiles(torch.tensor([0, 0, 3]), torch.tensor([0, 1, 7]))
    then = tiles_before(tiles, support, labels)
    assert list(zip(then.rows.tolist(), then.columns.tolist(), strict=True)) == [(0, 1), (0, 2), (3, 7)]
    far = tiles_before(Tiles(torch.tensor([0]), torch.tensor([7])), square(0, 0), square(24, 56))
    assert (far.rows.tolist(), far.columns.tolist()) == ([3], [7])


@pytest.mark.parametrize("moved", [0, 40])
def test_an_object_far_from_where_it_was_annotated_still_gets_its_votes(moved: int) -> None:
    ground, thing = unit(32, 32, 64, 0), unit(32, 8, 8, 1)
    before, now = ground.clone(), ground.roll(5, 2)
    before[:, 8:16, 8:16] = thing
    now[:, 8:16, 8 + moved : 16 + moved] = thing
    frame: Remembered = remember(before, torch.cat([1 - square(8, 8), square(8, 8)]), 4)
    support = square(8, 8 + moved)
    tiles = tiles_near(support[0], 0)
    votes, _ = local_votes(now, [(frame, tiles_before(tiles, support, square(8, 8)))], tiles, 4, 1, 1)
    assert votes.labels[1, 8:16, 8 + moved : 16 + moved].min() > 0.9


def test_global_votes_find_a_cell_wherever_it_went() -> None:
    cells = unit(32, 6, 7, 3)
    moved = cells.roll((3, 2), (1, 2))
    label = torch.zeros(1, 6, 7)
    label[0, 1, 1] = 1
    votes = global_votes(moved, cells.flatten(1), label.flatten(1), 1)
    assert votes[0, 4, 3] == 1
    assert votes.sum() == 1
