"""Run a batch on an executor: follow its events, and sum up what was done and what failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from vos.plugin import Executor, JobEvent, OutputExistsError, VosError, WorkerPlan, end_record, read_text, write_text
from vos_batch.jobs import TrackJob

TRACK_WORKER = "vos_batch.track_worker:TrackWorker"


@dataclass
class BatchSummary:
    """What a batch did.

    Attributes:
        jobs: their number.
        done: results by job id; with ``skipped`` True where an earlier run had finished the job.
        failed: the last event of each job that failed.
        retried: how often a job was tried again because its worker died.
        seconds: wall time.
    """

    jobs: int
    done: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, JobEvent] = field(default_factory=dict)
    retried: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 if all jobs are done; 2 if the input of every failed job is at fault; else 1."""
        if not self.failed:
            return 0
        return 2 if all(event.bad_input for event in self.failed.values()) else 1

    def lines(self) -> list[str]:
        """The summary for people; each failure has a line."""
        frames = sum(result["frames"] for result in self.done.values() if not result["skipped"])
        skipped = sum(bool(result["skipped"]) for result in self.done.values())
        parts = [f"{len(self.done)} of {self.jobs} jobs done"]
        parts += [f"{skipped} of them finished before"] if skipped else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [f"{self.retried} tried again after a worker died"] if self.retried else []
        rate = f"{frames} frames in {self.seconds:.1f} s" if frames else "nothing to track"
        failures = [f"failed: {job_id}: {event.message}" for job_id, event in sorted(self.failed.items())]
        return [f"{', '.join(parts)}; {rate}", *failures]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "jobs": self.jobs,
            "done": self.done,
            "failed": {
                job_id: {"message": event.message, "bad_input": event.bad_input}
                for job_id, event in self.failed.items()
            },
            "retried": self.retried,
            "seconds": round(self.seconds, 3),
        }


def run_batch(
    executor: Executor,
    jobs: Sequence[TrackJob],
    plugin_modules: Sequence[str] = (),
    blocked: Sequence[str] = (),
    on_event: Callable[[JobEvent], None] = lambda event: None,
) -> BatchSummary:
    """Run jobs and sum up.

    Args:
        executor: runs them.
        jobs: what to track.
        plugin_modules: as ``-p``, in every worker.
        blocked: as ``--no-plugin``, in every worker.
        on_event: called with every event, in this thread.
    Returns:
        The summary; jobs that failed are in it.
    Raises:
        VosError: the executor cannot run.
    """
    plan = WorkerPlan(TRACK_WORKER, {"plugin_modules": list(plugin_modules), "blocked": list(blocked)})
    summary = BatchSummary(len(jobs))
    began = time.perf_counter()
    at_work: set[str] = set()
    try:
        with closing(_events(executor, plan, jobs)) as events:
            for event in events:
                on_event(event)
                at_work.add(event.job_id)
                if event.kind in ("done", "failed"):
                    at_work.remove(event.job_id)
                if event.kind == "done":
                    summary.done[event.job_id] = dict(event.result)
                elif event.kind == "failed":
                    summary.failed[event.job_id] = event
                    end_record(event.job_id, VosError(event.message))  # its worker may have been killed
                elif event.kind == "retried":
                    summary.retried += 1
    except BaseException as error:
        for job_id in at_work:  # a worker that does not stop in time is killed
            end_record(job_id, error)
        raise
    summary.seconds = time.perf_counter() - began
    return summary


def _events(executor: Executor, plan: WorkerPlan, jobs: Sequence[TrackJob]) -> Any:
    return executor.run(plan, [job.to_job() for job in jobs])


def write_summary(summary: BatchSummary, where: str) -> None:
    """Write the summary as JSON; ``check_summary`` has said that it may be.

    Args:
        summary: of the batch.
        where: a file's path or address.
    Raises:
        OutputError: it cannot be written.
    """
    write_text(where, json.dumps(summary.to_json(), indent=1) + "\n", overwrite=True)


def check_summary(where: str, *, overwrite: bool, own: bool) -> None:
    """Refuse to replace a file by the summary.

    Args:
        where: a file's path or address.
        overwrite: True lets any file be replaced.
        own: True lets an earlier batch's summary be replaced, as in a second run that goes on.
    Raises:
        OutputExistsError: a file is there.
    """
    there = None if overwrite else read_text(where)
    if there is None:
        return
    try:
        content = json.loads(there)
    except (ValueError, RecursionError):
        content = None
    if not (own and isinstance(content, dict) and {"jobs", "done", "failed"} <= set(content)):
        raise OutputExistsError(f"{where}: is there already. Choose another --summary, or --overwrite.")
