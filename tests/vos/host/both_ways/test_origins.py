import numpy as np

import vos
from vos.host.both_ways.origins import Origins, backward_passes, earlier_annotations


def annotations(by_index):
    maps = {}
    for index, ids in by_index.items():
        label_map = np.zeros((2, 8), np.uint8)
        label_map[0, : len(ids)] = ids
        maps[index] = vos.Annotation(label_map, index)
    return maps


def test_a_mask_comes_from_the_nearer_annotation_and_from_the_forward_pass_in_a_tie():
    origins = Origins(annotations({2: [1], 6: [2], 10: [1]}), {})
    assert origins.distances(0) == ({}, {1: 2, 2: 6})
    assert origins.distances(6) == ({1: 4, 2: 0}, {})
    assert origins.distances(7) == ({2: 1}, {1: 3})
    assert origins.distances(12) == ({1: 2, 2: 6}, {})


def test_an_end_divides_the_lives_of_an_object_in_both_directions():
    origins = Origins(annotations({0: [1], 10: [1]}), {1: 6})
    assert [origins.distances(i) for i in (5, 6, 9)] == [({1: 5}, {}), ({}, {1: 4}), ({}, {1: 1})]


def test_backward_passes_leave_out_frames_that_no_object_needs():
    given = annotations({0: [1], 10: [1], 12: [1]})
    assert backward_passes(given, Origins(given, {}), range(20)) == [range(10, 5, -1)]
    given = annotations({4: [1], 8: [2]})
    assert backward_passes(given, Origins(given, {}), range(0, 12, 2)) == [range(8, -2, -2)]
    given = annotations({4: [1], 8: [1]})
    assert backward_passes(given, Origins(given, {}), range(2, 12)) == [range(8, 6, -1), range(4, 1, -1)]
    assert backward_passes(annotations({0: [1]}), Origins(annotations({0: [1]}), {}), range(4)) == []


def test_earlier_annotations_hold_the_wanted_objects_alone():
    given = annotations({0: [1, 2], 3: [2], 5: [1], 8: [1]})
    found = earlier_annotations(given, 8, [1, 9])
    assert [(one.frame_index, one.object_ids) for one in found] == [(0, (1,)), (5, (1,))]
