"""An export holds the frames that have masks, and says which it leaves out."""

import csv
import json
import time

import numpy as np
import pytest

import vos
from vos.example_clip import CLIP
from vos_web.sessions.exporting import export_session
from vos_web.sessions.presence import ABSENT
from vos_web.sessions.store import SessionStore


@pytest.fixture
def session(tmp_path, plugins):
    store = SessionStore(tmp_path / "sessions", plugins)
    opened = store.create(CLIP).session
    opened.add_object()
    opened.add_object()
    yield opened
    store.close()


def square(session, y, object_id=1):
    label_map = np.zeros(session.facts.size, np.uint8)
    label_map[y : y + 8, 20:28] = object_id
    return label_map


def track(session, frames, object_id=1):
    for frame in frames:
        vos.write_label_map(session.mask_path(frame), square(session, frame, object_id))
        session.presence.append(frame, {object_id: 200})


def test_frames_that_were_never_tracked_are_left_out(session, tmp_path, plugins):
    session.annotate(3, square(session, 3), [1])
    track(session, range(4, 7))
    session.annotate(20, square(session, 20, 2), [2])
    track(session, range(18, 20), 2)
    vos.write_label_map(session.mask_path(1), square(session, 1) * 0)
    session.presence.append(1, {})  # tracked, and no object is in it
    known = [1, 3, 4, 5, 6, 18, 19, 20]
    told = []
    writers = [("davis", {}), ("report", {}), ("overlay", {})]
    done = export_session(session, tmp_path / "out", writers, plugins, lambda *counts: told.append(counts) or True)
    assert done.left_out == [frame for frame in range(session.facts.frame_count) if frame not in known]
    assert told[-1] == (len(known), len(known))
    masks = sorted(done.folder.glob("*.png"))
    assert [int(path.stem) for path in masks] == known
    for path in masks:
        assert np.array_equal(vos.read_label_map(path, allow_empty=True), session.mask(int(path.stem)))
    record = json.loads((done.folder / "run.json").read_text())
    assert (record["finished"], record["frames"]) == (True, len(known))
    (table,) = done.folder.glob("*.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted({int(row["frame_index"]) for row in rows}) == known
    (video,) = done.folder.glob("*.mp4")
    assert len(list(vos.open_source(video, plugins).frames())) == len(known)


def test_frames_in_which_an_object_was_not_tracked_are_said(session, tmp_path, plugins):
    session.annotate(0, square(session, 0), [1])
    track(session, range(1, session.facts.frame_count))
    session.annotate(20, np.maximum(square(session, 20), square(session, 60, 2)), [2])
    session.presence.append(21, {2: 200}, [2])
    session.presence.append(22, {2: ABSENT}, [2])
    session.change_object(2, {"end": 60})
    done = export_session(session, tmp_path / "out", [("davis", {})], plugins, lambda *counts: True)
    assert not done.left_out
    assert done.gaps == [("Object 2", 60 - 3, 0)]


def test_a_session_that_is_tracked_whole_leaves_nothing_out(session, tmp_path, plugins):
    session.annotate(0, square(session, 0), [1])
    track(session, range(1, session.facts.frame_count))
    done = export_session(session, tmp_path / "out", [("davis", {})], plugins, lambda *counts: True)
    assert not done.left_out
    assert not done.gaps
    assert len(list(done.folder.glob("*.png"))) == session.facts.frame_count


def test_a_download_that_cannot_be_packed_fails_and_leaves_the_server_free(start_server):
    server = start_server()
    opened = server.service.store.create(CLIP)
    opened.session.add_object()
    opened.session.annotate(0, square(opened.session, 0), [1])
    (opened.session.folder / "export" / "clip.zip").mkdir(parents=True)
    ended = []
    publish = server.service.hub.publish
    server.service.hub.publish = lambda event: (ended.append(event["job"]), publish(event))
    server.service.jobs.export(opened, [("davis", {})], None, False)
    for _ in range(600):
        if server.service.jobs.current is None:
            break
        time.sleep(0.1)
    assert ended[-1]["state"] == "failed"
    assert "clip.zip: cannot be written" in ended[-1]["error"]
    server.service.jobs.export(opened, [("davis", {})], None, False)
