"""A deliberately bad tracker of each kind, and the clause that it breaks."""

import threading

import numpy as np
import pytest

from vos import Frame, Prediction, object_ids
from vos.plugin import OptionError
from vos.testing import CLAUSES, ContractError, StubEncodingTracker, StubTracker, check_tracker, tracker_checks


def clause_check(clause, factory, **settings):
    return next(check for check in tracker_checks(factory, **settings) if check.clause == clause)


class EncodesAheadWell(StubEncodingTracker):
    def encode_ahead(self, frames):
        assert threading.current_thread() is not threading.main_thread()
        return self.encode(frames)


@pytest.mark.parametrize("factory", [StubTracker, StubEncodingTracker, EncodesAheadWell])
def test_the_stubs_keep_the_contract(factory):
    checked = check_tracker(factory)
    assert {"ids", "memory", "fresh-start"} <= set(checked)
    assert ("encoding" in checked) == (factory is not StubTracker)


class NoStep:
    def start(self, frame, label_map):
        pass


class StepWithoutFrame(StubTracker):
    def step(self):
        pass


class EncodesButStepTakesNone(StubTracker):
    def encode(self, frames):
        return [None for _ in frames]


class AnswersArray(StubTracker):
    def step(self, frame):
        return super().step(frame).logits


class AnswersNothing(StubTracker):
    def step(self, frame):
        super().step(frame)


class Nan(StubTracker):
    def step(self, frame):
        prediction = super().step(frame)
        return Prediction(prediction.object_ids, np.full_like(prediction.logits, np.nan))


class Infinite(StubTracker):
    def step(self, frame):
        prediction = super().step(frame)
        return Prediction(prediction.object_ids, np.full_like(prediction.logits, -np.inf))


class NegativeScores(StubTracker):
    def step(self, frame):
        prediction = super().step(frame)
        return Prediction(prediction.object_ids, prediction.logits, scores=[-1.5] * len(prediction.object_ids))


class ScoresAsPercent(StubTracker):
    def step(self, frame):
        prediction = super().step(frame)
        return Prediction(prediction.object_ids, prediction.logits, scores=[90.0] * len(prediction.object_ids))


class Renumbers(StubTracker):
    def step(self, frame):
        prediction = super().step(frame)
        return Prediction(range(1, len(prediction.object_ids) + 1), prediction.logits)


class ShufflesRows(StubTracker):
    def step(self, frame):
        prediction = super().step(frame)
        order = np.roll(np.arange(len(prediction.object_ids)), frame.index)
        return Prediction([prediction.object_ids[i] for i in order], prediction.logits[order])


class ForgetsTheVanished(StubTracker):
    """Answers with the objects that it sees, here by colour, as a naive detector does."""

    def start(self, frame, label_map):
        super().start(frame, label_map)
        self.colours = {i: frame.image[label_map == i].mean(0) for i in object_ids(label_map)}

    def step(self, frame):
        super().step(frame)
        found = {i: (abs(frame.image - colour).max(-1) < 40).astype(np.uint8) for i, colour in self.colours.items()}
        seen = [i for i, mask in found.items() if mask.any()]
        return Prediction(seen, np.stack([found[i] for i in seen]).astype(np.float32) - 0.5)


class ReplacesOnAnnotate(StubTracker):
    def annotate(self, frame, label_map):
        self.start(frame, label_map)


class IgnoresNewObjects(StubTracker):
    def annotate(self, frame, label_map):
        pass


class IgnoresCorrections(StubTracker):
    def annotate(self, frame, label_map):
        if set(object_ids(label_map)) - set(self._ids):
            super().annotate(frame, label_map)


class CorrectionAddsARow(StubTracker):
    def annotate(self, frame, label_map):
        super().annotate(frame, label_map)
        self._ids += [i + 100 for i in object_ids(label_map) if i in self._ids and i + 100 not in self._ids]


class ForgetsAll(StubTracker):
    def forget(self, object_id):
        for known in list(self._ids):
            super().forget(known)


class KeepsTheForgotten(StubTracker):
    def forget(self, object_id):
        pass


class FailsWithoutObjects(StubTracker):
    """Takes the largest of its objects, as one with a stack of memories does."""

    def step(self, frame):
        max(self._ids)
        return super().step(frame)


class EndsWithoutObjects(StubTracker):
    """Counts its objects to begin with, and takes none after the last has gone."""

    def annotate(self, frame, label_map):
        assert self._ids, "nothing is tracked any more"
        super().annotate(frame, label_map)


class Noisy(StubTracker):
    generator = np.random.default_rng(0)

    def step(self, frame):
        prediction = super().step(frame)
        return Prediction(prediction.object_ids, self.generator.normal(size=prediction.logits.shape))


class LeaksIds(StubTracker):
    def start(self, frame, label_map):
        earlier = self._ids
        super().start(frame, label_map)
        self._ids += [i for i in earlier if i not in self._ids]


class LeaksState(StubTracker):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def step(self, frame):
        prediction = super().step(frame)
        self.steps += 1
        return Prediction(prediction.object_ids, np.roll(prediction.logits, self.steps, axis=2))


class LeaksWhatWasLeft(StubTracker):
    """Starts afresh after a whole sequence, and goes on with one that was left at its first frame."""

    def start(self, frame, label_map):
        self.left = bool(self.calls) and self.calls[-1][0] == "start"
        super().start(frame, label_map)

    def step(self, frame):
        prediction = super().step(frame)
        return Prediction(prediction.object_ids, np.roll(prediction.logits, 8 * self.left, axis=2))


class ReusesItsScores(StubTracker):
    scores = np.zeros(2, np.float32)

    def step(self, frame):
        self.scores[:] = frame.index / 10
        prediction = super().step(frame)
        return Prediction(prediction.object_ids, prediction.logits, scores=self.scores)


class ReusesItsLabelMap(StubTracker):
    def step(self, frame):
        super().step(frame)
        self._label_map[:] = np.roll(self._label_map, 1, axis=1)
        return Prediction.from_label_map(self._label_map, self._ids)


class ReusesItsBuffer(StubTracker):
    def start(self, frame, label_map):
        super().start(frame, label_map)
        self.buffer = np.zeros((len(self._ids), *frame.size), np.float32)

    def step(self, frame):
        logits = super().step(frame).logits
        if logits.shape != self.buffer.shape:
            self.buffer = np.zeros_like(logits)
        self.buffer[:] = np.roll(logits, frame.index, axis=2)
        return Prediction(self._ids, self.buffer)


class WritesIntoTheImage(StubTracker):
    def step(self, frame):
        frame.image[:] = 0
        return super().step(frame)


class WritesThroughTheBase(StubTracker):
    def step(self, frame):
        image = frame.image.view() if frame.image.base is None else frame.image.base
        image[0, 0] += 1
        return super().step(frame)


class WritesIntoTheLabelMap(StubTracker):
    def start(self, frame, label_map):
        label_map.flags.writeable = True
        super().start(frame, label_map)
        label_map[:] = 0


class KeepsFrames(StubTracker):
    def __init__(self):
        super().__init__()
        self.frames = []

    def step(self, frame):
        self.frames.append(frame)
        return super().step(frame)


class KeepsTensors(StubTracker):
    def __init__(self):
        import torch  # here, before memory is traced, which makes an import ten times as slow

        super().__init__()
        self.features = []
        self.feature = torch.zeros(16, 32, 32)

    def step(self, frame):
        self.features.append(self.feature.clone())
        return super().step(frame)


class EncodesTooFew(StubEncodingTracker):
    def encode(self, frames):
        return super().encode(frames)[:1]


class EncodingDependsOnTheBatch(StubEncodingTracker):
    def encode(self, frames):
        return [len(frames) for _ in frames]

    def _check(self, frame, encoding):
        self.shift = encoding

    def step(self, frame, encoding):
        prediction = super().step(frame, encoding)
        return Prediction(prediction.object_ids, np.roll(prediction.logits, 8 * encoding, axis=2))


class EncodesAheadWithoutEncode(StubTracker):
    def encode_ahead(self, frames):
        return frames


class EncodesAheadOtherwise(EncodingDependsOnTheBatch):
    def encode(self, frames):
        return [0 for _ in frames]

    def encode_ahead(self, frames):
        return [1 for _ in frames]


class EncodesAheadTooFew(StubEncodingTracker):
    def encode_ahead(self, frames):
        return []


class CountsFromZero(StubTracker):
    masks = np.zeros((50, 1))

    def step(self, frame):
        self.masks[frame.index]
        return super().step(frame)


class OnlyForward(StubTracker):
    def step(self, frame):
        if self.calls[-1][1] > frame.index:
            raise ValueError("frames must rise")
        return super().step(frame)


class EvenSizesOnly(StubTracker):
    def step(self, frame):
        logits = super().step(frame).logits
        half = logits.reshape(len(logits), frame.size[0] // 2, 2, frame.size[1] // 2, 2).mean((2, 4))
        return Prediction(self._ids, half)


class WideFramesOnly(StubTracker):
    def start(self, frame, label_map):
        assert frame.size[1] >= frame.size[0], "higher than wide"
        super().start(frame, label_map)


class EightPixelsAtLeast(StubTracker):
    def start(self, frame, label_map):
        assert min(frame.size) >= 8, "less than a patch"
        super().start(frame, label_map)


class DropsSmallObjects(StubTracker):
    def start(self, frame, label_map):
        super().start(frame, label_map)
        self._ids = [i for i in self._ids if (label_map == i).sum() > 4]
        self._label_map = np.where(np.isin(label_map, self._ids), label_map, 0).astype(np.uint8)


class FailsOnFullFrames(StubTracker):
    def start(self, frame, label_map):
        if (label_map > 0).all():
            raise ZeroDivisionError("no background pixel")
        super().start(frame, label_map)


class EmptyBeforeStart(StubTracker):
    def step(self, frame):
        return super().step(frame) if self._label_map is not None else Prediction((), np.zeros((0, 1, 1)))


class BrokenByAnError(StubTracker):
    broken = False

    def start(self, frame, label_map):
        if self.broken:
            raise RuntimeError("was broken before")
        super().start(frame, label_map)

    def step(self, frame):
        self.broken = self.broken or self._label_map is None
        return super().step(frame)


class BatchesOfWords(StubEncodingTracker):
    def __init__(self):
        super().__init__(encode_batch="many")


class TracksNothing(StubTracker):
    def step(self, frame):
        prediction = super().step(frame)
        return Prediction(prediction.object_ids, -np.ones_like(prediction.logits))


class FailsInClose(StubTracker):
    def close(self):
        raise OSError("cannot close")


class LoadsNothing(StubTracker):
    def load(self, path):
        super().load(path)
        self._label_map = np.zeros_like(self._label_map)


class GrowingState(StubTracker):
    def save(self, path):
        path.write_bytes(bytes(10_000 * len(self.calls) ** 3))


BAD_TRACKERS = [
    ("methods", NoStep, "NoStep has no method step"),
    ("methods", StepWithoutFrame, r"StepWithoutFrame.step\(\) cannot take 1 argument "),
    ("methods", EncodesButStepTakesNone, r"cannot take 3 arguments"),
    ("prediction", AnswersArray, "frame 00001 returned a ndarray, expected a vos.Prediction"),
    ("prediction", AnswersNothing, "returned a NoneType"),
    ("prediction", Nan, "logits that are NaN or infinite"),
    ("prediction", Infinite, "logits that are NaN or infinite"),
    ("prediction", NegativeScores, r"scores \[-1.5, -1.5\], expected values from 0 to 1"),
    ("prediction", ScoresAsPercent, r"scores \[90.0, 90.0\], expected values from 0 to 1"),
    ("prediction", FailsInClose, "close on the tracker raised OSError: cannot close"),
    ("ids", Renumbers, "gave rows for 1, 2, 3, expected 3, 200, 254"),
    ("ids", ShufflesRows, "changed the rows from"),
    ("vanishing", ForgetsTheVanished, "gave rows for 7, expected 2, 7"),
    ("later-objects", ReplacesOnAnnotate, "gave rows for 4, expected 4, 9"),
    ("later-objects", IgnoresNewObjects, "gave rows for 9, expected 4, 9"),
    ("corrections", IgnoresCorrections, "changed nothing in later frames"),
    ("corrections", CorrectionAddsARow, "gave rows for 1, 2, 101, expected 1, 2"),
    ("forgetting", ForgetsAll, "gave rows for no object, expected 5, 8"),
    ("forgetting", KeepsTheForgotten, "gave rows for 5, 6, 8, expected 5, 8"),
    ("forgetting", FailsWithoutObjects, "step on frame 00006 raised ValueError: max"),
    ("forgetting", EndsWithoutObjects, "annotate on frame 00006 raised AssertionError: nothing is tracked any more"),
    ("repeatable", Noisy, "two new trackers gave different masks"),
    ("fresh-start", LeaksIds, "gave rows for 1, 2, 4, 30, expected 1, 4"),
    ("fresh-start", LeaksState, "after another sequence the masks are different"),
    ("fresh-start", LeaksWhatWasLeft, "after a sequence left in the middle they are different"),
    ("kept-predictions", ReusesItsScores, "the prediction of frame 00001 changed afterwards"),
    ("kept-predictions", ReusesItsLabelMap, "the prediction of frame 00001 changed afterwards"),
    ("kept-predictions", ReusesItsBuffer, "the prediction of frame 00001 changed afterwards"),
    ("read-only", WritesIntoTheImage, "step on frame 00001 raised ValueError"),
    ("read-only", WritesThroughTheBase, "step on frame 00001 changed the frame's image"),
    ("read-only", WritesIntoTheLabelMap, "start on frame 00000 changed the label map"),
    # A frame has 20.25 KiB; whatever else the process allocates in the meantime is counted too.
    ("memory", KeepsFrames, r"memory grows by 2[01]\.\d KiB a frame"),
    ("memory", KeepsTensors, r"memory grows by 6\d\.\d KiB a frame"),
    ("encoding", EncodesTooFew, "encode gave 1 items for 3 frames"),
    ("encoding", EncodingDependsOnTheBatch, "encoded three at a time"),
    ("methods", EncodesAheadWithoutEncode, "has encode_ahead, which needs encode beside it"),
    ("encoding", EncodesAheadOtherwise, "encoded by encode_ahead, .* is different"),
    ("encoding", EncodesAheadTooFew, "encode_ahead gave 0 items for 1 frames"),
    ("frame-index", CountsFromZero, "IndexError"),
    ("frame-index", OnlyForward, "frames must rise"),
    ("sizes", EvenSizesOnly, "cannot reshape"),
    ("sizes", WideFramesOnly, "AssertionError: higher than wide"),
    ("sizes", EightPixelsAtLeast, "AssertionError: less than a patch"),
    ("small-objects", DropsSmallObjects, "gave rows for 1, 2, expected 1, 2, 7, 9"),
    ("small-objects", FailsOnFullFrames, "ZeroDivisionError: no background pixel"),
    ("errors", EmptyBeforeStart, "step before start returned a Prediction, expected an error"),
    ("errors", BrokenByAnError, "was broken before"),
    ("saving", LoadsNothing, "after load, the mask of frame 00006 is another"),
    ("saving", GrowingState, "bytes after 6 frames and"),
    ("stream", BatchesOfWords, "the frame loop stopped: .*encode_batch is 'many', expected a number of frames"),
    ("accuracy", TracksNothing, r"mean overlap \(IoU\) of 0.00, expected 0.30"),
]


@pytest.mark.parametrize(("clause", "factory", "message"), BAD_TRACKERS, ids=lambda v: getattr(v, "__name__", None))
def test_a_bad_tracker_is_told_which_clause_it_breaks(clause, factory, message):
    with pytest.raises(ContractError, match=message) as caught:
        clause_check(clause, factory, min_iou=0.3)()
    assert caught.value.clause == clause
    assert f'Clause "{clause}": {CLAUSES[clause]}\nAll clauses: vos plugin contract' in str(caught.value)


def test_every_check_has_a_bad_tracker():
    proven = {clause for clause, _, _ in BAD_TRACKERS}
    assert proven == {check.clause for check in tracker_checks(StubTracker, min_iou=0.3)}


def test_options_that_do_not_fit_are_said_before_any_check_runs():
    with pytest.raises(OptionError, match='tracker "propagation" has no option "reech"'):
        tracker_checks("propagation", options={"reech": 3})


def test_check_tracker_stops_at_the_first_broken_clause():
    with pytest.raises(ContractError) as caught:
        check_tracker(Renumbers)
    assert caught.value.clause == "ids"


def test_a_tracker_is_closed_after_every_check_and_after_a_failure():
    made = []

    class Remembered(StubTracker):
        def __init__(self):
            super().__init__(fail_at=2)
            made.append(self)

    with pytest.raises(ContractError, match="the stub is set to fail here"):
        clause_check("prediction", Remembered)()
    assert [tracker.calls[-1] for tracker in made] == [("close", None)]


def test_a_capability_that_is_not_there_is_left_out():
    class Plain:
        def __init__(self):
            self.stub = StubTracker()
            self.start, self.step = self.stub.start, self.stub.step

    assert clause_check("forgetting", Plain)() == "the tracker has no method forget"
    assert not {"later-objects", "corrections", "forgetting", "encoding"} & set(check_tracker(Plain))


def test_stub_fails_at_the_frame_that_is_set():
    stub = StubTracker(fail_at=1)
    image = np.zeros((4, 4, 3), np.uint8)
    stub.start(Frame(0, image, "00000"), np.ones((4, 4), np.uint8))
    with pytest.raises(RuntimeError, match="set to fail"):
        stub.step(Frame(1, image, "00001"))
    assert stub.calls == [("start", 0), ("step", 1)]
