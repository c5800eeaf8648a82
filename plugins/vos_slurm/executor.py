"""Jobs in a Slurm array: each array task does its share of the jobs and appends events to a file of its own."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vos.plugin import ExtraMissingError, Job, JobEvent, VosError, WorkerPlan
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
    """

    plan: WorkerPlan
    jobs: list[Job]
    events: Path
    name: str

    def __call__(self) -> None:
        """Do the jobs that have no final event yet."""
        finished = {event.job_id for event in read_events(self.events)[0] if event.kind in FINAL}
        worker = self.plan.make()
        with self.events.open("a", encoding="utf-8") as file:

            def send(event: JobEvent) -> None:
                file.write(json.dumps(asdict(event)) + "\n")
                file.flush()

            for job in self.jobs:
                if job.job_id not in finished:
                    run_job(worker, job, self.name, send)

    def checkpoint(self) -> Any:
        """Queue the task again where it was preempted or ran out of time; finished jobs are skipped then."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SlurmExecutor:
    """Runs jobs in a Slurm array."""

    def __init__(self, options: SlurmOptions) -> None:
        self._options = options

    def run(self, plan: WorkerPlan, jobs: Sequence[Job]) -> Iterator[JobEvent]:
        """Run all jobs; see ``vos.plugin.Executor``."""
        folder = self._options.folder.resolve() / uuid.uuid4().hex[:12]
        folder.mkdir(parents=True)
        tasks = min(self._options.workers, len(jobs))
        array = [ArrayTask(plan, list(jobs[n::tasks]), folder / f"events-{n}.jsonl", f"task {n}") for n in range(tasks)]
        submitter = self._submitter(folder)
        try:
            with submitter.batch():
                handles = [submitter.submit(task) for task in array]
        except Exception as error:
            raise VosError(f"Slurm takes no array ({type(error).__name__}: {error}).") from error
        try:
            yield from self._follow(submitter, array, handles)
        finally:
            for handle in handles:
                if not handle.done():
                    handle.cancel()

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

    def _follow(self, submitter: Any, array: list[ArrayTask], handles: list[Any]) -> Iterator[JobEvent]:
        """Give events as they appear in the files; submit a dead task's remaining jobs again."""
        offsets = [0] * len(array)
        attempts = [0] * len(array)
        final: set[str] = set()
        remaining = sum(len(task.jobs) for task in array)
        while remaining:
            over = [handle.done() for handle in handles]
            for number, task in enumerate(array):
                events, offsets[number] = read_events(task.events, offsets[number])
                for event in events:
                    remaining -= event.kind in FINAL
                    final.update([event.job_id] if event.kind in FINAL else [])
                    yield event
                left = [job for job in task.jobs if job.job_id not in final]
                if not over[number] or not left:
                    continue
                attempts[number] += 1
                reason = _reason(handles[number])
                if attempts[number] <= self._options.retries:
                    yield JobEvent(left[0].job_id, "retried", task.name, message=reason)
                    handles[number] = submitter.submit(task)
                    continue
                for job in left:
                    remaining -= 1
                    final.add(job.job_id)
                    yield JobEvent(job.job_id, "failed", task.name, message=f"its task died: {reason}")
            if remaining:
                time.sleep(POLL_SECONDS)


def read_events(path: Path, offset: int = 0) -> tuple[list[JobEvent], int]:
    """Read the whole lines of an event file.

    Args:
        path: the file; it need not exist yet.
        offset: where to begin, in bytes.
    Returns:
        Events, and where the next reading begins. A line that is not whole yet is left for then.
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
            continue  # torn by a task that was killed and began again on the same line
    return events, offset + len(whole)


def _reason(handle: Any) -> str:
    error = handle.exception()
    lines = str(error).strip().splitlines() if error is not None else []
    return lines[-1] if lines else "it ended without an error"
