"""The worker process: tracks and exports for the server, one job at a time.

It reads a JSON message a line from its standard input and answers with a JSON event a line on its standard output.
It ends when its input ends, so it never outlives the server.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vos.plugin import Plugins, Runtime, VosError, load_plugins, replacing, safe_name
from vos_web.messages import page_message
from vos_web.sessions.exporting import export_session
from vos_web.sessions.session import Session
from vos_web.tracking.plan import TrackingPlan
from vos_web.tracking.run import TrackingRunner


class Worker:
    """Does jobs in the main thread while another thread reads messages."""

    def __init__(self, output: Any, plugins: Plugins) -> None:
        self._output = output
        self._jobs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._stop = threading.Event()
        self._plugins = plugins
        self._runner: TrackingRunner | None = None

    def serve(self) -> None:
        """Do jobs until the input ends."""
        threading.Thread(target=self._read, daemon=True).start()
        while (job := self._jobs.get()) is not None:
            self._stop.clear()
            self._do(job)
        if self._runner is not None:
            self._runner.close()

    def _read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if message["kind"] == "stop":
                self._stop.set()
            else:
                self._jobs.put(message)
        self._stop.set()
        self._jobs.put(None)

    def _do(self, job: dict[str, Any]) -> None:
        self._emit({"type": "started"})
        try:
            finished = self._track(job) if job["kind"] == "track" else self._export(job)
        except VosError as error:
            self._emit({"type": "failed", "error": page_message(error)})
        except Exception as error:
            self._emit({"type": "failed", "error": f"unexpected {type(error).__name__}: {error}"})
        else:
            self._emit({"type": "finished" if finished else "stopped"})

    def _track(self, job: Mapping[str, Any]) -> bool:
        if self._runner is None:
            self._runner = TrackingRunner(self._plugins, Runtime(**job["runtime"]))
        plans = [plan_from_json(plan) for plan in job["plans"]]
        session = Session.read(Path(job["folder"]))
        total, before = sum(len(plan.frames) for plan in plans), 0
        for plan in plans:

            def emit(event: dict[str, Any], before: int = before) -> None:
                self._emit({**event, "type": "frame", "done": before + event["done"], "total": total})

            if not self._runner.run(session, plan, job["options"], emit, self._stop.is_set):
                return False
            before += len(plan.frames)
            if self._stop.is_set():
                return before == total
        return True

    def _export(self, job: Mapping[str, Any]) -> bool:
        session = Session.read(Path(job["folder"]))

        def progress(done: int, total: int) -> bool:
            self._emit({"type": "progress", "done": done, "total": total})
            return not self._stop.is_set()

        done = export_session(session, Path(job["output"]), job["writers"], self._plugins, progress, job["overwrite"])
        if done is not None:
            left_out = {"left_out": len(done.left_out), "first_left_out": next(iter(done.left_out), None)}
            path = _zipped(done.folder) if job["zipped"] else done.folder
            self._emit({"type": "exported", "path": str(path), **left_out, "gaps": done.gaps})
        return done is not None

    def _emit(self, event: dict[str, Any]) -> None:
        try:
            self._output.write(json.dumps(event, separators=(",", ":")) + "\n")
            self._output.flush()
        except (BrokenPipeError, ValueError):
            self._stop.set()  # the server is gone; its input ends too


def _zipped(folder: Path) -> Path:
    """Pack an export into one file beside it, and remove the folder."""
    target = folder.parent / f"{safe_name(folder.name)}.zip"
    with replacing(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(folder.name) / path.relative_to(folder))
    shutil.rmtree(folder)
    return target


def plan_from_json(values: Mapping[str, Any]) -> TrackingPlan:
    """Make a plan of what ``dataclasses.asdict`` made of it, after JSON has turned keys to text and tuples to lists."""
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    plain["kept_from"] = {int(i): frame for i, frame in values["kept_from"].items()}
    plain["absent"] = {int(frame): tuple(ids) for frame, ids in values["absent"].items()}
    return TrackingPlan(**plain)


def main() -> None:
    """Serve with the plugins that the argument names, as JSON: ``modules`` and ``blocked`` of ``load_plugins``.

    What plugins print goes to the standard error stream, not among the events.
    """
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    Worker(output, load_plugins(**json.loads(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
