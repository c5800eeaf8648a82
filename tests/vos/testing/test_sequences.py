import numpy as np
import pytest

from vos import object_ids, read_label_map
from vos.plugin import Source
from vos.testing import tiny_sequence

KINDS = ["moving", "still", "vanishing", "later", "crossing"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(48, 64), (33, 47), (5, 7), (1, 1)])
def test_frames_and_label_maps_belong_together(kind, size):
    sequence = tiny_sequence(kind, size=size, length=7)
    assert isinstance(sequence, Source)
    assert [frame.size for frame in sequence.frames()] == [size] * 7
    assert all(label_map.shape == size and label_map.dtype == np.uint8 for label_map in sequence.label_maps)
    assert sequence.info.frame_count == 7


def test_a_mask_is_exact_to_the_pixel():
    sequence = tiny_sequence("still", object_ids=(3,))
    empty = tiny_sequence("still", object_ids=())
    changed = (sequence.images[0] != empty.images[0]).any(-1)
    assert np.array_equal(changed, sequence.label_maps[0] == 3)


def test_the_vanishing_object_is_absent_from_the_middle_third():
    sequence = tiny_sequence("vanishing", length=9, object_ids=(2, 7))
    assert [2 in object_ids(m) for m in sequence.label_maps] == [True] * 3 + [False] * 3 + [True] * 3
    assert all(7 in object_ids(m) for m in sequence.label_maps)


def test_later_objects_have_annotations_of_their_own():
    sequence = tiny_sequence("later", length=6, object_ids=(9, 4, 12))
    assert [(a.frame_index, a.object_ids) for a in sequence.annotations] == [(0, (9,)), (2, (4,)), (3, (12,))]
    assert sequence.object_ids == (4, 9, 12)


def test_crossing_objects_hide_one_another():
    areas = [(m == 1).sum() for m in tiny_sequence("crossing", length=9).label_maps]
    assert min(areas) < areas[0] / 2


def test_same_seed_same_pixels_and_frames_are_copies():
    first, second = tiny_sequence(seed=4), tiny_sequence(seed=4)
    assert np.array_equal(first.images, second.images)
    assert not np.array_equal(first.images, tiny_sequence(seed=5).images)
    assert not np.shares_memory(first.frame(0).image, first.frame(0).image)


def test_indices_follow_first_index_and_step():
    sequence = tiny_sequence(length=3, first_index=90, index_step=-2)
    assert [(frame.index, frame.name) for frame in sequence.frames()] == [(90, "00090"), (88, "00088"), (86, "00086")]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r'no kind of tiny sequence is named "fast"\. There are: moving'):
        tiny_sequence("fast")


def test_saved_files_hold_the_same(tmp_path):
    sequence = tiny_sequence(length=3)
    frames, masks = sequence.save(tmp_path / "a")
    assert sorted(path.name for path in frames.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert np.array_equal(read_label_map(masks / "00002.png"), sequence.label_maps[2])


def test_moving_objects_stay_in_long_sequences():
    sequence = tiny_sequence("moving", length=50, object_ids=(1, 2))
    assert all(object_ids(label_map) == (1, 2) for label_map in sequence.label_maps)
    assert not np.array_equal(sequence.label_maps[0], sequence.label_maps[1])
