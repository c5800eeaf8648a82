"""A saved state whose parts do not fit together is refused in a line."""

import numpy as np
import pytest

import vos
from vos.plugin import read_state, write_state
from vos.testing import tiny_sequence
from vos_propagation.config import PropagationOptions
from vos_propagation.pipeline import PropagationTracker


def test_a_state_with_an_array_of_another_shape_is_refused(tmp_path):
    sequence = tiny_sequence("moving", length=2)
    frames = list(sequence.frames(range(2)))
    tracker = PropagationTracker(PropagationOptions(side=96), vos.Runtime(device="cpu"))
    first, second = tracker.encode(frames)
    tracker.start(frames[0], sequence.label_maps[0], first)
    tracker.step(frames[1], second)
    tracker.save(tmp_path / "good")
    arrays, facts = read_state(tmp_path / "good")
    assert len(arrays) > 20
    for name, array in arrays.items():
        cut = array[..., 1:] if array.ndim else np.stack([array, array])
        write_state(tmp_path / "bad", arrays | {name: cut}, facts)
        with pytest.raises(vos.InputError, match="cannot be a state of this tracker") as refused:
            tracker.load(tmp_path / "bad")
        assert "\n" not in str(refused.value), name
    tracker.load(tmp_path / "good")
