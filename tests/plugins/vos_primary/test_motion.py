"""Motion cues of frames that the test draws: a square moves over a textured ground under a moving camera."""

import cv2
import numpy as np

from vos_primary.motion import CUES, OFFSETS, camera_flow, motion_cues

SIZE = (128, 192)
SQUARE = np.s_[40:72, 60:92]


def frames(camera: float, square: float) -> list[np.ndarray]:
    """Draw the frame and those at the offsets; ground and square move by so many pixels a frame."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), (SIZE[1] + 96, SIZE[0] + 96))
    patch = cv2.resize(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8), (32, 32))
    drawn = []
    for time in (0, *OFFSETS):
        image = np.roll(ground, round(camera * time), axis=1)[48 : 48 + SIZE[0], 48 : 48 + SIZE[1]].copy()
        x = 60 + round(square * time)
        image[40:72, x : x + 32] = patch
        drawn.append(image)
    return drawn


def inside_and_outside(cues: np.ndarray, offset: int, cue: int) -> tuple[float, float]:
    plane = cv2.resize(cues[CUES * offset + cue], SIZE[::-1])
    ground = np.ones(SIZE, dtype=bool)
    ground[30:82, 40:130] = False
    return float(plane[44:68, 64:88].mean()), float(np.abs(plane[ground]).mean())


def test_what_moves_against_the_camera_has_motion_and_the_ground_has_none():
    first, *others = frames(camera=1.0, square=3.0)
    cues = motion_cues(first, others)
    assert cues.shape == (len(OFFSETS) * CUES, SIZE[0] // 4, SIZE[1] // 4)
    assert cues.dtype == np.float32
    for offset in (0, 1):
        along, ground = inside_and_outside(cues, offset, 0)
        assert along > 0.5, offset
        assert ground < 0.2, offset
        length, ground = inside_and_outside(cues, offset, 2)
        assert length > 0.5, offset
        assert ground < 0.2, offset


def test_motion_is_told_from_that_of_the_camera():
    still = motion_cues(*(lambda first, *others: (first, others))(*frames(camera=1.0, square=1.0)))
    pixels, _ = inside_and_outside(still, 1, 3)
    first, *others = frames(camera=1.0, square=3.0)
    moving, _ = inside_and_outside(motion_cues(first, others), 1, 3)
    assert moving > 0.7
    assert pixels < 0.2


def test_an_offset_without_a_frame_has_zeros():
    first, near, _, far = frames(camera=0.0, square=2.0)
    cues = motion_cues(first, [near, None, far]).reshape(len(OFFSETS), CUES, SIZE[0] // 4, SIZE[1] // 4)
    assert not cues[1].any()
    assert cues[0].any()
    assert cues[2].any()


def test_the_camera_is_the_motion_of_most_pixels():
    y, x = np.mgrid[0:96, 0:128].astype(np.float32)
    turning = np.dstack([0.02 * (y - 48) + 3, -0.02 * (x - 64)]).astype(np.float32)
    given = turning.copy()
    given[30:60, 30:60] += 9
    assert np.abs(camera_flow(given) - turning).max() < 0.1
