"""The server's side of the worker process: start it, send it jobs, hear its events."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from vos.plugin import InputError

OnEvent = Callable[[dict[str, Any]], None]
STOP_SECONDS = 3.0


class BusyError(InputError):
    """The worker does another job."""


class WorkerProcess:
    """One worker process, started when the first job comes and again if it dies."""

    def __init__(self, plugin_modules: Sequence[str] = (), blocked: Sequence[str] = ()) -> None:
        """Start without a process.

        Args:
            plugin_modules: as ``-p``.
            blocked: as ``--no-plugin``.
        """
        self._plugins = json.dumps({"modules": list(plugin_modules), "blocked": list(blocked)})
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._on_event: OnEvent | None = None

    @property
    def busy(self) -> bool:
        """True while a job runs."""
        return self._on_event is not None

    def run(self, job: dict[str, Any], on_event: OnEvent) -> None:
        """Start a job.

        Args:
            job: a message that ``vos_web.tracking.worker`` knows.
            on_event: told of each event, in a thread of its own; the last one is ``finished``, ``stopped`` or
                ``failed``.
        Raises:
            BusyError: another job runs.
        """
        with self._lock:
            if self._on_event is not None:
                raise BusyError("another job is running. Stop it, or wait for its end.")
            self._on_event = on_event
            try:
                if self._process is None or self._process.poll() is not None:
                    self._start()
                self._send(job)
            except BaseException:
                self._on_event = None
                raise

    def stop(self) -> None:
        """Stop the job after its current frame."""
        with self._lock:
            if self._on_event is not None:
                self._send({"kind": "stop"})

    def close(self) -> None:
        """End the process."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vos_web.tracking.worker", self._plugins],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._listen, args=(self._process,), name="vos-web-worker", daemon=True).start()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            self._process.kill()  # its listener reports the end

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            on_event = self._on_event
            if event["type"] in ("finished", "stopped", "failed"):
                self._on_event = None
            if on_event is not None:
                on_event(event)
        code = process.wait()
        on_event, self._on_event = self._on_event, None
        if on_event is not None:
            on_event({"type": "failed", "error": f"the worker process ended early (exit code {code})."})
