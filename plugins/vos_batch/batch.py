"""Run a batch on an executor, and write what was done and what failed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

from vos.plugin import (
    Executor,
    InputError,
    JobEvent,
    JobSummary,
    OutputExistsError,
    WorkerPlan,
    read_text,
    run_jobs,
    write_text,
)
from vos_batch.jobs import TrackJob

TRACK_WORKER = "vos_batch.track_worker:TrackWorker"


def run_batch(
    executor: Executor,
    jobs: Sequence[TrackJob],
    plugin_modules: Sequence[str] = (),
    blocked: Sequence[str] = (),
    on_event: Callable[[JobEvent], None] = lambda event: None,
) -> JobSummary:
    """Track videos and sum up.

    Args:
        executor: runs the jobs.
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
    return run_jobs(executor, plan, [job.to_job() for job in jobs], on_event)


def summary_line(summary: JobSummary) -> str:
    """The summary of a batch for people."""
    frames = sum(result["frames"] for result in summary.done.values() if not result["skipped"])
    skipped = sum(bool(result["skipped"]) for result in summary.done.values())
    parts = [f"{len(summary.done)} of {summary.jobs} jobs done"]
    parts += [f"{skipped} of them finished before"] if skipped else []
    parts += [f"{len(summary.failed)} failed"] if summary.failed else []
    parts += [f"{summary.retried} tried again after a worker died"] if summary.retried else []
    rate = f"{frames} frames in {summary.seconds:.1f} s" if frames else "nothing to track"
    return f"{', '.join(parts)}; {rate}"


def write_summary(summary: JobSummary, where: str) -> None:
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
        own: True lets a second run, which continues a batch, replace the batch's summary.
    Raises:
        InputError: a folder is there, or its folder is a file.
        OutputExistsError: a file is there.
    """
    folder = where.rpartition("/")[0]
    if os.path.isdir(where):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        raise InputError(f"{where}: is a folder, expected the name of a file.")
    if os.path.isfile(folder):  # noqa: PTH113 - as above
        raise InputError(f"{folder}: is a file, expected a folder.")
    there = None if overwrite else read_text(where)
    if there is None:
        return
    try:
        content = json.loads(there)
    except (ValueError, RecursionError):
        content = None
    if not (own and isinstance(content, dict) and {"jobs", "done", "failed"} <= set(content)):
        raise OutputExistsError(f"{where}: is there already. Choose another --summary, or --overwrite.")
