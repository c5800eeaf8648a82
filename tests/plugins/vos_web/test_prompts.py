"""Clicks with Segment Anything, and masks as paint programs save them."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vos
from vos_sam.model import SegmentAnything
from vos_web.prompts import methods_of
from vos_web.server.run_length import decode_runs, encode_runs

CHECKPOINT = Path(__file__).parents[2] / "data" / "sam_shapes" / "sam_shapes.pth"
SIZE = (48, 64)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "frames").mkdir()
    for frame in range(2):
        image = np.full((*SIZE, 3), 40, np.uint8)
        image[10:30, 12 + frame : 32 + frame] = (220, 60, 40)
        Image.fromarray(image).save(tmp_path / "frames" / f"{frame}.png")
    return tmp_path


def opened(server, folder):
    return server.json("POST", "/api/sessions", {"path": str(folder / "frames")})["id"]


def test_segment_anything_encodes_a_frame_once_and_is_loaded_once(start_server, folder, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(folder / "cache"))
    server = start_server(sam_checkpoint=CHECKPOINT)
    assert server.json("GET", "/api/start")["methods"][0] == "sam"
    session = opened(server, folder)
    calls = {"load": 0, "_encode": 0}
    for name in calls:
        original = getattr(SegmentAnything, name)

        def counted(*args, name=name, original=original, **kwargs):
            calls[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(SegmentAnything, name, staticmethod(counted) if name == "load" else counted)
    for points in ([[20, 20, 1]], [[20, 20, 1], [50, 40, 0]]):
        body = json.dumps({"frame": 0, "method": "sam", "points": points}).encode()
        status, content, _ = server.request("POST", f"/api/sessions/{session}/prompt", body)
        assert status == 200, content
        mask = decode_runs(content, SIZE)
        assert mask[20, 20] == 1
    assert calls == {"load": 1, "_encode": 1}
    body = json.dumps({"frame": 0, "method": "sam", "scribbles": [{"label": 1, "xy": [[18, 18], [24, 24]]}]}).encode()
    assert server.request("POST", f"/api/sessions/{session}/prompt", body)[0] == 200


def test_without_weights_segment_anything_is_not_offered(plugins, tmp_path):
    runtime = vos.Runtime(cache=tmp_path)
    assert "sam" not in methods_of(plugins, runtime, None)
    assert "sam" in methods_of(plugins, runtime, CHECKPOINT)


def test_painted_pictures_are_read_and_keep_other_objects(start_server, folder):
    server = start_server()
    session = f"/api/sessions/{opened(server, folder)}"
    ids = np.zeros(SIZE, np.uint8)
    ids[0:6, 0:6] = 2
    painted = np.zeros((*SIZE, 3), np.uint8)
    painted[20:30, 20:30] = (250, 90, 20)
    painted[30, 20:30] = (110, 40, 9)  # a soft edge
    for picture in (ids, painted):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        assert server.request("POST", f"{session}/pins/1/file", file.getvalue())[0] == 200
    found = decode_runs(server.request("GET", f"{session}/masks/1")[1], SIZE)
    assert (found == 1).sum() == 100
    assert (found == 2).sum() == 36
    status, content, _ = server.request("POST", f"{session}/pins/1/file", b"no picture")
    assert status == 400
    assert b"the mask" in content


def test_a_photo_is_no_mask(folder):
    from vos_grabcut.rough_mask import read_rough_mask

    rng = np.random.default_rng(0)
    shutil.rmtree(folder / "frames")
    Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(folder / "photo.png")
    with pytest.raises(vos.InputError, match="colours of a photo"):
        read_rough_mask(folder / "photo.png", SIZE)


def test_a_click_corrects_the_mask_that_is_sent_with_it(start_server, folder):
    server = start_server()
    assert "clicks" in server.json("GET", "/api/start")["correcting"]
    session = opened(server, folder)
    present = np.zeros(SIZE, np.uint8)
    present[10:30, 12:32] = 1
    present[34:44, 50:60] = 1
    runs = np.frombuffer(encode_runs(present), "<u4").tolist()
    prompt = {"frame": 0, "method": "clicks", "points": [[55, 39, 0]], "mask": runs}
    status, content, _ = server.request("POST", f"/api/sessions/{session}/prompt", json.dumps(prompt).encode())
    assert status == 200, content
    mask = decode_runs(content, SIZE)
    assert mask[39, 55] == 0
    assert (mask[10:30, 12:32] == 1).all()
    prompt["mask"] = ["x"]
    status, content, _ = server.request("POST", f"/api/sessions/{session}/prompt", json.dumps(prompt).encode())
    assert (status, b"no list of runs" in content) == (400, True)
