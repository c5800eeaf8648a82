import tempfile

import numpy as np
import pytest

import vos
from vos.host.both_ways.combining import combine_label_maps, combine_predictions
from vos.host.both_ways.spool import BackwardSpool
from vos.testing import StubTracker, tiny_sequence


class Columns(StubTracker):
    """A stub whose objects move one column to the right with each frame, and to the left when tracked backward."""

    def start(self, frame, label_map):
        super().start(frame, label_map)
        self.at = frame.index

    def step(self, frame):
        self._label_map = np.roll(self._label_map, frame.index - self.at, axis=1)
        self.at = frame.index
        return super().step(frame)


def marked(object_id, index, row, size=(48, 64)):
    label_map = np.zeros(size, np.uint8)
    label_map[row, index] = object_id
    return label_map


def columns(results, row):
    return {frame.index: np.flatnonzero(lm[row]).tolist() for frame, lm in results}


def test_an_object_with_a_later_first_mask_is_tracked_to_the_first_frame():
    sequence = tiny_sequence("still", length=9)
    given = {2: marked(1, 2, 0), 6: marked(2, 6, 5)}
    results = list(vos.stream(sequence, given, tracker=Columns(), both_ways=True))
    assert [frame.index for frame, _ in results] == [1, 0, 2, 3, 4, 5, 6, 7, 8]
    assert columns(results, 0) == columns(results, 5) == {i: [i] for i in range(9)}
    forward = list(vos.stream(sequence, given, tracker=Columns()))
    assert columns(forward, 5) == {i: [i] if i >= 6 else [] for i in range(2, 9)}


def test_a_correction_holds_back_to_the_middle_between_it_and_the_annotation_before():
    sequence = tiny_sequence("still", length=9)
    given = {0: marked(1, 0, 0), 8: marked(1, 8, 5)}
    tracker = Columns()
    results = list(vos.stream(sequence, given, tracker=tracker, both_ways=True))
    assert columns(results, 0) == {i: [i] if i <= 4 else [] for i in range(9)}
    assert columns(results, 5) == {i: [i] if i > 4 else [] for i in range(9)}
    backward = tracker.calls[: tracker.calls.index(("start", 0), 1)]
    assert backward == [("start", 0), ("step", 8), ("annotate", 8), ("step", 7), ("step", 6), ("step", 5)]


def test_a_pixel_of_two_objects_goes_to_the_one_whose_annotation_is_nearer():
    forward, backward = np.array([[1, 1, 0, 3]], np.uint8), np.array([[2, 0, 2, 1]], np.uint8)
    near = combine_label_maps(forward, backward, {1: 5, 3: 5}, {2: 4})
    far = combine_label_maps(forward, backward, {1: 5, 3: 5}, {2: 6})
    tie = combine_label_maps(forward, backward, {1: 5, 3: 5}, {2: 5})
    assert near.tolist() == [[2, 1, 2, 3]]
    assert far.tolist() == tie.tolist() == [[1, 1, 2, 3]]


def test_rows_of_both_passes_keep_their_logits_scores_and_presence():
    forward = vos.Prediction([1, 2], np.full((2, 2, 2), 3.0), [0.5, 0.25], [True, False])
    backward = vos.Prediction([2], np.full((1, 2, 2), -3.0), [0.75])
    both = combine_predictions(forward, backward, np.zeros((4, 4), np.uint8), {1: 1}, {2: 1})
    assert both.object_ids == (1, 2)
    assert both.logits[:, 0, 0].tolist() == [3, -3]
    assert both.scores.tolist() == [0.5, 0.75]
    assert both.present.tolist() == [True, True]


def test_the_spool_keeps_the_side_of_every_logit_in_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logits = np.array([[[-30, -0.01], [0.01, 30]], [[1, 2], [3, 4]]], np.float32)
    label_map = np.array([[0, 0], [2, 2]], np.uint8)
    with BackwardSpool() as spool:
        spool.put(8, label_map * 2, vos.Prediction([2, 1], logits, [0.5, 1]), {1})
        spool.put(7, label_map, vos.Prediction([2, 1], logits, [0.5, 1]), {2})
        assert spool.take(6) is None
        stored_map, prediction = spool.take(7)
        assert spool.take(7) is None
        assert np.array_equal(spool.take(8)[0], label_map * 2)
        assert list(tmp_path.iterdir()) == [], "a process that is killed would leave it"
    assert np.array_equal(stored_map, label_map)
    assert prediction.object_ids == (2,)
    assert prediction.scores.tolist() == [0.5]
    assert np.array_equal(prediction.logits[0] > 0, logits[0] > 0)
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_has_ended_and_began_anew_is_tracked_backward_to_its_end_only():
    sequence = tiny_sequence("still", length=9)
    given = {0: marked(1, 0, 0), 8: marked(1, 8, 5)}
    results = list(vos.stream(sequence, given, tracker=Columns(), both_ways=True, ends={1: 3}))
    assert columns(results, 0) == {i: [i] if i < 3 else [] for i in range(9)}
    assert columns(results, 5) == {i: [i] if i >= 3 else [] for i in range(9)}


def test_a_source_that_is_damaged_before_the_last_mask_is_tracked_from_the_one_before():
    class Damaged(vos.testing.TinySequence):
        def frames(self, indices=None):
            for index in indices:
                if index >= 6:
                    raise vos.plugin.TruncatedSourceError("damaged", frames_read=6, frames_declared=9)
                yield self.frame(index)

    tiny = tiny_sequence("still", length=9)
    source = Damaged(tiny.name, tiny.images, tiny.label_maps, tiny.annotations)
    given = {2: marked(1, 2, 0), 4: marked(2, 4, 5), 7: marked(3, 7, 9)}
    results = list(vos.stream(source, given, tracker=Columns(), both_ways=True, allow_truncated=True))
    assert columns(results, 5) == {i: [i] for i in range(6)}
    with pytest.raises(vos.plugin.TruncatedSourceError):
        list(vos.stream(source, given, tracker=Columns(), both_ways=True))
