import json

import numpy as np
import pytest

import vos
from vos.cli.track import describe
from vos.host.doubts import CELL, DoubtDetector, joined_spans
from vos.testing import StubTracker, tiny_sequence
from vos.types.run import DoubtfulSpan

SIZE = (160, 240)


def label_map(*boxes):
    """Objects as boxes: id, top, left, height, width, in cells of the detector."""
    drawn = np.zeros(SIZE, np.uint8)
    for object_id, *box in boxes:
        top, left, height, width = (CELL * side for side in box)
        drawn[top : top + height, left : left + width] = object_id
    return drawn


def spans(*label_maps, scores=None, annotated=(0,), order=None):
    detector = DoubtDetector()
    for position, drawn in enumerate(label_maps):
        ids = (1, 2)
        given = None if scores is None or position in annotated else [scores[position], 0.9]
        prediction = vos.Prediction.from_label_map(drawn, ids, given)
        index = position if order is None else order[position]
        detector.add(index, drawn, prediction, ids if index in annotated else ())
    return [(span.object_id, span.first, span.last, span.reasons) for span in detector.spans]


STILL = label_map((1, 5, 5, 8, 8), (2, 20, 30, 8, 8))


def test_an_object_that_is_tracked_well_raises_no_doubt():
    moving = [label_map((1, 5, 5 + i, 8, 8), (2, 20, 30 - i, 8, 8)) for i in range(10)]
    assert spans(*moving, scores=[0.9] * 10) == []


def test_frames_with_falling_scores_are_one_span():
    scores = [0.9] * 3 + [0.75, 0.9, 0.6, 0.65] + [0.9] * 5
    assert spans(*[STILL] * 12, scores=scores) == [(1, 3, 6, ("low score",))]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (label_map((1, 5, 5, 8, 5), (2, 20, 30, 8, 8)), [(1, 3, 3, ("changes size",))]),
        (label_map((2, 20, 30, 8, 8)), [(1, 3, 3, ("vanishes",))]),
        (
            label_map((1, 5, 5, 8, 8), (1, 20, 30, 8, 8)),
            [(1, 3, 3, ("takes another's place",)), (2, 3, 3, ("vanishes",))],
        ),
    ],
)
def test_what_is_seen_of_a_mask_alone_is_doubted_in_its_frame(now, expected):
    assert spans(STILL, STILL, STILL, now) == expected


def test_a_piece_that_is_lost_is_doubted_and_one_that_leaves_the_frame_is_not():
    def with_piece(left):
        return label_map((1, 5, 20, 20, 20), (1, 30, left, 3, 3))

    whole = label_map((1, 5, 20, 20, 20))
    assert spans(with_piece(30), with_piece(30), whole) == [(1, 2, 2, ("loses a part",))]
    assert spans(with_piece(57), with_piece(57), whole) == []


def test_an_object_that_leaves_the_frame_or_is_annotated_raises_no_doubt():
    assert spans(label_map((1, 0, 5, 8, 8)), label_map((1, 0, 5, 8, 8)), label_map()) == []
    assert spans(STILL, STILL, label_map((1, 5, 5, 4, 4), (2, 20, 30, 8, 8)), annotated=(0, 2)) == []


def test_the_jump_between_the_passes_is_not_judged_and_spans_of_both_are_joined():
    small = label_map((1, 5, 5, 4, 4), (2, 20, 30, 8, 8))
    assert spans(STILL, small, STILL, order=[1, 0, 5], annotated=()) == [(1, 0, 0, ("changes size",))]
    one, other = DoubtfulSpan(1, 7, 8, ("low score",)), DoubtfulSpan(1, 3, 4, ("vanishes", "low score"))
    apart = DoubtfulSpan(2, 7, 7, ("vanishes",))
    assert joined_spans([apart, one, other], 1) == (DoubtfulSpan(1, 3, 8, ("vanishes", "low score")), apart)


def test_a_run_names_its_spans_in_the_summary_in_run_json_and_in_lines(tmp_path):
    class Loses(StubTracker):
        def step(self, frame):
            prediction = super().step(frame)
            kept = prediction.label_map * (frame.index < 5)
            return vos.Prediction.from_label_map(kept.astype(np.uint8), prediction.object_ids)

    sequence = tiny_sequence("still", size=(96, 128))
    summary = vos.track(sequence, sequence.label_maps[0], tracker=Loses(), output=tmp_path)
    assert [(span.object_id, span.first, span.last) for span in summary.doubts] == [(1, 5, 5), (2, 5, 5)]
    assert json.loads((tmp_path / sequence.name / "run.json").read_text())["look_at"][0] == {
        "object_id": 1, "first": 5, "last": 5, "reasons": ["vanishes"],
    }  # fmt: skip
    assert describe(summary).splitlines()[1:] == [f"object {i}: look at frames 5 (vanishes)" for i in (1, 2)]
    again = vos.track(sequence, sequence.label_maps[0], tracker=Loses(), output=tmp_path, resume=True)
    assert again.doubts == summary.doubts
