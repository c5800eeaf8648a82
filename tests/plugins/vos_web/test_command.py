"""``vos web VIDEO`` begins a session, and goes on with it without changing what was annotated."""

import json
import queue
import shutil

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vos
from vos.cli import cli
from vos.example_clip import CLIP, FIRST_MASK
from vos_web.command import _open
from vos_web.server.paths import AllowedFolders
from vos_web.server.run_length import encode_runs
from vos_web.service import Service, ServiceSettings

FIRST = vos.read_label_map(FIRST_MASK)


@pytest.fixture
def video(tmp_path):
    return shutil.copy(CLIP, tmp_path / "v.mp4")


@pytest.fixture
def start(tmp_path, plugins, video):
    """Runs the command up to its server; gives the session."""
    services = []

    def run(mask=None):
        while services:
            services.pop().close()
        settings = ServiceSettings(tmp_path / "sessions", tmp_path / "out")
        services.append(Service(plugins, vos.Runtime(threads=1), AllowedFolders([tmp_path]), settings))
        service = services[-1]
        return service.store.get(_open(service, video, mask)).session

    yield run
    services.pop().close()


def with_square(label_map, object_id):
    changed = label_map.copy()
    changed[:8, :8] = object_id
    return changed


def test_the_same_command_keeps_what_was_corrected(start, capsys):
    session = start(str(FIRST_MASK))
    first_ids = list(vos.object_ids(FIRST))
    assert session.facts.pins == {0: first_ids}
    new = session.add_object().id
    corrected = with_square(np.where(FIRST == 1, 0, FIRST), new)
    session.annotate(0, corrected, [1, new])
    again = start(str(FIRST_MASK))
    assert again.facts.id == session.facts.id
    assert np.array_equal(again.mask(0), corrected)
    assert np.array_equal(again.pin(0), corrected)
    assert "--mask: frame 0 stays as the session has it for object 1" in capsys.readouterr().err


def test_an_object_that_was_deleted_stays_so(start):
    session = start(str(FIRST_MASK))
    session.change_object(1, {"deleted": True})
    assert 1 not in start(str(FIRST_MASK)).live_ids()


def test_a_mask_of_further_objects_or_of_another_frame_is_added(start, tmp_path):
    session = start(str(FIRST_MASK))
    session.annotate(0, with_square(FIRST, 1), [1])
    more = np.zeros_like(FIRST)
    more[4:12, 4:12] = 9
    vos.write_label_map(tmp_path / "more.png", more)
    assert start(str(tmp_path / "more.png")).facts.id == session.facts.id
    again = start(f"12:{FIRST_MASK}")
    expected = np.where((more > 0) & (with_square(FIRST, 1) == 0), more, with_square(FIRST, 1))
    assert np.array_equal(again.mask(0), expected)
    assert np.array_equal(again.mask(12), FIRST)
    assert sorted(again.facts.pins) == [0, 12]


def images(folder, count):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for frame in range(count):
        cv2.imwrite(str(folder / f"{frame:05d}.png"), np.full((32, 48, 3), 20 * frame, np.uint8))


def test_a_video_that_has_changed_gets_a_session_beside_the_old_one(start_server, tmp_path, capsys):
    video = tmp_path / "v"
    images(video, 4)
    server = start_server()
    old = server.json("POST", "/api/sessions", {"path": str(video)})
    assert old["notice"] == ""
    server.service.store.close()
    images(video, 6)
    new = server.service.store.get(_open(server.service, video, None)).session.facts
    assert (new.id != old["id"], new.frame_count) == (True, 6)
    assert "v has changed since its last session began, so this is a new one." in capsys.readouterr().err
    state = server.json("POST", "/api/sessions", {"path": str(video)})
    assert (state["id"], state["frame_count"]) == (new.id, 6)
    assert "The earlier one stays" in state["notice"]
    status, content, _ = server.request("GET", f"/api/sessions/{old['id']}")
    assert status == 400
    assert "begins a new session beside this one" in json.loads(content)["error"]
    server.service.store.close()
    images(video, 4)
    assert server.json("POST", "/api/sessions", {"path": str(video)})["id"] == old["id"]


@pytest.mark.parametrize("stays_open", [False, True])
def test_another_file_of_the_same_length_and_size_gets_a_session_of_its_own(start_server, tmp_path, stays_open):
    video = tmp_path / "v.tif"

    def write(grey):
        pages = [Image.fromarray(np.full((32, 48, 3), grey + page, np.uint8)) for page in range(4)]
        pages[0].save(video, save_all=True, append_images=pages[1:])

    write(50)
    server = start_server()
    ids = []
    for grey in (50, 150, 50):
        write(grey)
        if not stays_open:
            server.service.store.close()
        ids.append(server.json("POST", "/api/sessions", {"path": str(video)})["id"])
    assert ids[1] != ids[0] == ids[2]
    server.service.store.close()
    status, content, _ = server.request("GET", f"/api/sessions/{ids[1]}")
    assert (status, "another file of the same length and size" in json.loads(content)["error"]) == (400, True)


@pytest.mark.parametrize(
    ("task", "values"),
    [("track", {"frame": 0, "direction": "forward", "until": "end"}), ("export", {"writers": ["davis"], "folder": ""})],
)
def test_a_video_that_is_replaced_while_its_session_is_open_is_not_used(start_server, tmp_path, task, values):
    images(tmp_path / "v", 4)
    server = start_server()
    session = f"/api/sessions/{server.json('POST', '/api/sessions', {'path': str(tmp_path / 'v')})['id']}"
    server.json("POST", f"{session}/objects", {})
    assert server.request("PUT", f"{session}/pins/0?ids=1", encode_runs(np.ones((32, 48), np.uint8)))[0] == 200
    images(tmp_path / "v", 6)
    ended, publish = queue.Queue(), server.service.hub.publish
    server.service.hub.publish = lambda event: (ended.put(event), publish(event))
    server.json("POST", f"{session}/{task}", values)
    while (event := ended.get(timeout=120))["job"]["state"] == "starting":
        pass
    assert event["job"]["state"] == "failed"
    assert "v: has changed since the session began: 6 frames" in event["job"]["error"]


def test_a_mask_that_does_not_fit_begins_no_session(start, tmp_path):
    for mask, said in ((str(CLIP), "not a picture"), (f"999:{FIRST_MASK}", "no frame 999: the last one is 71")):
        with pytest.raises(vos.InputError, match=said):
            start(mask)
    assert not list((tmp_path / "sessions").glob("*/session.json"))


def test_an_address_is_no_folder_of_exports(start_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vos.InputError, match="s3://bucket/out: is an address"):
        CliRunner().invoke(cli, ["web", "-o", "s3://bucket/out"], catch_exceptions=False)
    with pytest.raises(vos.InputError, match="s3://bucket/out: is an address"):
        start_server().service.export_folder("s3://bucket/out")
    assert not (tmp_path / "s3:").exists()
