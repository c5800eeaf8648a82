"""A run that was stopped goes on with the masks of an unbroken one."""

from types import SimpleNamespace

import numpy as np
import pytest

import vos
from vos.example_clip import CLIP
from vos.plugin import MadeTracker
from vos_web.sessions.presence import ABSENT
from vos_web.tracking import run as tracking_run
from vos_web.tracking.plan import plan_all, plan_run

HIDDEN = range(4, 7)
"""Frames in which object 2 is not seen."""


class Mover:
    """Moves objects by a pixel a frame."""

    def start(self, frame, label_map):
        self.ids = vos.object_ids(label_map)
        self.label_map = label_map

    def annotate(self, frame, label_map):
        annotated = vos.object_ids(label_map)
        self.ids = sorted({*self.ids, *annotated})
        others = np.where(np.isin(self.label_map, annotated), 0, self.label_map)
        self.label_map = np.where(label_map > 0, label_map, others)

    def step(self, frame):
        self.label_map = np.roll(self.label_map, 1, axis=1)
        seen = np.where((self.label_map == 2) & (frame.index in HIDDEN), 0, self.label_map).astype(np.uint8)
        return vos.Prediction.from_label_map(seen, self.ids)


@pytest.fixture
def track(monkeypatch):
    monkeypatch.setattr(tracking_run, "make_tracker", lambda *given: MadeTracker("mover", {}, Mover()))
    runner = tracking_run.TrackingRunner(vos.load_plugins(), vos.Runtime(threads=1))

    def run(session, frame, last=None):
        """Track from a frame, or all where it is None, and stop after ``last``; gives the frames that were tracked."""
        done = []
        for plan in plan_all(session) if frame is None else [plan_run(session, frame, "forward", "end")]:
            if not runner.run(session, plan, {}, lambda event: done.append(event["frame"]), lambda: last in done):
                break
        return done

    yield run
    runner.close()


def square(session, **places):
    """A label map with a square of each id: ``_1=(y, x)``."""
    label_map = np.zeros(session.facts.size, np.uint8)
    for name, (y, x) in places.items():
        label_map[y : y + 8, x : x + 8] = int(name[1:])
    return label_map


def first_column(label_map, object_id):
    return int(np.flatnonzero((label_map == object_id).any(axis=0))[0])


def begin(store):
    session = store.create(CLIP).session
    label_map = np.zeros(session.facts.size, np.uint8)
    label_map[:8, :8], label_map[20:28, :8] = 1, 2
    for _ in range(2):
        session.add_object()
    session.annotate(0, label_map, [1, 2])
    return session


@pytest.mark.parametrize("last", [2, 5], ids=["both are there", "one is not seen"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(store, track, last):
    whole, stopped = begin(store), begin(store)
    track(whole, 0)
    reached = track(stopped, 0, last)[-1]
    assert reached < 7
    assert track(stopped, reached)[0] == reached + 1
    assert 2 in vos.object_ids(stopped.mask(30))
    for frame in range(whole.facts.frame_count):
        assert np.array_equal(stopped.mask(frame), whole.mask(frame)), frame


def test_a_run_is_not_resumed_once_something_was_annotated(store, track):
    session = begin(store)
    reached = track(session, 0, 2)[-1]
    corrected = np.where(session.mask(reached) == 1, 0, session.mask(reached)).astype(np.uint8)
    session.annotate(reached, corrected, [1])
    track(session, reached)
    assert 1 not in vos.object_ids(session.mask(30))


def test_a_run_goes_on_from_a_frame_that_shows_no_object(store, track):
    session = begin(store)
    session.change_object(1, {"deleted": True})
    reached = track(session, 0, 4)[-1]
    assert not session.mask(reached).any()
    session.change_object(1, {"deleted": True})  # the stopped run is not resumed
    assert track(session, reached)[0] == reached + 1
    assert vos.object_ids(session.mask(30)) == (2,)


def test_a_correction_that_says_absent_holds_in_frames_that_were_tracked(store, track):
    session = begin(store)
    track(session, 0)
    kept = session.mask(40) == 2
    session.annotate(30, np.where(session.mask(30) == 1, 0, session.mask(30)).astype(np.uint8), [1])
    track(session, 30)
    assert vos.object_ids(session.mask(29)) == (1, 2)
    assert vos.object_ids(session.mask(31)) == (2,)
    assert np.array_equal(session.mask(40) == 2, kept)
    session.annotate(50, np.where(session.mask(50) == 2, 2, square(session, _1=(100, 0))).astype(np.uint8), [1])
    track(session, 50)
    assert [1 in vos.object_ids(session.mask(frame)) for frame in (49, 50, 51)] == [False, True, True]


def test_an_object_that_is_alone_is_absent_from_the_frame_on_that_says_so(store, track):
    session = begin(store)
    track(session, 0, 45)
    session.change_object(2, {"deleted": True})
    session.annotate(30, np.zeros(session.facts.size, np.uint8), [1])
    session.annotate(60, square(session, _1=(100, 0)), [1])
    assert track(session, 30) == list(range(31, 60))
    shown = [1 in vos.object_ids(session.mask(frame)) for frame in (29, 30, 31, 40, 59, 60)]
    assert shown == [True, False, False, False, False, True]
    assert session.presence.level(59, 1) == ABSENT
    assert track(session, 60)[0] == 61
    session.change_object(2, {"deleted": False})
    assert 2 in vos.object_ids(session.mask(31))  # as it was when it was deleted


def test_masks_belong_to_their_frames_where_an_object_of_earlier_annotations_is_absent(store, track):
    session = begin(store)
    session.annotate(0, square(session, _1=(0, 0)), [1, 2])
    session.annotate(10, square(session, _1=(0, 10), _2=(20, 0)), [2])
    session.annotate(20, square(session, _2=(20, 0)), [1])
    assert track(session, 20)[-1] == session.facts.frame_count - 1
    assert [first_column(session.mask(frame), 2) for frame in (20, 21, 30)] == [0, 1, 10]


def test_an_object_that_others_were_corrected_after_is_tracked_on_unseen(store, track):
    session = begin(store)
    track(session, 0)
    for frame in (1, 2, 3, 4, 5):
        session.annotate(frame, session.mask(frame), [1])
    for frame in range(6, session.facts.frame_count):
        session.mask_path(frame).unlink()
        session.presence.clear(frame)
    assert 2 not in vos.object_ids(session.mask(5))
    track(session, 5)
    assert 2 in vos.object_ids(session.mask(30))


def test_only_the_object_that_was_not_tracked_beyond_is_tracked_on(store, track):
    session = begin(store)
    session.annotate(0, square(session, _1=(0, 0)), [1, 2])
    session.unpin(0, {"ids": [2], "levels": {"1": 255}, "known": True})
    track(session, 0)
    session.annotate(10, square(session, _1=(0, 10), _2=(20, 0)), [2])
    reached = track(session, 10, 12)[-1]
    assert session.presence.level(reached, 2)
    assert session.presence.level(reached + 1, 2) == 0
    session.change_object(1, {"end": None})  # the stopped run is not resumed
    plan = plan_run(session, reached, "forward", "end")
    assert plan.targets == (2,)


def test_all_is_tracked_anew_behind_later_annotations_too(store, track):
    session = begin(store)
    last = session.facts.frame_count - 1
    session.annotate(0, square(session, _1=(0, 0)), [1, 2])
    session.unpin(0, {"ids": [2], "levels": {"1": 255}, "known": True})
    session.annotate(10, square(session, _2=(20, 0)), [2])
    assert track(session, None) == list(range(1, last + 1))
    session.annotate(20, np.where(session.mask(20) == 2, 2, square(session, _1=(60, 0))).astype(np.uint8), [1])
    session.annotate(5, np.where(session.mask(5) == 1, 1, square(session, _2=(90, 0))).astype(np.uint8), [2])
    session.unpin(5)  # object 2 has a mask before its first annotation
    reached = track(session, None, 12)[-1]
    assert reached < last
    assert track(session, reached)[-1] == last
    assert first_column(session.mask(last), 1) == last - 20
    assert session.presence.level(20, 1) == 255
    assert first_column(session.mask(5), 2) == 0
    session.annotate(0, square(session), [1])
    assert track(session, None)[0] == 11


def test_a_video_of_one_frame_has_nothing_to_track(store, track, monkeypatch):
    session = begin(store)
    monkeypatch.setattr(session.facts, "frame_count", 1)
    with pytest.raises(vos.InputError, match="no frame left to track"):
        plan_all(session)


def test_a_tracker_of_one_annotation_needs_an_object_in_the_frame(store, track, monkeypatch):
    plain = SimpleNamespace(start=(mover := Mover()).start, step=mover.step)
    monkeypatch.setattr(tracking_run, "make_tracker", lambda *given: MadeTracker("plain", {}, plain))
    session = begin(store)
    session.change_object(1, {"deleted": True})
    reached = track(session, 0, 4)[-1]
    session.change_object(1, {"deleted": True})  # the stopped run is not resumed
    with pytest.raises(vos.InputError, match="propagation takes annotations of one frame alone"):
        track(session, reached)


def test_an_object_stays_absent_from_an_annotation_that_is_passed(store, track):
    session = begin(store)
    track(session, 0, 24)
    session.annotate(20, np.where(session.mask(20) == 1, 0, session.mask(20)).astype(np.uint8), [1])
    session.annotate(10, session.mask(10), [2])
    track(session, 10)
    assert vos.object_ids(session.mask(40)) == (2,)
    session.annotate(50, np.where(session.mask(50) == 2, 2, square(session, _1=(100, 0))).astype(np.uint8), [1])
    track(session, None)
    shown = [1 in vos.object_ids(session.mask(frame)) for frame in (19, 20, 21, 49, 50, 51)]
    assert shown == [True, False, False, False, True, True]
    assert session.presence.level(30, 1) == ABSENT


def test_annotated_pixels_stay_with_a_tracker_of_one_annotation(store, track, monkeypatch):
    plain = SimpleNamespace(start=(mover := Mover()).start, step=mover.step)
    monkeypatch.setattr(tracking_run, "make_tracker", lambda *given: MadeTracker("plain", {}, plain))
    session = begin(store)
    annotated = square(session, _1=(16, 12))  # object 2 comes there
    session.annotate(10, annotated, [1])
    track(session, 0)
    assert np.array_equal(session.mask(10) == 1, annotated == 1)
    assert session.presence.level(10, 2) > ABSENT


def test_an_annotation_made_while_it_is_tracked_stays(store, track, monkeypatch):
    session = begin(store)
    session.annotate(10, square(session, _1=(0, 10)), [1])
    annotated = square(session, _1=(0, 10), _2=(60, 60))
    other = tracking_run.Session.read(session.folder)  # as the process that tracks has it
    session.annotate(10, annotated, [2])
    session.annotate(20, square(session, _1=(0, 20)), [1])
    session.unpin(10, {"ids": [1], "levels": {}, "known": True})
    track(other, 0)
    assert np.array_equal(session.mask(10), annotated)
    assert np.array_equal(session.mask(20), square(session, _1=(0, 20)))
