"""Drawn clips: their labels are where their shapes are seen, and the same seed draws the same clip."""

import random

import numpy as np

from vos_propagation.training.drawn_clips import draw_clip

SIZE = (96, 160)


def test_a_seed_draws_one_clip_of_the_asked_size() -> None:
    for seed in range(8):
        images, label_maps = draw_clip(SIZE, 5, random.Random(seed))
        again, labels_again = draw_clip(SIZE, 5, random.Random(seed))
        assert len(images) == len(label_maps) == 5
        for image, label_map in zip(images, label_maps, strict=True):
            assert (image.dtype, image.shape) == (np.uint8, (*SIZE, 3))
            assert (label_map.dtype, label_map.shape) == (np.uint8, SIZE)
        assert np.array_equal(images, again)
        assert np.array_equal(label_maps, labels_again)


def test_what_changes_lies_on_or_beside_a_shape() -> None:
    """The ground stands still, so a pixel that changes is of a shape, unless a distractor moves there."""
    changes = 0
    for seed in range(24):
        images, label_maps = draw_clip(SIZE, 4, random.Random(seed))
        seen = np.max(label_maps, axis=0) > 0
        grown = np.zeros(SIZE, bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                grown |= np.roll(seen, (dy, dx), (0, 1))
        changed = np.ptp(np.array(images), axis=0).max(2) > 0
        changes += bool(changed.any() and not (changed & ~grown).any())
    assert changes >= 6, "hardly a clip in which its objects alone move"
