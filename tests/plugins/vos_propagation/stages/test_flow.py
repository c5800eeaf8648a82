import numpy as np
import torch

from vos_propagation.stages.flow import SMALLEST_SIDE, backward_flow, motion_between, warp


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """A pattern, and the same 3 px further right."""
    rng = np.random.default_rng(0)
    before = np.repeat(np.repeat(rng.integers(0, 255, (15, 20), dtype=np.uint8), 4, 0), 4, 1)
    return before, np.roll(before, 3, axis=1)


def test_masks_are_carried_along_the_flow() -> None:
    before, now = pictures()
    plane, expected = torch.zeros(1, 60, 80), torch.zeros(1, 60, 80)
    plane[:, 20:40, 20:40] = 1
    expected[:, 20:40, 23:43] = 1
    warped = warp(plane, backward_flow(now, before)) > 0.5
    assert (warped & (expected > 0)).sum() / (warped | (expected > 0)).sum() > 0.9


def test_motion_that_is_known_is_taken_only_for_its_own_frame() -> None:
    before, now = pictures()
    known = motion_between(before, now)
    assert np.array_equal(known.flow, backward_flow(now, before))
    assert motion_between(before, now, known) is known
    other = motion_between(now, now, known)
    assert np.abs(other.flow).max() < 0.1
    assert np.abs(known.flow).max() > 2


def test_images_too_small_to_tell_have_no_motion() -> None:
    small = np.zeros((SMALLEST_SIDE - 1, 40), np.uint8)
    assert not backward_flow(small, small).any()
