import dataclasses
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vos
from vos.errors import PluginFailedError
from vos.host.loop.resizing import shrink_label_map
from vos.host.threads import map_ahead
from vos.plugin import (
    AnnotationError,
    MadeTracker,
    OptionError,
    SourceInfo,
    TruncatedSourceError,
    hookimpl,
    load_plugins,
    make_tracker,
)
from vos.registry.offers import Origin
from vos.testing import StubEncodingTracker, StubTracker, tiny_sequence


class Oracle:
    """A tracker that knows the truth of a tiny sequence, in rows of logits of a smaller size."""

    def __init__(self, sequence):
        self.sequence = sequence

    def start(self, frame, label_map):
        self.ids = list(vos.object_ids(label_map))

    def step(self, frame):
        truth = self.sequence.label_maps[frame.index]
        logits = np.where(truth[None] == np.array(self.ids)[:, None, None], 1.0, -1.0).astype(np.float32)
        return vos.Prediction(self.ids, logits)

    def annotate(self, frame, label_map):
        self.ids += [i for i in vos.object_ids(label_map) if i not in self.ids]


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("vos-")]


def test_frames_come_in_order_with_their_label_maps():
    sequence = tiny_sequence("moving")
    results = list(vos.stream(sequence, sequence.label_maps[0], tracker=Oracle(sequence)))
    assert [frame.index for frame, _ in results] == list(range(8))
    for (_, label_map), truth in zip(results, sequence.label_maps, strict=True):
        assert np.array_equal(label_map, truth)
        assert not label_map.flags.writeable


def test_stream_is_lazy_and_leaving_it_early_closes_everything():
    sequence = tiny_sequence("moving", length=100)
    tracker = StubTracker()
    stream = vos.stream(sequence, sequence.label_maps[0], tracker=tracker)
    assert tracker.calls == []
    next(stream), next(stream)
    assert tracker.calls == [("start", 0), ("step", 1)]
    stream.close()
    assert threads() == []


def test_objects_that_appear_later_and_their_ids():
    sequence = tiny_sequence("later", object_ids=(9, 4, 200), length=8)
    results = [lm for _, lm in vos.stream(sequence, sequence.annotations, tracker=Oracle(sequence))]
    for label_map, truth in zip(results, sequence.label_maps, strict=True):
        assert np.array_equal(label_map, truth)


def test_vanished_object_keeps_its_id_and_shifts_no_other():
    sequence = tiny_sequence("vanishing", object_ids=(3, 1, 2), length=12)
    assert any(3 not in vos.object_ids(truth) for truth in sequence.label_maps)
    results = [lm for _, lm in vos.stream(sequence, sequence.label_maps[0], tracker=Oracle(sequence))]
    for label_map, truth in zip(results, sequence.label_maps, strict=True):
        assert np.array_equal(label_map, truth)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 254), min_size=3, max_size=3, unique=True))
def test_renaming_ids_renames_the_result(ids):
    one = tiny_sequence("crossing", object_ids=(1, 2, 3))
    other = tiny_sequence("crossing", object_ids=tuple(ids))
    table = np.zeros(256, np.uint8)
    table[[1, 2, 3]] = ids
    first = [lm for _, lm in vos.stream(one, one.label_maps[0], tracker=Oracle(one))]
    second = [lm for _, lm in vos.stream(other, other.label_maps[0], tracker=Oracle(other))]
    assert all(np.array_equal(table[a], b) for a, b in zip(first, second, strict=True))


def test_later_annotation_corrects_its_objects_and_leaves_the_others():
    sequence = tiny_sequence("still", object_ids=(1, 2))
    corrected = np.zeros_like(sequence.label_maps[0])
    corrected[:4, :4] = 2
    tracker = StubTracker()
    annotations = {0: sequence.label_maps[0], 3: corrected}
    results = [lm for _, lm in vos.stream(sequence, annotations, tracker=tracker)]
    kept = np.where(sequence.label_maps[0] == 1, 1, 0)
    for index, label_map in enumerate(results):
        expected = sequence.label_maps[0] if index < 3 else np.maximum(kept, corrected)
        assert np.array_equal(label_map, expected)
    assert tracker.calls[3:5] == [("step", 3), ("annotate", 3)]


def test_void_never_reaches_tracker_or_output():
    sequence = tiny_sequence("still")
    annotation = sequence.label_maps[0].copy()
    annotation[0] = 255
    results = [lm for _, lm in vos.stream(sequence, annotation, tracker=StubTracker())]
    assert all(255 not in label_map for label_map in results)


def test_both_ways_runs_backward_first_then_forward():
    sequence = tiny_sequence("moving", length=9)
    tracker = Oracle(sequence)
    annotation = vos.Annotation(sequence.label_maps[4], 4)
    results = list(vos.stream(sequence, annotation, tracker=tracker, both_ways=True))
    assert [frame.index for frame, _ in results] == [3, 2, 1, 0, 4, 5, 6, 7, 8]
    assert all(np.array_equal(lm, sequence.label_maps[frame.index]) for frame, lm in results)


def test_backward_of_a_reversed_sequence_is_forward():
    sequence = tiny_sequence("moving", length=7)
    turned = vos.testing.TinySequence("turned", sequence.images[::-1], sequence.label_maps[::-1], ())
    forward = list(vos.stream(sequence, sequence.label_maps[0], tracker="propagation"))
    backward = list(vos.stream(turned, vos.Annotation(turned.label_maps[6], 6), tracker="propagation", both_ways=True))
    by_index = {6 - frame.index: label_map for frame, label_map in backward}
    assert all(np.array_equal(label_map, by_index[frame.index]) for frame, label_map in forward)


def test_frames_before_the_first_annotation_are_left_out():
    sequence = tiny_sequence("still")
    results = list(vos.stream(sequence, {5: sequence.label_maps[5]}, tracker=StubTracker()))
    assert [frame.index for frame, _ in results] == [5, 6, 7]


class WithGaps(vos.testing.TinySequence):
    """Leaves out frames 1, 2 and 6 of 8."""

    @property
    def info(self):
        return dataclasses.replace(super().info, left_out=frozenset({1, 2, 6}))

    def frames(self, indices=None):
        return (frame for frame in super().frames(indices) if frame.index not in self.info.left_out)


def test_frames_that_the_source_leaves_out_get_no_masks():
    whole = tiny_sequence("moving")
    sequence = WithGaps(whole.name, whole.images, whole.label_maps, whole.annotations)
    forward = list(vos.stream(sequence, sequence.label_maps[0], tracker=Oracle(sequence)))
    assert [frame.index for frame, _ in forward] == [0, 3, 4, 5, 7]
    both = list(vos.stream(sequence, {4: sequence.label_maps[4]}, tracker=Oracle(sequence), both_ways=True))
    assert [frame.index for frame, _ in both] == [3, 0, 4, 5, 7]
    for frame, label_map in [*forward, *both]:
        assert np.array_equal(label_map, sequence.label_maps[frame.index])
    told = []
    observer = type("Observer", (), {"vos_run_started": hookimpl(lambda self, run: told.append(run.frame_count))})()
    summary = vos.track(sequence, sequence.label_maps[0], tracker=Oracle(sequence), observers=[observer])
    assert (summary.frames, told) == (5, [5])


def test_start_stop_and_step_choose_frames_and_keep_their_indices():
    sequence = tiny_sequence("still", length=20)
    results = list(vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(), start=4, stop=15, step=5))
    assert [frame.index for frame, _ in results] == [4, 9, 14]
    with pytest.raises(OptionError, match="no frame from --start 20 on; the source has 20 frames"):
        vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(), start=20)
    with pytest.raises(AnnotationError, match="annotation of frame 5: .* are tracked"):
        vos.stream(sequence, {5: sequence.label_maps[0]}, tracker=StubTracker(), start=4, step=5)


def test_max_side_shrinks_what_the_tracker_sees_and_not_the_output():
    sequence = tiny_sequence("still", size=(60, 90))
    seen = []

    class Tracker(StubTracker):
        def start(self, frame, label_map):
            seen.append((frame.size, label_map.shape, vos.object_ids(label_map)))
            super().start(frame, label_map)

    results = [lm for _, lm in vos.stream(sequence, sequence.label_maps[0], tracker=Tracker(), max_side=30)]
    assert seen == [((20, 30), (20, 30), (1, 2))]
    assert {lm.shape for lm in results} == {(60, 90)}
    assert (results[-1] == sequence.label_maps[0]).mean() > 0.95


def test_max_side_loses_no_object_beside_another_one():
    label_map = np.zeros((200, 300), np.uint8)
    label_map[40:42, 60:62], label_map[40:42, 63:65], label_map[40, 66] = 1, 2, 3
    shrunk = shrink_label_map(label_map, (10, 15))
    assert vos.object_ids(shrunk) == (1, 2, 3)
    assert shrunk[2, 3] == 1
    rows, columns = np.nonzero(shrunk)
    assert max(np.abs(rows - 2).max(), np.abs(columns - 3).max()) == 1
    assert len(vos.object_ids(shrink_label_map(label_map, (1, 2)))) == 2


def test_a_tracker_that_max_side_makes_no_faster_says_so(caplog):
    sequence = tiny_sequence("still", size=(60, 90))
    made = MadeTracker("mine", {}, StubTracker(), own_size="it resizes frames itself; -O side= does")
    for max_side in (None, 30):
        list(vos.stream(sequence, sequence.label_maps[0], tracker=made, max_side=max_side))
    assert [record.getMessage() for record in caplog.records] == [
        "--max-side 30 makes mine no faster: it resizes frames itself; -O side= does."
    ]
    trackers = load_plugins().trackers
    assert all(trackers.get(name).own_size for name in ("propagation", "persam", "sam2", "cutie"))


def test_tiny_object_survives_max_side():
    sequence = tiny_sequence("still", size=(60, 90))
    dot = np.zeros((60, 90), np.uint8)
    dot[30:, :] = 1
    dot[10, 10] = 2
    results = [lm for _, lm in vos.stream(sequence, dot, tracker=StubTracker(), max_side=15)]
    assert vos.object_ids(results[-1]) == (1, 2)


def test_encodings_come_in_batches_and_to_their_frames():
    sequence = tiny_sequence("still", length=8)
    tracker = StubEncodingTracker(encode_batch=3)
    assert len(list(vos.stream(sequence, sequence.label_maps[0], tracker=tracker))) == 8
    assert tracker.batches == [3, 3, 2]


class EncodesAhead(StubEncodingTracker):
    """Notes who encodes; waits in ``step`` until the next frame is encoded, which only another thread can do."""

    def __init__(self, frames=0, fail_at=None):
        super().__init__(encode_batch=1)
        self.frames, self.fail_at, self.by = frames, fail_at, []
        self.encoded = [threading.Event() for _ in range(frames)]

    def encode(self, frames):
        self.by.append("encode")
        return super().encode(frames)

    def encode_ahead(self, frames):
        self.by.append(threading.current_thread().name.rpartition("_")[0])
        if frames[0].index == self.fail_at:
            raise RuntimeError("cannot encode this")
        self.encoded[frames[0].index].set()
        return super().encode(frames)

    def step(self, frame, encoding):
        if frame.index + 1 < self.frames:
            assert self.encoded[frame.index + 1].wait(10)
        return super().step(frame, encoding)


def test_next_frames_are_encoded_in_other_threads_while_this_one_is_tracked():
    sequence = tiny_sequence("still", length=8)
    tracker = EncodesAhead(8)
    results = list(vos.stream(sequence, sequence.label_maps[0], tracker=tracker))
    assert [frame.index for frame, _ in results] == list(range(8))
    assert tracker.calls[0] == ("start", 0)
    assert set(tracker.by) == {"vos-map-ahead"}
    assert threads() == []


def test_no_more_than_two_frames_are_encoded_ahead_and_leaving_early_ends_the_threads():
    sequence = tiny_sequence("still", length=100)
    tracker = EncodesAhead(100)
    stream = vos.stream(sequence, sequence.label_maps[0], tracker=tracker)
    next(stream), next(stream)
    assert tracker.encoded[3].wait(10)
    time.sleep(0.1)
    assert len(tracker.by) == 4
    stream.close()
    assert threads() == []


def test_failure_to_encode_ahead_comes_after_the_frames_before_it_and_names_its_own():
    sequence = tiny_sequence("still")
    tracker = EncodesAhead(fail_at=5)
    tracker.encoded = [threading.Event() for _ in range(8)]
    got = []
    with pytest.raises(vos.TrackerError, match=r"failed on frame 00005 \(index 5\): RuntimeError: cannot encode this"):
        got.extend(frame.index for frame, _ in vos.stream(sequence, sequence.label_maps[0], tracker=tracker))
    assert got == [0, 1, 2, 3, 4]
    assert threads() == []


def test_failure_of_a_step_ends_the_threads_that_encode():
    sequence = tiny_sequence("still", length=50)

    class Fails(EncodesAhead):
        def step(self, frame, encoding):
            raise RuntimeError("cannot track this")

    with pytest.raises(vos.TrackerError, match="00001"):
        list(vos.stream(sequence, sequence.label_maps[0], tracker=Fails(50)))
    assert threads() == []


def test_source_that_ends_early_ends_the_threads_that_encode():
    sequence = broken()
    tracker = EncodesAhead()
    tracker.encoded = [threading.Event() for _ in range(8)]
    got = []
    with pytest.raises(TruncatedSourceError, match="frame 5 of 8"):
        got.extend(f.index for f, _ in vos.stream(sequence, sequence.label_maps[0], tracker=tracker))
    assert got == [0, 1, 2, 3, 4]
    assert threads() == []


def test_mapped_ahead_in_order_and_errors_come_where_they_belong():
    def items():
        yield from [0.3, 0.0, 0.2, 0.0]
        raise OSError("no more")

    def slow(seconds):
        time.sleep(seconds)
        return seconds

    got = []
    with pytest.raises(OSError, match="no more"):
        got.extend(map_ahead(slow, items(), 2))
    assert got == [0.3, 0.0, 0.2, 0.0]
    with pytest.raises(ZeroDivisionError):
        got.extend(map_ahead(lambda x: 1 // x, [2, 1, 0, 3], 2))
    assert got[4:] == [0, 1]
    assert list(map_ahead(slow, [], 2)) == []
    assert threads() == []


def test_a_call_ahead_that_hangs_does_not_hold_up_the_end(monkeypatch, caplog):
    monkeypatch.setattr("vos.host.threads._PATIENCE_SECONDS", 0.05)
    hanging = threading.Event()
    answers = map_ahead(lambda x: x or hanging.wait(30), [1, 0, 0], 2)
    assert next(answers) == 1
    answers.close()
    assert "still running" in caplog.text
    hanging.set()


class Live(vos.testing.TinySequence):
    @property
    def info(self):
        return SourceInfo("camera 0", "camera-0", "live", seekable=False)

    def frames(self, indices=None):
        for frame in super().frames():
            if frame.index in indices:
                yield frame


@pytest.mark.parametrize("make", [lambda: StubEncodingTracker(encode_batch=3), EncodesAhead])
def test_live_stream_is_encoded_frame_by_frame_between_steps(make):
    sequence = tiny_sequence("still", length=4)
    live = Live(sequence.name, sequence.images, sequence.label_maps, sequence.annotations)
    tracker = make()
    assert len(list(vos.stream(live, sequence.label_maps[0], tracker=tracker))) == 4
    assert tracker.batches == [1, 1, 1, 1]
    assert getattr(tracker, "by", ["encode"] * 4) == ["encode"] * 4
    with pytest.raises(vos.SourceError, match="a live stream cannot go backward"):
        vos.stream(live, {2: sequence.label_maps[0]}, tracker=tracker, both_ways=True)


@pytest.mark.parametrize("make", [StubTracker, StubEncodingTracker])
def test_failing_tracker_is_named_with_its_frame(make):
    sequence = tiny_sequence("still")
    with pytest.raises(vos.TrackerError, match=r"failed on frame 00005 \(index 5\): RuntimeError: the stub is set"):
        list(vos.stream(sequence, sequence.label_maps[0], tracker=make(fail_at=5)))
    assert threads() == []


def bad_step(answer):
    class Tracker(StubTracker):
        def step(self, frame):
            return answer(frame)

    return Tracker()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda f: None, "step returned NoneType, expected a vos.Prediction"),
        (lambda f: vos.Prediction((7,), np.ones((1, 2, 2), np.float32)), r"object ids \[7\] that no annotation gave"),
        (lambda f: vos.Prediction((1,), np.full((1, 2, 2), np.nan, np.float32)), "logits hold NaN"),
        (lambda f: vos.Prediction((1,), np.ones((1, 64, 48), np.float32)), r"\(64, 48\) for a frame of \(48, 64\)"),
        (lambda f: vos.Prediction.from_label_map(np.ones((64, 48), np.uint8)), "rows and columns are swapped"),
        (lambda f: vos.Prediction.from_label_map(np.ones((1, 1), np.uint8), scores=[np.nan]), r"scores are \[nan\]"),
        (lambda f: vos.Prediction.from_label_map(np.ones((1, 1), np.uint8), scores=[1.5]), "expected values from 0"),
    ],
)
def test_tracker_that_breaks_its_contract_is_told(answer, message):
    sequence = tiny_sequence("still")
    with pytest.raises(vos.TrackerError, match=message):
        list(vos.stream(sequence, sequence.label_maps[0], tracker=bad_step(answer)))


def test_infinite_logits_are_fine_at_any_size():
    sequence = tiny_sequence("still", length=3)
    logits = np.full((1, 4, 8), -np.inf, np.float32)
    logits[..., :4] = np.inf
    tracker = bad_step(lambda f: vos.Prediction((1,), logits))
    *_, (_, label_map) = vos.stream(sequence, sequence.label_maps[0], tracker=tracker)
    assert (label_map[:, :32] == 1).all()
    assert not label_map[:, 32:].any()


def test_later_annotations_need_a_tracker_that_takes_them():
    sequence = tiny_sequence("later")

    class Simple:
        def start(self, frame, label_map): ...
        def step(self, frame): ...

    with pytest.raises(vos.InputError, match="takes no annotation after the first one"):
        vos.stream(sequence, sequence.annotations, tracker=Simple())


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (None, "no annotation given, and none lies beside the frames"),
        ([], "an empty list"),
        ([np.ones((48, 64), np.uint8)], "annotations hold a ndarray, expected vos.Annotation"),
        (np.ones((4, 4), np.uint8), "annotation of frame 0 is 4x4, the frames are 64x48"),
        (np.zeros((48, 64), np.uint8), "no object in it"),
        ({}, "an empty dict"),
        ((), "an empty list"),
        (5, "annotation is a int, expected a label map"),
        ({"first": "first.png"}, "first.png: no such mask file"),
        ({0.5: np.ones((48, 64), np.uint8)}, "have a key 0.5, expected a frame index"),
        ({0: None}, "annotation of frame 0 is a NoneType, expected a label map"),
        ({1: vos.Annotation(np.ones((48, 64), np.uint8), 2)}, "frame 1 is given the annotation of frame 2"),
        ({9: np.ones((48, 64), np.uint8)}, "annotation of frame 9: .*has frames 0 to 7"),
        ("nothing.png", "no such mask file"),
    ],
)
def test_bad_annotations_are_refused_at_the_call(annotations, message):
    with pytest.raises(AnnotationError, match=message):
        vos.stream(tiny_sequence("still"), annotations, tracker=StubTracker())


def test_two_annotations_of_one_frame_are_refused():
    one = vos.Annotation(np.ones((48, 64), np.uint8), 2)
    with pytest.raises(AnnotationError, match="frame 2 has two annotations"):
        vos.stream(tiny_sequence("still"), [one, one], tracker=StubTracker())


class Breaking(vos.testing.TinySequence):
    """Declares 8 frames and has 5."""

    def frames(self, indices=None):
        for frame in super().frames(indices):
            if frame.index == 5:
                raise TruncatedSourceError("frame 5 of 8 cannot be read", frames_read=5, frames_declared=8)
            yield frame


def broken():
    sequence = tiny_sequence("still")
    return Breaking(sequence.name, sequence.images, sequence.label_maps, sequence.annotations)


def test_source_that_ends_early_is_an_error_unless_allowed(caplog):
    sequence = broken()
    got = []
    with pytest.raises(TruncatedSourceError, match="frame 5 of 8"):
        got.extend(f.index for f, _ in vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker()))
    assert got == [0, 1, 2, 3, 4]
    allowed = list(vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(), allow_truncated=True))
    assert [f.index for f, _ in allowed] == [0, 1, 2, 3, 4]
    assert "ends at frame 4 of 8" in caplog.text


def test_frames_of_another_size_are_an_error():
    one, other = tiny_sequence("still"), tiny_sequence("still", size=(20, 20))
    mixed = vos.testing.TinySequence("mixed", one.images[:3] + other.images[:1], one.label_maps[:4], ())
    with pytest.raises(vos.SourceError, match="frame 00003 is 20x20, the ones before are 64x48"):
        list(vos.stream(mixed, one.label_maps[0], tracker=StubTracker()))


def plugins_with(plugin):
    plugins = vos.load_plugins()
    plugins.register(plugin, Origin("test", "test", "tests"))
    assert plugins.broken == []
    return plugins


def test_merge_hook_decides_and_none_leaves_it_to_the_host():
    class Merge:
        @hookimpl
        def vos_merge_objects(self, prediction, size):
            return np.full(size, 2, np.uint8) if prediction.object_ids == (1, 2) else None

    one = tiny_sequence("still")
    results = [lm for _, lm in vos.stream(one, one.label_maps[0], tracker=StubTracker(), plugins=plugins_with(Merge()))]
    assert (results[-1] == 2).all()
    other = tiny_sequence("still", object_ids=(1, 3))
    results = [
        lm for _, lm in vos.stream(other, other.label_maps[0], tracker=StubTracker(), plugins=plugins_with(Merge()))
    ]
    assert np.array_equal(results[-1], other.label_maps[0])


def test_a_merge_hook_may_fill_its_array_again():
    class Merge:
        merged = np.zeros((48, 64), np.uint8)

        @hookimpl
        def vos_merge_objects(self, prediction, size):
            row = self.merged.any(1).sum()
            self.merged[row] = 1
            return self.merged

    sequence = tiny_sequence("still", length=4)
    results = list(vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(), plugins=plugins_with(Merge())))
    assert [label_map.any(1).sum() for _, label_map in results[1:]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("merged", "message"),
    [
        (np.zeros((2, 2), np.uint8), r"plugin .*: vos_merge_objects returned uint8 \(2, 2\), expected uint8"),
        (np.zeros((48, 64)), r"returned float64 \(48, 64\)"),
        ("mask", "returned a str, expected an array"),
        (np.full((48, 64), 255, np.uint8), r"ids \[255\]"),
        (np.full((48, 64), 9, np.uint8), r"ids \[9\]"),
    ],
)
def test_merge_hook_is_checked(merged, message):
    class Merge:
        @hookimpl
        def vos_merge_objects(self, prediction, size):
            return merged

    sequence = tiny_sequence("still")
    with pytest.raises(PluginFailedError, match=message):
        list(vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(), plugins=plugins_with(Merge())))


def test_source_hook_is_asked_before_the_shipped_ones():
    sequence = tiny_sequence("still")

    class Sources:
        @hookimpl
        def vos_open_source(self, location):
            return sequence if location == "tiny:" else None

    plugins = plugins_with(Sources())
    assert len(list(vos.stream("tiny:", sequence.label_maps[0], tracker=StubTracker(), plugins=plugins))) == 8
    with pytest.raises(vos.SourceError, match="no such file or folder"):
        vos.open_source("nothing-here.mp4", plugins)


def test_options_for_a_tracker_that_is_made_already_are_refused():
    sequence = tiny_sequence("still", length=2)
    made = make_tracker("propagation", {}, vos.Runtime(device="cpu"), vos.load_plugins())
    for tracker in (made, Oracle(sequence)):
        with pytest.raises(OptionError, match="options are {'quality': 'best'}, but the tracker is made already"):
            vos.stream(sequence, sequence.label_maps[0], tracker=tracker, options={"quality": "best"})


def test_observers_are_told_in_order():
    told = []

    class Observer:
        @hookimpl
        def vos_run_started(self, run):
            told.append(("started", run.sequence, run.frame_count, run.annotated))

        @hookimpl
        def vos_frame_done(self, run, frame, prediction, label_map):
            told.append((frame.index, prediction.object_ids, label_map.shape))

        @hookimpl
        def vos_run_finished(self, run, summary):
            told.append(("finished", summary.frames, summary.object_ids))

        @hookimpl
        def vos_run_failed(self, run, error):
            told.append(("failed", str(error)))

    sequence = tiny_sequence("still", length=2)
    plugins = plugins_with(Observer())
    list(vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(), plugins=plugins))
    name = sequence.name
    frames = [(0, (1, 2), (48, 64)), (1, (1, 2), (48, 64))]
    assert told == [("started", name, 2, (0,)), *frames, ("finished", 2, (1, 2))]
    told.clear()
    with pytest.raises(vos.TrackerError):
        list(vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(fail_at=1), plugins=plugins))
    assert told[-1][0] == "failed"
    assert "set to fail" in told[-1][1]


def test_two_runs_give_equal_masks():
    sequence = tiny_sequence("crossing")
    one, two = ([lm.tobytes() for _, lm in vos.stream(sequence, sequence.label_maps[0])] for _ in range(2))
    assert one == two


class Closing(vos.testing.TinySequence):
    """Counts how often it is closed."""

    closed = 0

    def close(self):
        Closing.closed += 1


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_a_stream_closes_its_source_whether_it_was_started_or_not(taken, monkeypatch):
    monkeypatch.setattr(Closing, "closed", 0)
    sequence = tiny_sequence("still")
    source = Closing("still", sequence.images, sequence.label_maps, sequence.annotations)

    class Sources:
        @hookimpl
        def vos_open_source(self, location):
            return source

    stream = vos.stream("tiny:", sequence.label_maps[0], tracker=StubTracker(), plugins=plugins_with(Sources()))
    for _ in range(taken):
        next(stream)
    assert Closing.closed == 0
    stream.close()
    assert Closing.closed == 1
    assert threads() == []


@pytest.mark.parametrize("tracker", [StubTracker, None, 3])
def test_what_is_no_tracker_is_told_at_the_call(tracker):
    sequence = tiny_sequence("still")
    with pytest.raises(
        vos.PluginError, match="expected a tracker's name, or an object with the methods start and step"
    ):
        vos.stream(sequence, sequence.label_maps[0], tracker=tracker)


def test_max_side_below_a_pixel_is_refused():
    sequence = tiny_sequence("still")
    with pytest.raises(OptionError, match="--max-side is 0"):
        vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(), max_side=0)


class Keeping:
    """Keeps every object where it was annotated; it cannot forget."""

    def start(self, frame, label_map):
        self.label_map = label_map.copy()

    def step(self, frame):
        return vos.Prediction.from_label_map(self.label_map)

    def annotate(self, frame, label_map):
        self.label_map = np.where(label_map > 0, label_map, self.label_map)


class Forgetting(Keeping):
    def forget(self, object_id):
        self.label_map = np.where(self.label_map == object_id, 0, self.label_map).astype(np.uint8)


@pytest.mark.parametrize("tracker", [Keeping, Forgetting])
def test_an_object_ends_at_its_frame_and_a_later_mask_begins_it_anew(tracker):
    sequence = tiny_sequence("still", length=8, object_ids=(3, 7))
    first = sequence.label_maps[0]
    masks = {0: first, 6: np.where(first == 7, 7, 0).astype(np.uint8)}
    ids = [vos.object_ids(m) for _, m in vos.stream(sequence, masks, tracker=tracker(), ends={7: 4})]
    assert ids == [(3, 7)] * 4 + [(3,)] * 2 + [(3, 7)] * 2


def test_an_end_at_a_negative_frame_is_refused():
    sequence = tiny_sequence("still", object_ids=(3,))
    with pytest.raises(OptionError, match="--end 3@-1: expected a frame index of 0 or more."):
        vos.stream(sequence, sequence.label_maps[0], tracker=Keeping(), ends={3: -1})


def test_an_ended_object_of_a_tracker_that_cannot_forget_competes_no_more():
    class Overlapping(Keeping):
        def step(self, frame):
            logits = np.stack([np.full((4, 4), 1, np.float32), np.full((4, 4), 5, np.float32)])
            return vos.Prediction((3, 7), logits, scores=[0.9, 0.9], present=[True, True])

    sequence = tiny_sequence("still", length=4, object_ids=(3, 7))
    maps = [m for _, m in vos.stream(sequence, sequence.label_maps[0], tracker=Overlapping(), ends={7: 2})]
    assert [vos.object_ids(m) for m in maps[1:]] == [(7,), (3,), (3,)]
    assert vos.track(sequence, sequence.label_maps[0], tracker=Keeping(), writers=[], ends={7: 2}).doubts == ()


@pytest.mark.parametrize("end", [0, 1, 2])
def test_an_end_that_is_no_later_than_the_objects_first_mask_is_refused(end):
    sequence = tiny_sequence("still", length=4, object_ids=(3,))
    masks = {2: sequence.label_maps[2], 3: sequence.label_maps[3]}
    with pytest.raises(vos.InputError, match=f"--end 3@{end}: object 3 begins with its mask of frame 2. Give a later"):
        vos.stream(sequence, masks, tracker=Keeping(), ends={3: end})
    both = vos.stream(sequence, masks, tracker=Keeping(), ends={3: end}, both_ways=True)
    assert sum(3 in vos.object_ids(label_map) for _, label_map in both) == 4 - end


def test_an_end_of_an_object_that_is_not_there_is_refused():
    sequence = tiny_sequence("still", length=3, object_ids=(3,))
    with pytest.raises(vos.InputError, match="--end 7@1: no mask has object 7. There are: 3"):
        vos.stream(sequence, sequence.label_maps[0], tracker=Keeping(), ends={7: 1})


def test_an_end_behind_the_last_frame_is_a_warning(caplog):
    sequence = tiny_sequence("still", length=3, object_ids=(3,))
    list(vos.stream(sequence, sequence.label_maps[0], tracker=Keeping(), ends={3: 2}))
    assert not caplog.records
    list(vos.stream(sequence, sequence.label_maps[0], tracker=Keeping(), ends={3: 3}))
    assert [record.getMessage() for record in caplog.records] == [
        "--end 3@3 has no effect: the last of the 3 frames has index 2."
    ]


def test_a_stop_behind_the_last_frame_is_said(caplog):
    caplog.set_level("INFO", logger="vos")
    sequence = tiny_sequence("still", length=3, object_ids=(3,))
    for stop in (2, 3, None):
        list(vos.stream(sequence, sequence.label_maps[0], tracker=Keeping(), stop=stop))
    assert not caplog.records
    assert len(list(vos.stream(sequence, sequence.label_maps[0], tracker=Keeping(), stop=4))) == 3
    assert caplog.messages == ["still-64x48: ends before --stop 4: its last frame is 2."]
    with pytest.raises(vos.InputError, match="no frame between --start 3 and --stop 4"):
        vos.stream(sequence, sequence.label_maps[0], tracker=Keeping(), start=3, stop=4)
    assert len(caplog.records) == 1


def test_a_tracker_object_that_another_run_has_started_is_refused_in_the_run_before():
    sequence = tiny_sequence("still", length=6, object_ids=(3,))
    tracker = Keeping()

    def begin():
        return vos.stream(sequence, sequence.label_maps[0], tracker=tracker)

    left, waiting = begin(), begin()
    next(left)
    assert len(list(begin())) == 6
    assert len(list(waiting)) == 6, "it had not begun"
    message = r'tracker "Keeping", frame 00001 \(index 1\): another run has started this tracker object\. Make one for'
    with pytest.raises(vos.TrackerError, match=message):
        next(left)
    assert len(list(begin())) == 6
