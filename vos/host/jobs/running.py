"""Run jobs on an executor: follow its events, and sum up what was done and what failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from vos.errors import InputError, VosError
from vos.host.jobs.checked_executor import LAST_KINDS, CheckedExecutor
from vos.host.outputs.remote_output import end_record
from vos.protocols.executor import Executor, Job, JobEvent, WorkerPlan


@dataclass
class JobSummary:
    """Outcome of a set of jobs.

    Attributes:
        jobs: their number.
        done: the workers' results, by job id.
        failed: the last event of each job that failed.
        retried: how often a job was tried again because its worker died.
        seconds: wall time.
    """

    jobs: int
    done: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: dict[str, JobEvent] = field(default_factory=dict)
    retried: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 if all jobs are done; 2 if the input of every failed job is at fault; else 1."""
        if not self.failed:
            return 0
        return 2 if all(event.bad_input for event in self.failed.values()) else 1

    @property
    def failures(self) -> list[str]:
        """A line for each job that failed."""
        return [f"failed: {job_id}: {event.message}" for job_id, event in sorted(self.failed.items())]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "jobs": self.jobs,
            "done": {job_id: dict(result) for job_id, result in self.done.items()},
            "failed": {
                job_id: {"message": event.message, "bad_input": event.bad_input}
                for job_id, event in self.failed.items()
            },
            "retried": self.retried,
            "seconds": round(self.seconds, 3),
        }


def run_jobs(
    executor: Executor,
    plan: WorkerPlan,
    jobs: Sequence[Job],
    on_event: Callable[[JobEvent], None] = lambda event: None,
    *,
    are_runs: bool = True,
) -> JobSummary:
    """Run jobs and sum up.

    Args:
        executor: runs them.
        plan: how a worker is made.
        jobs: what to do.
        on_event: called with every event, in this thread.
        are_runs: each job's id is the folder or the address of a run: one whose worker is killed leaves no ``run.json``
            that says "running".
    Returns:
        The summary; jobs that failed are in it.
    Raises:
        VosError: the executor cannot run, or failed.
    """
    summary = JobSummary(len(jobs))
    checked = executor
    if not isinstance(checked, CheckedExecutor):
        checked = CheckedExecutor(executor, f"executor {type(executor).__name__}")
    began = time.perf_counter()
    at_work: set[str] = set()
    try:
        with closing(checked.run(plan, jobs)) as events:
            for event in events:
                at_work.add(event.job_id)
                on_event(event)
                if event.kind in LAST_KINDS:
                    at_work.remove(event.job_id)
                if event.kind == "done":
                    summary.done[event.job_id] = event.result
                elif event.kind == "failed":
                    summary.failed[event.job_id] = event
                    if are_runs:  # its worker may have been killed
                        end_record(event.job_id, VosError(event.message))
                elif event.kind == "retried":
                    summary.retried += 1
    except BaseException as error:
        for job_id in at_work if are_runs else ():  # a worker that does not stop in time is killed
            end_record(job_id, error)
        raise
    summary.seconds = time.perf_counter() - began
    return summary


def error_of(event: JobEvent) -> VosError:
    """Make the error of a job that failed: an ``InputError`` where its input is at fault."""
    return (InputError if event.bad_input else VosError)(event.message)


def failure_of(failed: Mapping[str, VosError], count: int, what: str = "sequences") -> VosError:
    """Make one error for all sequences that failed.

    Args:
        failed: errors by the sequences' names.
        count: how many sequences there are.
        what: they are, for the message.
    Returns:
        The error of the only sequence; else one that lists them, an ``InputError`` where all of them are.
    """
    if count == 1:
        return next(iter(failed.values()))
    kind = InputError if all(isinstance(error, InputError) for error in failed.values()) else VosError
    first, *others = dict.fromkeys(str(error) for error in failed.values())
    if len(failed) == count and not others:
        return kind(f"all {count} {what} failed: {first}")
    lines = "\n".join(f"  {name}: {error}" for name, error in failed.items())
    rest = "" if len(failed) == count else "; the others are done"
    return kind(f"{len(failed)} of {count} {what} failed{rest}.\n{lines}")
