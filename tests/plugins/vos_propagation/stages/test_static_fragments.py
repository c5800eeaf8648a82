import numpy as np
import pytest

from vos_propagation.config import StaticFragmentConfig
from vos_propagation.stages.static_fragments import static_fragments


@pytest.mark.parametrize(
    ("object_moves", "fragment_moves", "score", "dropped"),
    [
        (3.0, 0.0, 0.2, True),
        (0.5, 0.0, 0.2, False),  # nothing moves much
        (3.0, 3.0, 0.2, False),  # it moves with the object
        (3.0, 0.0, 0.8, False),  # it looks like the object
    ],
)
def test_a_small_fragment_that_stays_with_the_ground_is_dropped(
    object_moves: float, fragment_moves: float, score: float, dropped: bool
) -> None:
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 10:30, 5:25], masks[0, 10:20, 40:43] = True, True
    masks[1, 34:38, 30:50] = True
    flow = np.zeros((40, 60, 2), np.float32)
    flow[10:30, 5:25, 0], flow[10:20, 40:43, 0] = object_moves, fragment_moves
    scores = np.full((2, 20, 30), 1.0, np.float32)
    scores[0, 5:10, 20:22] = score
    expected = np.zeros_like(masks)
    expected[0, 10:20, 40:43] = dropped
    assert np.array_equal(static_fragments(masks, scores, flow, StaticFragmentConfig()), expected)


def test_large_and_tiny_fragments_stay() -> None:
    masks = np.zeros((1, 40, 60), bool)
    masks[0, 10:30, 5:15], masks[0, 10:30, 30:36], masks[0, 5, 50:53] = True, True, True
    flow = np.zeros((40, 60, 2), np.float32)
    flow[10:30, 5:15] = 3
    assert not static_fragments(masks, np.zeros((1, 20, 30), np.float32), flow, StaticFragmentConfig()).any()
