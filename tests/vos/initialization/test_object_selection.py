"""From segments to objects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vos import ObjectSelection, object_ids
from vos.initialization.object_selection import merge_fragments
from vos.plugin import EmptyMaskError, OptionError, select_objects

KEEP_ALL = ObjectSelection(min_area=0, max_area=1, max_border=1, max_objects=254)


@pytest.fixture
def scene():
    """Sky 1 (with a fleck of 9), ground 2, a house 3 in the corner, a dog 4, a cat 5 in the middle."""
    segments = np.ones((100, 200), dtype=np.uint8)
    segments[60:] = 2
    segments[20:60, :20] = 3
    segments[50:80, 40:80] = 4
    segments[45:55, 95:105] = 5
    segments[10:12, 150:153] = 9
    return segments


def test_background_drops_out_and_the_largest_comes_first(scene):
    label_map = select_objects(scene)
    assert object_ids(label_map) == (1, 2, 3)
    assert (label_map[scene == 4] == 1).all()
    assert (label_map[scene == 3] == 2).all()
    assert (label_map[scene == 5] == 3).all()
    assert (label_map[(scene < 3) | (scene == 9)] == 0).all()


def test_the_nearest_to_the_centre_comes_first(scene):
    label_map = select_objects(scene, ObjectSelection(order="centre", max_objects=2))
    assert (label_map[scene == 5] == 1).all()
    assert (label_map[scene == 4] == 2).all()
    assert (label_map[scene == 3] == 0).all()


def test_a_segment_along_the_border_is_background(scene):
    tight = select_objects(scene, ObjectSelection(max_border=0.05))
    assert (tight[scene == 3] == 0).all()
    assert object_ids(tight) == (1, 2)


def test_kept_numbers_are_those_of_the_same_selection(scene):
    label_map = select_objects(scene, ObjectSelection(keep=(3, 1)))
    assert (label_map[scene == 5] == 1).all()
    assert (label_map[scene == 4] == 2).all()
    assert object_ids(label_map) == (1, 2)


def test_the_segment_at_a_pixel_is_taken_though_it_is_background(scene):
    label_map = select_objects(scene, ObjectSelection(at=((100, 90), (60, 60), (61, 61))))
    assert (label_map[scene == 2] == 1).all()
    assert (label_map[scene == 4] == 2).all()
    assert object_ids(label_map) == (1, 2)


def test_fragments_go_to_the_neighbour_that_they_touch_most():
    segments = np.full((40, 40), 1, dtype=np.uint8)
    segments[:, 20:] = 2
    segments[10:12, 18:21] = 3  # 6 pixels; touches 1 along 6 edges, 2 along 4
    merged = merge_fragments(segments, min_area=0.01)
    assert object_ids(merged) == (1, 2)
    assert (merged[segments == 3] == 1).all()
    assert (merged[segments != 3] == segments[segments != 3]).all()


def test_a_fragment_inside_a_fragment_follows_it():
    segments = np.full((40, 40), 1, dtype=np.uint8)
    segments[10:13, 10:13] = 2
    segments[11, 11] = 3
    assert (merge_fragments(segments, min_area=0.01) == 1).all()


def test_pieces_apart_from_their_segment_are_fragments():
    segments = np.zeros((40, 40), dtype=np.uint8)
    segments[5:20, 5:20] = 7
    segments[30, 30] = 7
    merged = merge_fragments(segments, min_area=0.01)
    assert merged[30, 30] == 0
    assert (merged[5:20, 5:20] == 7).all()


def test_nothing_but_fragments_becomes_background():
    checks = np.indices((8, 8)).sum(0).astype(np.uint8) % 2 + 1
    assert not merge_fragments(checks, min_area=0.1).any()


segmentations = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 5)
)


@given(segmentations)
@settings(max_examples=100, deadline=None)
def test_keeping_all_only_renumbers(segments):
    if not segments.any():
        with pytest.raises(EmptyMaskError, match="no object among 0 segments"):
            select_objects(segments, KEEP_ALL)
        return
    label_map = select_objects(segments, KEEP_ALL)
    pairs = set(zip(segments.ravel().tolist(), label_map.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(segments)) == len(np.unique(label_map))
    assert object_ids(label_map) == tuple(range(1, len(object_ids(segments)) + 1))
    areas = [int((label_map == i).sum()) for i in object_ids(label_map)]
    assert areas == sorted(areas, reverse=True)


@given(segmentations, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_after_merging_no_fragment_is_left_beside_a_larger_piece(segments, min_area):
    import cv2

    merged = merge_fragments(segments, min_area)
    assert set(np.unique(merged)) <= set(np.unique(segments)) | {0}
    for segment in object_ids(merged):
        mask = (merged == segment).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        assert (stats[1:count, cv2.CC_STAT_AREA] >= min_area * merged.size).all()


def test_only_background_is_an_error_that_says_what_to_do():
    with pytest.raises(EmptyMaskError, match=r"no object among 2 segments.*\n.*--at x,y, or raise --max-area"):
        select_objects(np.repeat([[1, 2]], 50, axis=0).repeat(50, axis=1).astype(np.uint8))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (ObjectSelection(keep=(4,)), "keep names object 4, there are objects 1 to 3"),
        (ObjectSelection(at=((200, 0),)), "at 200,0 lies outside the frame of 200x100"),
    ],
)
def test_a_choice_that_is_not_there_is_an_error(scene, selection, message):
    with pytest.raises(OptionError, match=message):
        select_objects(scene, selection)


def test_a_pixel_without_segment_is_an_error():
    with pytest.raises(OptionError, match="at 1,2 there is no segment"):
        select_objects(np.zeros((5, 5), dtype=np.uint8), ObjectSelection(at=((1, 2),)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_objects": 0}, "max_objects is 0, expected 1 to 254"),
        ({"min_area": -0.1}, "min_area is -0.1, expected a share"),
        ({"max_border": 2}, "max_border is 2, expected a share"),
        ({"order": "size"}, 'order is "size", expected area or centre'),
    ],
)
def test_selections_out_of_range_are_errors(values, message):
    with pytest.raises(OptionError, match=message):
        ObjectSelection(**values)
