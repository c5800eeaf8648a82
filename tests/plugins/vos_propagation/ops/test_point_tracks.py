import numpy as np

from vos.plugin import FloatArray
from vos_propagation.config import CrossingConfig
from vos_propagation.ops.point_tracks import PointTracks

CONFIG = CrossingConfig()
SIZE = (20, 40)
EVERYWHERE = np.ones(SIZE, bool)


def moving(x: float, y: float = 0.0) -> FloatArray:
    return np.full((*SIZE, 2), (x, y), np.float32)


def square(velocity: float) -> PointTracks:
    """Put points on 4x4 cells that move to the right."""
    mask = np.zeros(SIZE, bool)
    mask[8:12, 4:8] = True
    return PointTracks.on(mask, moving(-velocity))


def test_points_follow_the_flow() -> None:
    tracks = square(2)
    before = tracks.places.copy()
    for velocity in (2, 2.5, 3):
        tracks.advance(moving(velocity), moving(-velocity), EVERYWHERE, CONFIG)
    np.testing.assert_allclose(tracks.places - before, [[7.5, 0]] * 16)
    assert tracks.share_left == 1
    assert not tracks.unseen.any()


def test_a_point_whose_flow_there_and_back_differs_keeps_its_velocity() -> None:
    tracks = square(2)
    before = tracks.places.copy()
    tracks.advance(moving(3), moving(0), EVERYWHERE, CONFIG)
    np.testing.assert_allclose(tracks.places - before, [[2, 0]] * 16)
    assert (tracks.unseen == 1).all()
    assert len(tracks.cells()[0]) == 0, "not in sight"


def test_a_point_whose_velocity_would_jump_keeps_it_and_is_seen_again_on_the_other_side() -> None:
    tracks = square(2)
    before = tracks.places.copy()
    for velocity in (-2, -2, 2):
        tracks.advance(moving(velocity), moving(-velocity), EVERYWHERE, CONFIG)
    np.testing.assert_allclose(tracks.places - before, [[6, 0]] * 16)
    assert (tracks.unseen == 0).all()


def test_a_point_that_is_not_seen_for_long_ends() -> None:
    tracks = square(0)
    for _ in range(CONFIG.frames_unseen):
        tracks.advance(moving(5), moving(-5), EVERYWHERE, CONFIG)
    assert tracks.share_left == 1
    tracks.advance(moving(5), moving(-5), EVERYWHERE, CONFIG)
    assert tracks.share_left == 0


def test_a_seen_point_ends_outside_the_mask_and_one_that_is_not_seen_does_not() -> None:
    nowhere = np.zeros(SIZE, bool)
    seen, unseen = square(2), square(2)
    seen.advance(moving(2), moving(-2), nowhere, CONFIG)
    unseen.advance(moving(-9), moving(9), nowhere, CONFIG)
    assert (seen.share_left, unseen.share_left) == (0, 1)


def test_points_end_at_the_edge_of_the_frame() -> None:
    tracks = square(2)
    for _ in range(17):
        tracks.advance(moving(2), moving(-2), EVERYWHERE, CONFIG)
    # The columns 4 to 7 have gone to 38 to 41, of 40.
    assert tracks.share_left == 0.5
    assert tracks.cells()[1].max() == 39
