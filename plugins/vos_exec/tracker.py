"""A tracker in another process; ``docs/exec.md`` describes the protocol."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import vos
from vos.plugin import OptionError, Size
from vos_exec.process import Process

PROTOCOL = 1
OPTIONAL = ("annotate", "forget")


class ExecTracker:
    """A tracker in another process.

    It has ``annotate`` and ``forget`` if the process says that it does.
    """

    def __init__(self, command: str, timeout: float, runtime: vos.Runtime) -> None:
        """Start the process and ask what it can do.

        Args:
            command: program and arguments.
            timeout: seconds for each answer, more than 0.
            runtime: told to the process.
        Raises:
            OptionError: the command cannot be started, or the time limit is not positive.
            TrackerError: the process does not answer as it should.
        """
        if not 0 < timeout < math.inf:
            raise OptionError(f'tracker "exec": option "timeout" is {timeout}, expected seconds above 0.')
        self._known: set[int] = set()
        self._process = Process(command, timeout)
        hello, _ = self._process.ask(
            {
                "call": "hello",
                "protocol": PROTOCOL,
                "device": runtime.device,
                "precision": runtime.precision,
                "threads": runtime.threads,
                "seed": runtime.seed,
            },
            "hello",
        )
        if hello.get("protocol") != PROTOCOL:
            raise self._process.refuse("hello", f"it speaks protocol {hello.get('protocol')!r}, expected {PROTOCOL}.")
        capabilities = hello.get("capabilities", [])
        if not isinstance(capabilities, list) or not set(map(str, capabilities)) <= set(OPTIONAL):
            raise self._process.refuse("hello", f"capabilities are {capabilities!r}, expected some of {OPTIONAL}.")
        for name in capabilities:
            setattr(self, name, getattr(self, f"_{name}"))

    def start(self, frame: vos.Frame, label_map: vos.LabelMap) -> None:
        """As ``vos.plugin.Tracker.start``."""
        given = [frame.image, np.ascontiguousarray(label_map)]
        self._process.ask(_about(frame, "start"), f"start on frame {frame.name}", given)
        self._known = set(vos.object_ids(label_map))

    def step(self, frame: vos.Frame) -> vos.Prediction:
        """As ``vos.plugin.Tracker.step``.

        Raises:
            TrackerError: the process failed, was too late, or answered something else.
        """
        what = f"step on frame {frame.name}"
        most = 4 * frame.size[0] * frame.size[1] * max(1, len(self._known))
        answer, payload = self._process.ask(_about(frame, "step"), what, [frame.image], most)
        try:
            return _prediction(answer, payload, frame.size)
        except (KeyError, TypeError, ValueError) as error:
            missing = isinstance(error, KeyError)
            raise self._process.refuse(what, f"the answer has no {error}." if missing else f"{error}.") from None

    def close(self) -> None:
        """As ``vos.plugin.ClosingTracker.close``: the process ends, at last by force."""
        self._process.close()

    def _annotate(self, frame: vos.Frame, label_map: vos.LabelMap) -> None:
        """As ``vos.plugin.AnnotatingTracker.annotate``; the process has just seen the frame."""
        given = [np.ascontiguousarray(label_map)]
        self._process.ask(_about(frame, "annotate"), f"annotate on frame {frame.name}", given)
        self._known |= set(vos.object_ids(label_map))

    def _forget(self, object_id: int) -> None:
        """As ``vos.plugin.ForgettingTracker.forget``."""
        self._process.ask({"call": "forget", "object_id": object_id}, f"forget of object {object_id}")
        self._known.discard(object_id)


def _about(frame: vos.Frame, call: str) -> dict[str, Any]:
    height, width = frame.size
    about = {"call": call, "index": frame.index, "name": frame.name, "time": frame.time}
    return {**about, "height": height, "width": width}


def _prediction(answer: dict[str, Any], payload: bytes, size: Size) -> vos.Prediction:
    """Make a prediction of an answer, and believe none of its sizes."""
    ids, form = answer["object_ids"], answer.get("form", "label_map")
    height, width = answer["height"], answer["width"]
    if not isinstance(ids, list) or not all(type(i) is int for i in ids):
        raise ValueError(f"object_ids are {ids!r}, expected a list of integers")
    if not (type(height) is int and type(width) is int and 0 < height <= size[0] and 0 < width <= size[1]):
        raise ValueError(f"the answer is {height} high and {width} wide, the frame {size[0]} and {size[1]}")
    if form not in ("label_map", "logits"):
        raise ValueError(f'form is {form!r}, expected "label_map" or "logits"')
    expected = height * width * (1 if form == "label_map" else 4 * len(ids))
    if len(payload) != expected:
        raise ValueError(f"{len(payload)} bytes came for a {form} of {height} x {width}, expected {expected}")
    scores, present = answer.get("scores"), answer.get("present")
    if present is not None and not (isinstance(present, list) and all(value in (0, 1) for value in present)):
        raise ValueError(f"present is {present!r}, expected a list of true and false")  # NumPy takes "false" for true
    if form == "label_map":
        label_map = np.frombuffer(payload, dtype=np.uint8).reshape(height, width)
        return vos.Prediction.from_label_map(label_map, ids, scores, present)
    logits = np.frombuffer(payload, dtype="<f4").reshape(len(ids), height, width)
    return vos.Prediction(ids, logits.astype(np.float32, copy=False), scores, present)
