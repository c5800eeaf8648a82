"""Events of a job's progress: few a second, each with all frames since the last one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vos_web.server.events import EventHub

EVENT_SECONDS = 0.4
"""Least time between two events: each takes a browser milliseconds of processor time that the tracker lacks."""


class ProgressEvents:
    """Publishes progress at once where the last event is long enough ago, else when it is; from any thread."""

    def __init__(self, hub: EventHub) -> None:
        """Publish through a hub."""
        self._hub = hub
        self._lock = threading.RLock()
        self._job: dict[str, Any] | None = None
        self._frames: list[Mapping[str, Any]] = []
        self._timer: threading.Timer | None = None
        self._sent = -math.inf

    def add(self, job: Mapping[str, Any], frames: Sequence[Mapping[str, Any]]) -> None:
        """Take how far a job is, and the frames that it has tracked."""
        with self._lock:
            self._job = dict(job)
            self._frames += frames
            wait = self._sent + EVENT_SECONDS - time.monotonic()
            if wait <= 0:
                self.flush()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Publish what waits; a job's last event follows it."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._job is not None:
                self._hub.publish({"type": "progress", "job": self._job, "frames": self._frames})
                self._job, self._frames, self._sent = None, [], time.monotonic()
