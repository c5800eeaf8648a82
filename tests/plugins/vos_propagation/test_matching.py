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
    Workspace,
    global_votes,
    local_votes,
    places_of,
    principal_axes,
    remember,
    tiles_before,
    tiles_near,
)


def unit(channels: int, height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(channels, height, width, generator=generator), dim=0)


def all_tiles(height: int, width: int) -> Tiles:
    return tiles_near(torch.ones(1, height, width), 0)


def corners(tiles: Tiles) -> list[tuple[int, int]]:
    return list(zip(tiles.rows.tolist(), tiles.columns.tolist(), strict=True))


def labels_of(height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(torch.randn(3, 2 * height, 2 * width, generator=generator), 0)


def quarters(labels: torch.Tensor) -> torch.Tensor:
    return labels.repeat_interleave(2, 1).repeat_interleave(2, 2)


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 20), st.integers(3, 20), st.sampled_from([2, 4]), st.integers(0, 1000), st.booleans())
def test_local_votes_weigh_every_cell_by_how_far_it_is_above_the_threshold(
    height: int, width: int, radius: int, seed: int, first_alone: bool
) -> None:
    voters = 3
    query, labels = unit(6, height, width, seed), labels_of(height, width, seed)
    memory = [remember(unit(6, height, width, seed + 1 + i), labels.roll(i, 1), radius) for i in range(3)]
    tiles = all_tiles(height, width)
    answers = local_votes(query, [(frame, tiles) for frame in memory], tiles, radius, voters, 2, Workspace())
    votes, similarity = answers[first_alone].fine, answers[first_alone].similarity
    torch.testing.assert_close(F.avg_pool2d(votes, 2), answers[first_alone].labels)
    memory = memory[:2] if first_alone else memory
    side = TILE + 2 * radius
    for y, x in [(0, 0), (height - 1, width - 1), (height // 2, width // 3)]:
        row, column = corners(tiles)[int(tiles.places[y, x]) // TILE**2]
        top, left = row - radius, column - radius
        like, label = [], []
        for frame in memory:
            for v in range(side):
                for u in range(side):
                    inside = 0 <= top + v < height and 0 <= left + u < width
                    cell = frame.cells[:, top + v, left + u] if inside else torch.zeros(6)
                    like.append(float(query[:, y, x] @ cell))
                    rows, columns = (slice(2 * at, 2 * at + 2) for at in (top + v, left + u))
                    label.append(frame.labels[:, rows, columns] if inside else None)
        area = side * side // 8
        maxima = torch.tensor(like).view(len(memory), 8, area).amax(1).flatten().sort(descending=True).values
        threshold = maxima[voters - 1] - MARGIN
        weights = [max(0.0, s - float(threshold)) for s in like]
        share = sum(w for w, at in zip(weights, label, strict=True) if at is not None)
        expected = sum(w * at for w, at in zip(weights, label, strict=True) if at is not None) / max(share, 1e-6)
        found = votes[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        torch.testing.assert_close(found, torch.as_tensor(expected).expand(3, 2, 2), atol=1e-3, rtol=1e-3)
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
    frame = remember(query, quarters(labels), 4)
    for votes in local_votes(query, [(frame, tiles)], tiles, 4, 1, 1, Workspace()):
        assert torch.equal(votes.labels.argmax(0), labels.argmax(0))
        torch.testing.assert_close(votes.similarity, torch.ones(16, 24))


def test_cells_outside_the_tiles_get_no_votes() -> None:
    query, support = unit(8, 16, 24, 0), torch.zeros(1, 16, 24)
    support[0, 5, 10] = 1
    tiles = tiles_near(support, 0)
    frame = remember(query, torch.ones(1, 32, 48), 4)
    votes = local_votes(query, [(frame, tiles)], tiles, 4, 3, 1, Workspace())[0].labels
    assert votes[0, 5:13, 10:18].min() > 0.99
    votes[0, 5:13, 10:18] = 0
    assert votes.max() == 0


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 3), st.integers(0, 2), st.integers(0, 1000))
def test_tiles_cover_what_is_within_reach_and_each_cell_has_one_place_in_them(
    height: int, width: int, objects: int, reach: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    support = (torch.rand(objects, height, width, generator=generator) > 0.97).float()
    tiles = tiles_near(support, reach)
    for y, x in torch.nonzero(support.sum(0)).tolist():
        assert tiles.places[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].min() >= 0
    taken = torch.nonzero(tiles.places >= 0)
    places = tiles.places[taken[:, 0], taken[:, 1]]
    tile, within = places // TILE**2, places % TILE**2
    assert torch.equal(tiles.rows[tile] + within // TILE, taken[:, 0])
    assert torch.equal(tiles.columns[tile] + within % TILE, taken[:, 1])
    assert set(tile.tolist()) == set(range(len(tiles.rows)))


def test_tiles_lie_where_they_cover_most_and_belong_to_an_object() -> None:
    support = torch.cat([square(5, 3), square(13, 41)])
    tiles = tiles_near(support, 0)
    assert (corners(tiles), tiles.owners.tolist()) == ([(5, 3), (13, 41)], [0, 1])
    assert len(tiles_near(square(5, 3), 4).rows) == 4
    assert len(tiles_near(torch.cat([square(5, 3), square(5, 3)]), 0).rows) == 1
    assert corners(tiles_near(square(24, 56), 1)) == [(23, 55), (23, 56), (24, 55), (24, 56)]
    assert len(tiles_near(torch.zeros(2, 20, 30), 8).rows) == 0


def square(top: int, left: int) -> torch.Tensor:
    plane = torch.zeros(1, 32, 64)
    plane[0, top : top + 8, left : left + 8] = 1
    return plane


def test_a_past_frame_is_asked_where_the_object_was_then_to_the_cell() -> None:
    there = tiles_near(square(9, 47), 0)
    then = tiles_before(there, places_of(square(9, 47)), places_of(square(16, 8)))
    assert (corners(there), corners(then)) == ([(9, 47)], [(16, 8)])


def test_each_tile_moves_with_its_object_and_stays_in_the_frame() -> None:
    support = torch.cat([square(0, 0), square(24, 56)])
    labels = torch.cat([square(0, 9), torch.zeros(1, 32, 64)])
    then = tiles_before(tiles_near(support, 0), places_of(support), places_of(labels))
    assert corners(then) == [(0, 9), (24, 56)]
    far = tiles_before(tiles_near(square(0, 0), 4), places_of(square(0, 0)), places_of(square(24, 56)))
    assert set(corners(far)) == {(24, 56)}


@pytest.mark.parametrize("moved", [0, 40])
def test_an_object_far_from_where_it_was_annotated_still_gets_its_votes(moved: int) -> None:
    ground, thing = unit(32, 32, 64, 0), unit(32, 8, 8, 1)
    before, now = ground.clone(), ground.roll(5, 2)
    before[:, 8:16, 8:16] = thing
    now[:, 8:16, 8 + moved : 16 + moved] = thing
    frame: Remembered = remember(before, quarters(torch.cat([1 - square(8, 8), square(8, 8)])), 4)
    support = square(8, 8 + moved)
    tiles = tiles_near(support, 0)
    then = tiles_before(tiles, places_of(support), frame.places)
    votes, _ = local_votes(now, [(frame, then)], tiles, 4, 1, 1, Workspace())
    assert votes.labels[1, 8:16, 8 + moved : 16 + moved].min() > 0.9


def test_global_votes_find_a_cell_wherever_it_went() -> None:
    cells = unit(32, 6, 7, 3)
    moved = cells.roll((3, 2), (1, 2))
    label = torch.zeros(1, 6, 7)
    label[0, 1, 1] = 1
    votes = global_votes(moved, cells.flatten(1), label.flatten(1), 1)
    assert votes[0, 4, 3] == 1
    assert votes.sum() == 1


def test_memory_that_is_used_again_does_not_change_votes() -> None:
    """First for a large frame, then for a small one, whose windows lie in what the large one left."""
    workspace = Workspace()
    for height, width in ((40, 56), (12, 17), (40, 56)):
        query, labels = unit(6, height, width, height), labels_of(height, width, 1)
        tiles = all_tiles(height, width)
        memory = [(remember(unit(6, height, width, i), labels.roll(i, 1), 4), tiles) for i in range(3)]
        for used, fresh in zip(
            local_votes(query, memory, tiles, 4, 3, 2, workspace),
            local_votes(query, memory, tiles, 4, 3, 2, Workspace()),
            strict=True,
        ):
            assert torch.equal(used.fine, fresh.fine)
            assert torch.equal(used.similarity, fresh.similarity)
