"""Ctrl-C ends a run at once, whatever its threads wait for."""

import json
import os
import signal
import subprocess
import sys

import pytest

RUN = """
import faulthandler, signal, sys, threading
import vos
from vos.testing import tiny_sequence

class Hanging:
    def encode(self, frames):
        if frames[-1].index:
            print("hangs", flush=True)
            for _ in range(600):  # a signal just before a wait comes only after it
                threading.Event().wait(0.1)
        return [None] * len(frames)
    def start(self, frame, label_map, encoding): ...
    def step(self, frame, encoding): return vos.Prediction.from_label_map(first, (1,))

sequence = tiny_sequence()
first = (sequence.label_maps[0] > 0).astype("uint8")
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal: a shell's background jobs ignore it
faulthandler.dump_traceback_later(20)
vos.track(sequence, first, tracker=Hanging(), output=sys.argv[1])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_while_frames_are_encoded_ahead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", RUN, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"hangs\n"
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=30)  # the call itself hangs for 60 seconds
    except subprocess.TimeoutExpired:
        child.kill()
        pytest.fail(f"still running; its threads after 20 s:\n{child.communicate()[1].decode()}")
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGINT
    assert said.strip().endswith(b"KeyboardInterrupt")
    (record,) = tmp_path.rglob("run.json")
    assert json.loads(record.read_text())["state"] == "stopped"
