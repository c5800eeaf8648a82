"""The executor protocol: run many jobs on worker processes, and report their progress.

A job is plain data. A worker is made once in each process and keeps what is slow to load. A job's state is on
the disk (``run.json`` and complete files), so any executor resumes where another stopped.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from vos.types.whole_numbers import whole_number

EventKind: TypeAlias = Literal["started", "frame", "done", "failed", "retried"]


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        job_id: unique among the jobs of one call.
        work: JSON data that the worker understands.
    """

    job_id: str
    work: Mapping[str, Any]


class NoResult(dict[str, Any]):
    """The result of an event that was made without one; a worker's own result may be empty."""


@dataclass(frozen=True)
class JobEvent:
    """An event in the life of one job, as an executor reports it.

    Attributes:
        job_id: the job.
        kind: ``started``; ``frame``, progress; ``retried``, its worker died and it is queued again; and, once for
            each job and last, ``done`` or ``failed``.
        worker: the worker's name, as shown to the user (``"process 2"``).
        frame: with ``frame``, frames done so far.
        frame_count: with ``frame``, frames in all, or None where the source has no length.
        message: with ``failed`` and ``retried``, one line that says why.
        bad_input: with ``failed``, True if the input is at fault, so that trying again is of no use.
        result: with ``done``, what the worker returned.
    Raises:
        ValueError: the job's id, the worker's name or the message is no text, or a number of frames no whole number.
    """

    job_id: str
    kind: EventKind
    worker: str = ""
    frame: int = 0
    frame_count: int | None = None
    message: str = ""
    bad_input: bool = False
    result: Mapping[str, Any] = field(default_factory=NoResult)

    def __post_init__(self) -> None:
        for what in ("job_id", "worker", "message"):
            if not isinstance(value := getattr(self, what), str):
                raise ValueError(f"job event: {what} is {value!r}, expected text")
        for what in ("frame", "frame_count"):
            if (count := getattr(self, what)) is not None or what == "frame":
                object.__setattr__(self, what, whole_number(count, f"job event: {what}", ValueError))


ReportFrame: TypeAlias = Callable[[int, "int | None"], None]
"""Called by a worker with the frames done so far and their number, or None."""


class Worker(Protocol):
    """Does jobs one after another, in a process of its own."""

    def __call__(self, work: Mapping[str, Any], report: ReportFrame) -> Mapping[str, Any]:
        """Do one job.

        Args:
            work: the job's data.
            report: for progress, at each frame.
        Returns:
            JSON data for the summary.
        Raises:
            InputError: the input is at fault; the job fails and is not tried again.
            VosError: the job failed.
        """
        ...


@dataclass(frozen=True)
class WorkerPlan:
    """Factory of a worker and its arguments, as plain data that any process can receive.

    Attributes:
        factory: a callable that returns a ``Worker``, as ``"package.module:name"``.
        arguments: its keyword arguments, JSON data.
    """

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Worker:
        """Import the factory and call it."""
        module, _, name = self.factory.partition(":")
        worker: Worker = getattr(importlib.import_module(module), name)(**self.arguments)
        return worker


@runtime_checkable
class Executor(Protocol):
    """Runs jobs on workers."""

    def run(self, plan: WorkerPlan, jobs: Sequence[Job]) -> Iterator[JobEvent]:
        """Run all jobs.

        A job whose worker dies is tried again on a new one, a limited number of times. A failed job does not stop the
        others. Closing the iterator stops the workers and leaves no process behind.

        Args:
            plan: how a worker is made.
            jobs: what to run, in the order in which to begin.
        Yields:
            Events of all jobs as they happen; for each job one ``done`` or ``failed`` at last.
        Raises:
            VosError: no worker can be made, or the engine cannot be reached.
        """
        ...
