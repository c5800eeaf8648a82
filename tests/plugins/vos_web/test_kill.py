"""The server is killed while it tracks, and the next one goes on; the worker has the plugins of ``-p``."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from vos_web.server.run_length import encode_runs

FRAMES, HELD = 9, 4
PLUGIN = f'''
import os, time
from dataclasses import dataclass
import numpy as np
from vos.plugin import Prediction, TrackerSpec, hookimpl, object_ids

@dataclass(frozen=True)
class Options:
    """None."""

class Mover:
    """Moves objects by a pixel a frame, and waits at one until a file is there."""

    def start(self, frame, label_map):
        self.label_map = label_map

    def step(self, frame):
        while frame.index == {HELD} and not os.path.exists(os.environ["VOS_TEST_GO"]):
            time.sleep(0.02)
        self.label_map = np.roll(self.label_map, 1, axis=1)
        return Prediction.from_label_map(self.label_map, object_ids(self.label_map))

@hookimpl
def vos_trackers():
    return [TrackerSpec("mover", "moves", lambda options, runtime: Mover(), Options)]
'''


class Server:
    """``vos web`` in a process of its own."""

    def __init__(self, folder):
        command = [
            sys.executable, "-m", "vos", "web", str(folder / "frames"), "--no-browser", "-p", "mover_plugin",
            "--no-plugin", "propagation", "--sessions", str(folder / "sessions"), "-o", str(folder / "out"),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(folder), "VOS_TEST_GO": str(folder / "go")}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder)
        self.address = self.process.stdout.readline().strip()

    def ask(self, method, path, body=None):
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.address + path, body, method=method)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.loads(response.read())

    def events(self):
        """Events until the job ends."""
        with urllib.request.urlopen(self.address + "api/events", timeout=120) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mover_plugin.py").write_text(PLUGIN)
    (tmp_path / "frames").mkdir()
    for frame in range(FRAMES):
        cv2.imwrite(str(tmp_path / "frames" / f"{frame:05d}.jpg"), np.full((32, 48, 3), 20 * frame, np.uint8))
    return tmp_path


def known(server, session):
    """Frames that have masks, by the state of the session."""
    edges = server.ask("GET", f"api/sessions/{session}")["known"]
    return [frame for start, end in zip(edges[::2], edges[1::2], strict=True) for frame in range(start, end)]


def test_killed_while_it_tracks_and_gone_on(folder):
    first = np.zeros((32, 48), np.uint8)
    first[8:16, 8:16] = 1
    server = Server(folder)
    start = server.ask("GET", "api/start")
    names = [tracker["name"] for tracker in start["trackers"]]
    assert "mover" in names
    assert "propagation" not in names
    session = f"api/sessions/{start['session']}"
    server.ask("PATCH", session, {"tracker": "mover"})
    server.ask("POST", f"{session}/objects", {})
    server.ask("PUT", f"{session}/pins/0?ids=1", encode_runs(first))
    events = server.events()
    server.ask("POST", f"{session}/track", {"frame": 0, "direction": "forward", "until": "end"})
    for event in events:
        if event["type"] == "progress" and HELD - 1 in [tracked["frame"] for tracked in event["frames"]]:
            break
    server.kill()
    server = Server(folder)
    try:
        assert server.ask("GET", "api/start")["session"] == start["session"]
        assert known(server, start["session"]) == list(range(HELD))
        (folder / "go").touch()
        events = server.events()
        server.ask("POST", f"{session}/track", {"frame": HELD - 1, "direction": "forward", "until": "end"})
        states = (event["job"]["state"] for event in events if event["type"] == "job")
        assert next(state for state in states if state in ("finished", "failed")) == "finished"
        assert known(server, start["session"]) == list(range(FRAMES))
    finally:
        server.kill()
    (masks,) = (folder / "sessions").glob("*/masks")
    last = cv2.imread(str(Path(masks) / f"{FRAMES - 1:06d}.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(last > 0, np.roll(first > 0, FRAMES - 1, axis=1))
