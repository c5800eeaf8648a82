import numpy as np
import pytest

import vos
from vos_propagation.backbone.working_resolution import LEAST_SIDE, MOST_SIDE, side_for_objects


def squares(*sides: int, zoom: int = 1) -> vos.LabelMap:
    label_map = np.zeros((480, 960), np.uint8)
    left = 0
    for object_id, side in enumerate(sides, start=3):
        label_map[:side, left : left + side] = object_id
        left += side
    return label_map.repeat(zoom, 0).repeat(zoom, 1)


@pytest.mark.parametrize(
    ("preset", "sides", "expected"),
    [
        (480, [100], 480),
        (480, [260], 480),
        (480, [54], 640),  # by the root of what it lacks
        (480, [54, 400, 200], 640),  # the smallest decides
        (480, [1], 720),  # at most half as large again
        (640, [1], MOST_SIDE),
        (1000, [1], 1000),  # who asks for more gets it
        (600, [330], 480),
        (600, [330, 180], 567),  # two objects in 1.1 of the time that one takes
        (544, [200, 200, 200], 493),
        (544, [90, 200, 200], 512),  # no smaller than the smallest allows
        (544, [85, 200, 200], 543),
        (544, [150] * 6, 454),
        (544, [100] * 9, 461),
        (544, [470], LEAST_SIDE),
        (400, [470], 400),
        (480, [], 480),
    ],
)
def test_frames_are_worked_on_so_large_that_the_smallest_object_has_enough_cells(
    preset: int, sides: list[int], expected: int
) -> None:
    assert side_for_objects(preset, squares(*sides)) == expected
    assert side_for_objects(preset, squares(*sides, zoom=2)) == expected
