"""A run that was stopped goes on with the masks of an unbroken one."""

import numpy as np
import pytest

import vos
from vos.example_clip import CLIP
from vos.plugin import MadeTracker
from vos_web.tracking import run as tracking_run
from vos_web.tracking.plan import plan_run

HIDDEN = range(4, 7)
"""Frames in which object 2 is not seen."""


class Mover:
    """Moves objects by a pixel a frame."""

    def start(self, frame, label_map):
        self.ids = vos.object_ids(label_map)
        self.label_map = label_map

    def annotate(self, frame, label_map):
        self.start(frame, label_map)

    def step(self, frame):
        self.label_map = np.roll(self.label_map, 1, axis=1)
        seen = np.where((self.label_map == 2) & (frame.index in HIDDEN), 0, self.label_map).astype(np.uint8)
        return vos.Prediction.from_label_map(seen, self.ids)


@pytest.fixture
def track(monkeypatch):
    monkeypatch.setattr(tracking_run, "make_tracker", lambda *given: MadeTracker("mover", {}, Mover()))
    runner = tracking_run.TrackingRunner(vos.load_plugins(), vos.Runtime(threads=1))

    def run(session, frame, last=None):
        """Track from a frame, and stop after ``last``; gives the frames that were tracked."""
        done = []
        runner.run(
            session,
            plan_run(session, frame, "forward", "end"),
            {},
            lambda event: done.append(event["frame"]),
            lambda: last is not None and session.mask_path(last).exists(),
        )
        return done

    yield run
    runner.close()


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
