"""A saved state that is damaged, or that another tracker wrote, is refused in a line."""

import zipfile

import pytest

import vos
from vos.plugin import read_state, write_state
from vos.testing import tiny_sequence
from vos_propagation.config import PropagationOptions
from vos_propagation.pipeline import PropagationTracker


def test_a_state_with_a_damaged_part_is_refused(tmp_path):
    tracker, good, bad = tracked(), tmp_path / "good", tmp_path / "bad"
    tracker.save(good)
    content = good.read_bytes()
    with zipfile.ZipFile(good) as file:
        entries = file.infolist()
    assert len(entries) > 20
    for entry in entries:
        # An entry begins with a header of less than 80 bytes, and all are longer than 160.
        at = entry.header_offset + 80 + (entry.file_size - 80) // 2
        bad.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(vos.InputError, match="bad: cannot be read as a saved state") as refused:
            tracker.load(bad)
        assert "\n" not in str(refused.value), entry.filename
    tracker.load(good)


@pytest.mark.parametrize("name", ["sequence", "stages", "side"])
def test_a_state_without_one_of_its_facts_is_refused(tmp_path, name):
    tracker = tracked()
    tracker.save(tmp_path / "good")
    arrays, facts = read_state(tmp_path / "good")
    write_state(tmp_path / "bad", arrays, {key: fact for key, fact in facts.items() if key != name})
    with pytest.raises(vos.InputError, match="bad: cannot be a state of this tracker"):
        tracker.load(tmp_path / "bad")


def tracked() -> PropagationTracker:
    sequence = tiny_sequence("moving", length=2)
    frames = list(sequence.frames(range(2)))
    tracker = PropagationTracker(PropagationOptions(side=96), vos.Runtime(device="cpu"))
    first, second = tracker.encode(frames)
    tracker.start(frames[0], sequence.label_maps[0], first)
    tracker.step(frames[1], second)
    return tracker
