"""Run one job on a worker and say how it ended: what every executor does in its processes."""

from __future__ import annotations

from collections.abc import Callable

from vos.plugin import InputError, Job, JobEvent, VosError, Worker


def run_job(worker: Worker, job: Job, name: str, send: Callable[[JobEvent], None]) -> None:
    """Run one job, and report its start, its frames and its end.

    Args:
        worker: does the work.
        job: the work.
        name: the worker's name, for people.
        send: takes each event; the last is ``done`` or ``failed``. An exception of the job becomes ``failed``.
    """
    send(JobEvent(job.job_id, "started", name))

    def report(frame: int, frame_count: int | None) -> None:
        send(JobEvent(job.job_id, "frame", name, frame, frame_count))

    try:
        result = worker(job.work, report)
    except VosError as error:
        send(JobEvent(job.job_id, "failed", name, message=str(error), bad_input=isinstance(error, InputError)))
    except Exception as error:
        send(JobEvent(job.job_id, "failed", name, message=f"unexpected {type(error).__name__}: {error}"))
    else:
        send(JobEvent(job.job_id, "done", name, result=result))
