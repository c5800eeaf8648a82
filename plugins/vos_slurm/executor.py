"""Jobs in a Slurm array: each array task does its share of the jobs and appends events to a file of its own."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vos.plugin import ExtraMissingError, Job, JobEvent, VosError, WorkerPlan, output_errors
from vos_batch.one_job import run_job
from vos_slurm.options import SlurmOptions

POLL_SECONDS = 0.5
FINAL = ("done", "failed")


@dataclass
class ArrayTask:
    """One task of the array; submitit pickles it, and calls ``checkpoint`` before Slurm ends it.

    Attributes:
        plan: how the worker is made.
        jobs: this task's share.
        events: file of events, JSON lines; on a shared disk.
        name: for people.
        cpus: threads of the worker; a task sees all cores of its node where Slurm does not bind it to its own.
        interrupted: set by ``checkpoint``. submitit ends the task by an exception at whatever the job does, which is
            reported as the failure of a tracker; no event is written after it.
    """

    plan: WorkerPlan
    jobs: list[Job]
    events: Path
    name: str
    cpus: int
    interrupted: bool = field(default=False, init=False)

    def __call__(self) -> None:
        """Do the jobs that have no final event yet."""
        self.interrupted = False
        finished = {event.job_id for event in read_events(self.events)[0] if event.kind in FINAL}
        os.environ["OMP_NUM_THREADS"] = str(self.cpus)  # torch reads it when the worker imports it
        worker = self.plan.make()
        with self.events.open("a", encoding="utf-8") as file:
            file.write("\n")  # ends the half line that a killed task can leave

            def send(event: JobEvent) -> None:
                if self.interrupted:
                    sys.exit("Slurm interrupted the task.")
                file.write(json.dumps(asdict(event)) + "\n")
                file.flush()

            for job in self.jobs:
                if job.job_id not in finished:
                    run_job(worker, job, self.name, send)

    def checkpoint(self) -> Any:
        """Queue the task again where it was preempted or ran out of time; finished jobs are skipped then."""
        from submitit.helpers import DelayedSubmission

        self.interrupted = True
        return DelayedSubmission(self)


@dataclass
class _Share:
    """One task's share of the jobs and their state, read from its events.

    Attributes:
        task: the latest submitted task.
        handle: submitit's job of it.
        offset: position in its event file up to which events have been read, bytes.
        left: jobs without a final event, in the order in which they run.
        begun: the running job.
        attempts: number of tasks that died in each job.
        stillborn: number of tasks in a row that died before their first job.
    """

    task: ArrayTask
    handle: Any
    offset: int = 0
    left: dict[str, Job] = field(default_factory=dict)
    begun: str | None = None
    attempts: Counter[str] = field(default_factory=Counter)
    stillborn: int = 0

    def __post_init__(self) -> None:
        self.left = {job.job_id: job for job in self.task.jobs}

    def new_events(self) -> Iterator[JobEvent]:
        """Yield the events that the task has written since the last call."""
        events, self.offset = read_events(self.task.events, self.offset)
        for event in events:
            if event.job_id not in self.left:
                continue  # a job that was given up, and whose task lived on
            self.stillborn = 0
            self.begun = event.job_id
            if event.kind in FINAL:
                self.begun = None
                del self.left[event.job_id]
            yield event

    def died(self, retries: int) -> Iterator[JobEvent]:
        """Reorder the jobs of a dead task: its running job moves to the end, or fails after its last attempt.

        Args:
            retries: number of further attempts of a job whose task died.
        """
        reason, name, begun = _reason(self.handle), self.task.name, self.begun
        self.begun = None
        if begun is None:
            self.stillborn += 1
            if self.stillborn <= retries:
                yield JobEvent(next(iter(self.left)), "retried", name, message=reason)
                return
            message = f"its task died {self.stillborn} times before it began a job: {reason}"
            for job_id in list(self.left):
                del self.left[job_id]
                yield JobEvent(job_id, "failed", name, message=message)
            return
        self.attempts[begun] += 1
        job = self.left.pop(begun)
        if self.attempts[begun] <= retries:
            self.left[begun] = job  # behind the others, which it does not keep waiting
            yield JobEvent(begun, "retried", name, message=reason)
        else:
            message = f"its task died {self.attempts[begun]} times: {reason}"
            yield JobEvent(begun, "failed", name, message=message)


class SlurmExecutor:
    """Runs jobs in a Slurm array."""

    def __init__(self, options: SlurmOptions) -> None:
        self._options = options

    def run(self, plan: WorkerPlan, jobs: Sequence[Job]) -> Iterator[JobEvent]:
        """Run all jobs; see ``vos.plugin.Executor``."""
        folder = self._options.folder.resolve() / uuid.uuid4().hex[:12]
        with output_errors(folder):
            folder.mkdir(parents=True)
        tasks = min(self._options.workers, len(jobs))
        array = [
            ArrayTask(plan, list(jobs[n::tasks]), folder / f"events-{n}.jsonl", f"task {n}", self._options.cpus)
            for n in range(tasks)
        ]
        submitter = self._submitter(folder)
        with _submitting(), submitter.batch():
            shares = [_Share(task, submitter.submit(task)) for task in array]
        try:
            yield from self._follow(submitter, shares)
        finally:
            for share in shares:
                if share.left and not share.handle.done():  # one that has done its jobs is about to end
                    share.handle.cancel()

    def _submitter(self, folder: Path) -> Any:
        try:
            import submitit
        except ImportError as error:
            install = 'pip install "vos-toolkit[slurm]"'
            raise ExtraMissingError(f"submitit is not installed ({error}). Install it: {install}") from error
        options = self._options
        try:
            submitter = submitit.AutoExecutor(folder=folder / "logs", cluster=options.cluster)
        except RuntimeError as error:
            raise VosError(
                f"{error}. Is this a machine that can submit to Slurm? -E cluster=local tries it here."
            ) from error
        submitter.update_parameters(
            name="vos",
            timeout_min=options.minutes,
            cpus_per_task=options.cpus,
            gpus_per_node=options.gpus,
            mem_gb=options.memory_gb,
            **({"slurm_partition": options.partition} if options.partition else {}),
        )
        return submitter

    def _follow(self, submitter: Any, shares: list[_Share]) -> Iterator[JobEvent]:
        """Yield events as they appear in the files; resubmit the unfinished jobs of a dead task."""
        while any(share.left for share in shares):
            for share in shares:
                over = share.handle.done()  # asked first: a task that is over writes no more events
                yield from share.new_events()
                if not over or not share.left:
                    continue
                yield from share.died(self._options.retries)
                if share.left:
                    share.task = replace(share.task, jobs=list(share.left.values()))
                    with _submitting():
                        share.handle = submitter.submit(share.task)
            if any(share.left for share in shares):
                time.sleep(POLL_SECONDS)


@contextmanager
def _submitting() -> Iterator[None]:
    """Report errors of a submission in one line."""
    try:
        yield
    except Exception as error:
        raise VosError(f"Slurm takes no array ({type(error).__name__}: {error}).") from error


def read_events(path: Path, offset: int = 0) -> tuple[list[JobEvent], int]:
    """Read the whole lines of an event file.

    Args:
        path: the file; it need not exist yet.
        offset: position to read from, bytes.
    Returns:
        Events, and the position to read from next, at which an incomplete line begins if there is one.
    """
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            events.append(JobEvent(**json.loads(line)))
        except (ValueError, TypeError):
            continue  # torn by a task that was killed
    return events, offset + len(whole)


def _reason(handle: Any) -> str:
    """Say in a line why a task ended: the last line of its traceback or of its stderr, which submitit quotes."""
    error = handle.exception()
    said, *quoted = re.split(r"^-{10,}$", str(error or ""), maxsplit=2, flags=re.MULTILINE)
    text = said if not quoted or "No error stream" in said else quoted[0]
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it ended without an error"
