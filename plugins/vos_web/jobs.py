"""Jobs of the worker as the server sees them: begin one, publish its events, keep sessions up to date."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vos_web.server.events import EventHub
from vos_web.server.progress_events import ProgressEvents
from vos_web.sessions.store import OpenSession
from vos_web.tracking.plan import TrackingPlan, plan_all, plan_run
from vos_web.tracking.worker_process import BusyError, WorkerProcess

FRAME_FACTS = ("frame", "levels", "ids", "doubts")
"""What pages hear of a tracked frame; see ``vos_web.tracking.run``."""


class Jobs:
    """Runs one job at a time and sends its events to the pages."""

    def __init__(
        self,
        hub: EventHub,
        runtime: Mapping[str, Any],
        plugin_modules: Sequence[str] = (),
        blocked: Sequence[str] = (),
        tracker_options: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Start without a job.

        Args:
            hub: events go there.
            runtime: arguments of ``vos.Runtime`` for trackers.
            plugin_modules: modules that the worker loads besides the installed plugins.
            blocked: plugins that the worker leaves out.
            tracker_options: by tracker, options by name.
        """
        self._hub = hub
        self._runtime = dict(runtime)
        self._tracker_options = dict(tracker_options or {})
        self._worker = WorkerProcess(plugin_modules, blocked)
        self._lock = threading.Lock()
        self._current: dict[str, Any] | None = None
        self._progress = ProgressEvents(hub)

    @property
    def current(self) -> dict[str, Any] | None:
        """The running job as pages see it, or None."""
        return self._current

    def track(self, opened: OpenSession, frame: int, direction: str, until: str, client: str = "") -> dict[str, Any]:
        """Start tracking.

        Args:
            opened: the session.
            frame: where the person is.
            direction: ``forward``, ``backward``, or ``all``: forward from the first annotation, then backward.
            until: ``end`` or ``pin``.
            client: the page that asks.
        Returns:
            The job as pages see it.
        Raises:
            InputError: nothing to begin from, or a job runs.
        """
        plans = make_plans(opened, frame, direction, until)
        job = {
            "kind": "track",
            "folder": str(opened.session.folder),
            "runtime": self._runtime,
            "options": self._tracker_options.get(opened.session.facts.tracker, {}),
            "plans": [dataclasses.asdict(plan) for plan in plans],
        }
        return self._begin(opened, job, {"kind": "track", "direction": direction, "client": client})

    def export(
        self,
        opened: OpenSession,
        writers: Sequence[tuple[str, Mapping[str, Any]]],
        folder: Path | None,
        overwrite: bool,
        client: str = "",
    ) -> dict[str, Any]:
        """Start an export.

        Args:
            opened: the session.
            writers: names and options.
            folder: results go to ``folder/<sequence>/``; None makes one file for a download.
            overwrite: replace an earlier export.
            client: the page that asks, which downloads the file.
        Returns:
            The job as pages see it.
        Raises:
            InputError: a job runs.
        """
        job = {
            "kind": "export",
            "folder": str(opened.session.folder),
            "output": str(folder or opened.session.folder / "export"),
            "writers": writers,
            "overwrite": overwrite or folder is None,
            "zipped": folder is None,
        }
        return self._begin(opened, job, {"kind": "export", "download": folder is None, "client": client})

    def stop(self) -> None:
        """Ask the running job to stop."""
        self._worker.stop()

    def close(self) -> None:
        """End the worker process."""
        self._worker.close()

    def _begin(self, opened: OpenSession, job: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
        """Start a job; gives it as pages see it at its begin, when it may have ended already."""
        with self._lock:
            if self._worker.busy:
                raise BusyError("another job is running. Stop it, or wait for its end.")
            job_id = f"{time.time_ns():x}"
            self._current = {
                **facts, "id": job_id, "session": opened.session.facts.id, "done": 0, "total": 0, "state": "starting"
            }  # fmt: skip
            begun = dict(self._current)
            opened.frames.allow_decoding_ahead(False)
            # Published before the worker has the job, so that a job that fails at once ends after its begin.
            self._hub.publish({"type": "job", "job": begun})
            try:
                self._worker.run(job, lambda event: self._heard(opened, event))
            except BaseException as error:
                self._current = None
                opened.frames.allow_decoding_ahead(True)
                self._hub.publish({"type": "job", "job": {**begun, "state": "failed", "error": str(error)}})
                raise
        return begun

    def _heard(self, opened: OpenSession, event: dict[str, Any]) -> None:
        current = self._current
        if current is None:
            return
        kind = event["type"]
        if kind == "frame":
            levels = {int(i): int(level) for i, level in event["levels"].items()}
            doubts = {int(i): reason for i, reason in event["doubts"].items()}
            with opened.session.lock:
                if event["frame"] not in opened.session.facts.pins or event["ids"]:
                    opened.session.presence.set(event["frame"], levels, event["ids"], doubts)
        if kind in ("frame", "progress"):
            current.update(done=event["done"], total=event["total"], state="running", fps=event.get("fps"))
            facts = [{name: event[name] for name in FRAME_FACTS}] if kind == "frame" else []
            self._progress.add(current, facts)
            return
        if kind == "exported":
            current.update({name: event[name] for name in ("path", "left_out", "first_left_out", "gaps")})
            if current.get("download"):
                current["download"] = Path(event["path"]).name
            return
        if kind in ("finished", "stopped", "failed"):
            self._progress.flush()
            opened.frames.allow_decoding_ahead(True)
            self._current = None
            current.update(state=kind, error=event.get("error"))
        self._hub.publish({"type": "job", "job": dict(current)})


def make_plans(opened: OpenSession, frame: int, direction: str, until: str) -> list[TrackingPlan]:
    """Plan a run, or the two runs that cover the whole video."""
    session = opened.session
    if direction == "forward":
        return [plan_run(session, frame, "forward", "pin" if until == "pin" else "end")]
    if direction == "backward":
        return [plan_run(session, frame, "backward", "pin" if until == "pin" else "end")]
    return plan_all(session)
