"""Sessions survive: what is annotated, tracked and set is on disk at once, and comes back."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

import vos
from vos.errors import OutputError
from vos.example_clip import CLIP
from vos_web.server import progress_events
from vos_web.sessions.known_frames import object_gaps
from vos_web.sessions.presence import ABSENT, SURE, UNKNOWN
from vos_web.sessions.session import Session, SessionFacts, read_facts
from vos_web.sessions.store import SessionStore
from vos_web.tracking.plan import TrackingPlan, plan_run
from vos_web.tracking.reordered_source import ReorderedSource
from vos_web.tracking.run import TrackedFrame, _store


@pytest.fixture
def session(store):
    opened = store.create(CLIP).session
    opened.add_object()
    opened.add_object("Ball")
    return opened


def painted(session, **squares):
    """A label map with a square of each id: ``_1=(y, x)``."""
    label_map = np.zeros(session.facts.size, np.uint8)
    for name, (y, x) in squares.items():
        label_map[y : y + 8, x : x + 8] = int(name[1:])
    return label_map


def test_a_session_comes_back_as_it_was(session, store, tmp_path, plugins):
    session.annotate(5, painted(session, _1=(0, 0), _2=(20, 20)), [1, 2])
    session.change_object(2, {"name": "Red ball", "end": 30})
    state = session.state()
    store.close()
    again = SessionStore(tmp_path / "sessions", plugins)
    back = again.get(session.facts.id).session
    assert back.state() == state
    assert np.array_equal(back.mask(5), painted(session, _1=(0, 0), _2=(20, 20)))
    again.close()


FILE_CALLS = {"open", "write", "fsync", "close", "rename", "replace", "unlink", "remove", "ftruncate"}


def killed_at(point, work):
    """Run work in a child process that is killed after its n-th call on a file; False if it got to its end."""
    child = os.fork()
    if child == 0:
        left = point

        def kill(frame, event, called):
            nonlocal left
            if event == "c_return" and called.__name__ in FILE_CALLS:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(kill)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_kill_at_any_write_leaves_a_whole_session(session):
    before, after = painted(session, _1=(0, 0)), painted(session, _1=(30, 30), _2=(20, 20))
    session.annotate(5, before, [1])

    def change():
        opened = Session.read(session.folder)
        opened.annotate(5, after, [1, 2])
        opened.annotate(7, after, [2])
        opened.change_object(2, {"name": "Red ball"})
        opened.unpin(7)

    for point in count(1):
        killed = killed_at(point, change)
        found = Session.read(session.folder)
        assert any(np.array_equal(found.mask(5), whole) for whole in (before, after)), point
        assert found.mask(7) is None or np.array_equal(found.mask(7), after), point
        assert found.pin(5) is not None, point
        assert [entry.id for entry in found.facts.objects] == [1, 2], point
        if not killed:
            break
    assert point > 10
    assert found.facts.pins == {5: [1, 2]}
    assert found.facts.objects[1].name == "Red ball"


def test_doubts_last_until_their_frame_is_annotated_or_tracked_again(session):
    presence = session.presence
    presence.append(5, {1: 90, 2: 80}, None, {1: "low score", 2: "vanishes"})
    presence.append(6, {1: 90}, None, {1: "low score"})
    presence.append(7, {1: 90}, None, {1: "low score"})
    presence.append(5, {1: 200}, [1])
    session.annotate(6, painted(session, _1=(0, 0)), [1])
    wanted = {"5": {2: "vanishes"}, "7": {1: "low score"}}
    assert session.state()["doubts"] == wanted
    presence.compact()
    assert Session.read(session.folder).state()["doubts"] == wanted


def test_the_log_of_an_earlier_version_tracks_and_exports_the_same_objects(session, store, tmp_path, plugins):
    session.annotate(0, painted(session, _1=(0, 0), _2=(20, 20)), [1, 2])
    for frame in range(1, 5):
        label_map = painted(session, _1=(0, frame)) if frame < 3 else painted(session, _1=(0, frame), _2=(20, 20))
        vos.plugin.write_label_map(session.mask_path(frame), label_map)
    store.close()
    lines = [
        '{"frame": 0, "levels": {"1": 255, "2": 255}, "ids": [1, 2]}',
        *(f'{{"frame": {frame}, "levels": {{"1": 1}}, "ids": null}}' for frame in (1, 2)),
        *(f'{{"frame": {frame}, "levels": {{"1": 90, "2": 1}}, "ids": null}}' for frame in (3, 4)),
    ]
    (session.folder / "presence.jsonl").write_text("\n".join(lines) + "\n")
    for _ in range(2):
        again = SessionStore(tmp_path / "sessions", plugins)
        back = again.get(session.facts.id).session
        levels = [[back.presence.level(frame, i) for i in (1, 2, 3)] for frame in range(6)]
        assert levels == [[255, 255, 0], [2, 1, 0], [2, 1, 0], [90, 2, 0], [90, 2, 0], [0, 0, 0]]
        assert object_gaps(back) == []
        back.facts.pins[1] = [1]
        assert plan_run(back, 1, "forward", "end").targets == (1,)
        again.close()


def test_an_annotation_keeps_what_was_tracked_since_the_person_saw_the_frame(session):
    tracked = painted(session, _2=(20, 20))
    vos.plugin.write_label_map(session.mask_path(5), tracked)
    session.presence.append(5, {2: 90}, [2])
    session.annotate(5, painted(session, _1=(0, 0)), [1])
    assert np.array_equal(session.mask(5), painted(session, _1=(0, 0), _2=(20, 20)))
    assert session.presence.level(5, 2) > ABSENT


def test_an_annotation_taken_back_while_it_is_tracked_leaves_no_gap(session):
    session.annotate(5, painted(session, _1=(0, 0)), [1])
    other = Session.read(session.folder)  # as the process that tracks has it
    session.annotate(5, painted(session), [1])
    session.unpin(5, {"ids": [1]})
    tracked = painted(session, _1=(0, 0), _2=(20, 20))
    _store(other, TrackingPlan(0, 70, 1, targets=(1, 2), kept_from={1: 5}), 5, TrackedFrame(tracked, None, {}))
    assert np.array_equal(session.mask(5), tracked)


def test_a_session_is_open_in_one_server_only(session, tmp_path, plugins):
    with pytest.raises(vos.InputError, match="open in another"):
        SessionStore(tmp_path / "sessions", plugins).get(session.facts.id)


def test_a_line_cut_short_by_a_crash_is_passed_over(session):
    session.annotate(5, painted(session, _1=(0, 0)), [1])
    with (session.folder / "presence.jsonl").open("a") as file:
        file.write('{"frame": 6, "lev')
    back = Session.read(session.folder)
    assert back.presence.known[5]
    assert not back.presence.known[6]
    back.annotate(7, painted(session, _1=(0, 0)), [1])
    assert Session.read(session.folder).presence.known[7]


def test_a_change_that_cannot_be_saved_is_not_made(session, monkeypatch):
    def full(path, content):
        raise OutputError("no space left")

    monkeypatch.setattr("vos_web.sessions.session.atomic_write", full)
    label_map = painted(session, _1=(0, 0))
    for change in (
        lambda: session.add_object("Third"),
        lambda: session.change_object(1, {"name": "Cup", "deleted": True}),
        lambda: session.ensure_objects([7]),
        lambda: session.annotate(5, label_map, [1]),
    ):
        with pytest.raises(OutputError):
            change()
        assert session.facts == read_facts(session.folder)


def test_a_log_that_cannot_be_written_is_said(session):
    log = session.folder / "presence.jsonl"
    log.unlink()
    log.mkdir()
    with pytest.raises(OutputError, match="presence.jsonl: cannot be written"):
        session.annotate(5, painted(session, _1=(0, 0)), [1])
    assert session.facts.pins == {}


def test_a_frame_whose_annotation_was_not_saved_whole_can_be_tracked(session, store, tmp_path, plugins):
    vos.write_label_map(session.pin_path(6), painted(session, _1=(0, 0)))
    session.annotate(5, painted(session, _1=(0, 0)), [1])
    store.close()
    again = SessionStore(tmp_path / "sessions", plugins)
    back = again.get(session.facts.id).session
    tracked = TrackedFrame(painted(session, _1=(2, 2)), None, {})
    assert _store(back, plan_run(back, 5, "forward", "end"), 6, tracked).ids == [1]
    assert np.array_equal(back.mask(6), tracked.label_map)
    assert np.array_equal(back.pin(5), painted(session, _1=(0, 0)))
    again.close()


def test_deleted_and_ended_objects_are_left_out_and_can_come_back(session):
    session.annotate(9, painted(session, _1=(0, 0), _2=(20, 20)), [1, 2])
    session.change_object(1, {"deleted": True})
    assert vos.object_ids(session.mask(9)) == (2,)
    session.change_object(1, {"deleted": False})
    session.change_object(2, {"end": 9})
    assert vos.object_ids(session.mask(9)) == (1,)
    session.change_object(2, {"end": None})
    assert vos.object_ids(session.mask(9)) == (1, 2)


def both(session):
    """Objects 1 and 2 in frames 0 to 20, the first of which is annotated; object 2 is unsure and doubtful."""
    session.annotate(0, painted(session, _1=(0, 0), _2=(20, 20)), [1, 2])
    for frame in range(1, 21):
        vos.write_label_map(session.mask_path(frame), painted(session, _1=(0, 0), _2=(20, 20)))
        session.presence.append(frame, {1: 200, 2: 90}, None, {2: "low score"})


@pytest.mark.parametrize(
    ("change", "undo"), [({"end": 10}, {"end": None}), ({"deleted": True}, {"deleted": False})], ids=["end", "deletion"]
)
def test_what_is_annotated_and_tracked_meanwhile_leaves_the_masks_of_an_object_that_comes_back(session, change, undo):
    both(session)
    session.annotate(11, painted(session, _1=(4, 4), _2=(20, 20)), [2])
    session.change_object(2, change)
    session.annotate(11, painted(session, _1=(0, 0)), [1])
    session.annotate(12, painted(session, _1=(4, 4)), [1])
    session.annotate(13, painted(session, _1=(4, 4)), [1])
    session.unpin(13, {"levels": {"1": 200}, "doubts": {}, "known": True})
    plan = plan_run(session, 12, "forward", "end")
    for frame in range(14, 21):
        _store(session, plan, frame, TrackedFrame(painted(session, _1=(4, 4)), None, {}))
    session.change_object(2, undo)
    for back in (session, Session.read(session.folder)):
        for frame in range(12, 21):
            assert np.array_equal(back.mask(frame), painted(session, _1=(4, 4), _2=(20, 20))), frame
            assert back.presence.level(frame, 2) == 90
            assert back.presence.doubts[frame] == {2: "low score"}
        assert np.array_equal(back.pin(11), painted(session, _1=(0, 0), _2=(20, 20)))
        assert back.presence.level(11, 2) == 255


def test_an_object_that_is_wholly_covered_while_it_is_deleted_comes_back_as_absent(session):
    both(session)
    session.change_object(2, {"deleted": True})
    session.annotate(5, painted(session, _1=(20, 20)), [1])
    _store(session, plan_run(session, 5, "forward", "end"), 6, TrackedFrame(painted(session, _1=(20, 20)), None, {}))
    session.change_object(2, {"deleted": False})
    assert [session.presence.level(frame, 2) for frame in (4, 5, 6, 7)] == [90, ABSENT, ABSENT, 90]
    assert [frame in session.presence.doubts for frame in (4, 5, 6, 7)] == [True, False, False, True]


def test_undoing_an_annotation_of_a_tracked_frame_without_objects_leaves_it_tracked(session):
    vos.write_label_map(session.mask_path(5), painted(session))
    session.presence.append(5, {})
    session.annotate(5, painted(session, _1=(0, 0)), [1])
    session.annotate(5, painted(session), [1])
    session.unpin(5, {"levels": {}, "doubts": {}, "known": True})
    assert session.presence.known[5]
    assert session.mask(5) is not None


def test_more_than_64_objects_are_kept(store):
    session = store.create(CLIP).session
    label_map = np.zeros(session.facts.size, np.uint8)
    label_map.ravel()[: 254 * 9] = np.repeat(np.arange(1, 255), 9)
    for _ in range(254):
        session.add_object()
    session.annotate(0, label_map, range(1, 255))
    assert np.array_equal(session.mask(0), label_map)
    with pytest.raises(vos.InputError, match="all 254"):
        session.add_object()


def test_masks_that_do_not_fit_are_refused_and_change_nothing(session):
    for frame, label_map in (
        (0, np.zeros((3, 3), np.uint8)),
        (0, painted(session, _9=(0, 0))),
        (10**6, painted(session)),
    ):
        with pytest.raises(vos.InputError):
            session.annotate(frame, label_map, [1])
    assert not session.facts.pins
    assert not list((session.folder / "masks").iterdir())


def test_undoing_the_only_annotation_of_a_frame_leaves_nothing(session):
    session.annotate(5, painted(session, _1=(0, 0)), [1])
    session.annotate(5, painted(session), [1])
    session.unpin(5)
    assert not session.presence.known[5]
    assert session.mask(5) is None


def test_undoing_one_of_two_annotations_of_a_frame_leaves_the_other(session):
    session.annotate(5, painted(session, _1=(0, 0)), [1])
    session.annotate(5, painted(session, _1=(0, 0), _2=(20, 20)), [2])
    session.annotate(5, painted(session, _1=(0, 0)), [2])
    session.unpin(5, {"ids": [2], "levels": {"1": SURE}, "known": True})
    for back in (session, Session.read(session.folder)):
        assert back.facts.pins == {5: [1]}
        assert vos.object_ids(back.pin(5)) == (1,)
        assert [back.presence.level(5, i) for i in (1, 2)] == [SURE, UNKNOWN]


def test_an_object_that_is_not_annotated_in_a_frame_stays_unknown_there(session):
    session.annotate(5, painted(session, _1=(0, 0)), [1])
    assert session.presence.level(5, 2) == UNKNOWN
    session.annotate(5, painted(session, _1=(0, 0)), [2])
    assert session.presence.level(5, 2) == ABSENT


def test_undoing_an_annotation_of_a_tracked_frame_gives_what_the_tracker_had_said(session):
    known(session, [5], {1: 200})
    session.presence.append(5, {1: 200}, None, {1: "low score"})
    session.annotate(5, painted(session, _1=(9, 9)), [1])
    assert session.presence.level(5, 1) == 255
    session.unpin(5, {"levels": {"1": 200}, "doubts": {"1": "low score"}})
    assert session.presence.level(5, 1) == 200
    assert session.state()["doubts"] == {"5": {1: "low score"}}
    session.annotate(5, painted(session, _1=(9, 9)), [1])
    with pytest.raises(vos.InputError, match="do not fit"):
        session.unpin(5, {"levels": {"1": 1000}})
    assert 5 in session.facts.pins


def known(session, frames, levels):
    for frame in frames:
        vos.write_label_map(session.mask_path(frame), painted(session, _1=(0, 0)))
        session.presence.append(frame, levels)


def test_a_run_begins_at_the_frame_and_goes_to_the_end(session):
    session.annotate(10, painted(session, _1=(0, 0), _2=(20, 20)), [1, 2])
    count = session.facts.frame_count
    forward, backward = (plan_run(session, 10, way, "end") for way in ("forward", "backward"))
    assert (forward.frames, backward.frames) == (range(11, count), range(9, -1, -1))
    assert forward.targets == (1, 2)


def test_a_correction_tracks_the_corrected_object_and_stops_mattering_at_its_next_pin(session):
    session.annotate(0, painted(session, _1=(0, 0), _2=(20, 20)), [1, 2])
    known(session, range(1, session.facts.frame_count), {1: 200, 2: 200})
    session.annotate(20, painted(session, _1=(4, 4), _2=(20, 20)), [1])
    session.annotate(40, painted(session, _1=(8, 8), _2=(20, 20)), [1])
    plan = plan_run(session, 20, "forward", "end")
    assert plan.targets == (1,)
    assert plan.kept_from == {1: 40}
    assert plan.frames == range(21, 40)
    assert plan.prior == (0,)


def test_to_the_next_pin_stops_before_it(session):
    session.annotate(0, painted(session, _1=(0, 0)), [1])
    session.annotate(12, painted(session, _2=(0, 0)), [2])
    assert plan_run(session, 0, "forward", "pin").frames == range(1, 12)


def test_nothing_to_track_is_said(session):
    with pytest.raises(vos.InputError, match="no object is marked"):
        plan_run(session, 3, "forward", "end")
    session.annotate(session.facts.frame_count - 1, painted(session, _1=(0, 0)), [1])
    with pytest.raises(vos.InputError, match="no frame left"):
        plan_run(session, session.facts.frame_count - 1, "forward", "end")


def test_frames_in_another_order_are_the_same_frames(plugins):
    source = vos.open_source(CLIP, plugins)
    order = [3, 9, 8, 7, 2]
    found = list(ReorderedSource(source, order).frames())
    assert [frame.index for frame in found] == list(range(5))
    for frame, index in zip(found, order, strict=True):
        assert np.array_equal(frame.image, vos.read_frame(source, index).image)
    source.close()


def test_a_record_with_an_infinite_size_is_refused(tmp_path):
    facts = SessionFacts("a", "clip.mp4", "clip", 12, (64, 96), 25.0).to_json()
    (tmp_path / "session.json").write_text(facts.replace("64", "Infinity", 1))
    with pytest.raises(vos.InputError, match="session.json: cannot be read"):
        read_facts(tmp_path)


def test_progress_comes_a_few_times_a_second_with_every_frame(monkeypatch):
    monkeypatch.setattr(progress_events, "EVENT_SECONDS", 3600)
    sent = []
    progress = progress_events.ProgressEvents(SimpleNamespace(publish=sent.append))
    for frame in range(4):
        progress.add({"done": frame + 1}, [{"frame": frame}])
    progress.flush()
    progress.flush()
    assert [[tracked["frame"] for tracked in event["frames"]] for event in sent] == [[0], [1, 2, 3]]
    assert [event["job"]["done"] for event in sent] == [1, 4]


def test_two_requests_at_once_get_one_session(session, store, tmp_path, plugins, monkeypatch):
    store.close()
    again = SessionStore(tmp_path / "sessions", plugins)
    both = threading.Barrier(2)
    monkeypatch.setattr(again, "_folder_of", lambda name: time.sleep(0.1) or tmp_path / "sessions" / name)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: (both.wait(), again.get(session.facts.id))[1], range(2)))
    assert found[0] is found[1]
    again.close()
