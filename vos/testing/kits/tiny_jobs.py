"""The worker that the kit for executors runs: jobs of a few milliseconds that report, fail or end their process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vos.errors import InputError, VosError
from vos.protocols.executor import ReportFrame, WorkerPlan

WAIT_SECONDS = 60.0
"""A job that waits to be stopped ends after this time, so that a bad executor leaves no process for good."""


class TinyWorker:
    """Does what a job's data says, and logs that it was made and each job that it begins."""

    def __init__(self, folder: str, caller: int) -> None:
        self._folder = Path(folder)
        self._caller = caller
        self._log("made")

    def __call__(self, work: Mapping[str, Any], report: ReportFrame) -> dict[str, Any]:
        """Do one job; see ``vos.plugin.Worker``."""
        name, kind = work["name"], work["kind"]
        self._log(name)
        for frame in range(work.get("frames", 0)):
            report(frame + 1, work["frames"])
        if kind == "bad-input":
            raise InputError("there is no such video")
        if kind == "failing":
            raise VosError("the tracker failed")
        if kind == "broken":
            raise ZeroDivisionError("division by zero")
        if os.getpid() != self._caller:  # a process that the executor made
            if kind == "dies" or (kind == "dies once" and self._begun(name) == 1):
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
            if kind == "waits":
                self._wait()
        return {"name": name, "frames": work.get("frames", 0)}

    def _log(self, what: str) -> None:
        line = f"{what} {os.getpid()}\n".encode()
        descriptor = os.open(self._folder / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)  # one short write is not mixed with those of other processes
        finally:
            os.close(descriptor)

    def _begun(self, name: str) -> int:
        return [line.split()[0] for line in (self._folder / "log.txt").read_text().splitlines()].count(name)

    def _wait(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and not (self._folder / "stop").exists():
            time.sleep(0.02)


def no_worker(folder: str, caller: int) -> TinyWorker:
    """A factory that cannot make its worker."""
    raise VosError("there are no weights for this worker")


def tiny_plan(folder: Path, *, factory: str = "TinyWorker") -> WorkerPlan:
    """Make the plan of a worker that logs its jobs.

    Args:
        folder: for the log; on a disk that the workers share.
        factory: ``TinyWorker`` or ``no_worker``.
    Returns:
        The plan.
    """
    return WorkerPlan(f"{__name__}:{factory}", {"folder": str(folder), "caller": os.getpid()})
