import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vos_propagation.ops.query_tiles import SIDE, Tiles, matching_tiles, object_places, tiles_near_objects


def corners(tiles: Tiles) -> list[tuple[int, int]]:
    return list(zip(tiles.rows.tolist(), tiles.columns.tolist(), strict=True))


def square(top: int, left: int) -> torch.Tensor:
    plane = torch.zeros(1, 32, 64)
    plane[0, top : top + 8, left : left + 8] = 1
    return plane


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 15), st.integers(1, 15), st.integers(0, 3), st.integers(0, 2), st.integers(0, 1000))
def test_the_blocks_within_reach_look_each_from_one_tile(
    rows: int, columns: int, objects: int, reach: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    support = (torch.rand(objects, 2 * rows, 2 * columns, generator=generator) > 0.97).float()
    tiles = tiles_near_objects(support, reach)
    assert not (tiles.rows % 2).any()
    assert not (tiles.columns % 2).any()
    near = torch.zeros(rows, columns, dtype=torch.bool)
    for y, x in torch.nonzero(support.sum(0)).tolist():
        top, left = max(0, y - reach) // 2, max(0, x - reach) // 2
        near[top : (y + reach) // 2 + 1, left : (x + reach) // 2 + 1] = True
    assert torch.equal(tiles.frame_blocks, torch.nonzero(near.flatten())[:, 0])
    tile, within = tiles.query_blocks // SIDE**2, tiles.query_blocks % SIDE**2
    assert torch.equal(tiles.rows[tile] // 2 + within // SIDE, tiles.frame_blocks // columns)
    assert torch.equal(tiles.columns[tile] // 2 + within % SIDE, tiles.frame_blocks % columns)
    assert set(tile.tolist()) == set(range(len(tiles.rows)))


def test_tiles_lie_where_they_cover_most_and_belong_to_an_object() -> None:
    support = torch.cat([square(6, 4), square(14, 42)])
    tiles = tiles_near_objects(support, 0)
    assert (corners(tiles), tiles.owners.tolist()) == ([(6, 4), (14, 42)], [0, 1])
    assert len(tiles_near_objects(square(6, 4), 4).rows) == 4
    assert len(tiles_near_objects(torch.cat([square(6, 4), square(6, 4)]), 0).rows) == 1
    assert corners(tiles_near_objects(square(24, 56), 1)) == [(22, 54), (22, 56), (24, 54), (24, 56)]
    assert len(tiles_near_objects(torch.zeros(2, 20, 30), 8).rows) == 0


@pytest.mark.parametrize("then", [(16, 8), (17, 9), (15, 8)])
def test_a_past_frame_is_asked_where_the_object_was_then_to_the_block(then: tuple[int, int]) -> None:
    there = tiles_near_objects(square(10, 46), 0)
    moved = matching_tiles(there, object_places(square(10, 46)), object_places(square(*then)))
    assert corners(there) == [(10, 46)]
    assert abs(corners(moved)[0][0] - then[0]) <= 1
    assert abs(corners(moved)[0][1] - then[1]) <= 1
    assert all(at % 2 == 0 for at in corners(moved)[0])


def test_each_tile_moves_with_its_object_and_stays_in_the_frame() -> None:
    support = torch.cat([square(0, 0), square(24, 56)])
    labels = torch.cat([square(0, 10), torch.zeros(1, 32, 64)])
    then = matching_tiles(tiles_near_objects(support, 0), object_places(support), object_places(labels))
    assert corners(then) == [(0, 10), (24, 56)]
    far = matching_tiles(
        tiles_near_objects(square(0, 0), 4), object_places(square(0, 0)), object_places(square(24, 56))
    )
    assert set(corners(far)) == {(24, 56)}
