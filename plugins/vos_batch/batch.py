"""Run a batch on an executor, and write what was done and what failed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from vos.plugin import (
    Executor,
    InputError,
    JobEvent,
    JobSummary,
    OutputExistsError,
    WorkerPlan,
    read_text,
    refuse_existing,
    refuse_replacing,
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


def check_summary(where: str, jobs: Sequence[TrackJob], listed_in: str, *, overwrite: bool, own: bool) -> None:
    """Refuse to replace a file by the summary: an input never, a file of a job's folder never, another one unasked.

    Args:
        where: a file's path or address.
        jobs: what will be tracked.
        listed_in: the manifest, or whatever else names the jobs.
        overwrite: True lets any other file be replaced.
        own: True lets a second run, which continues a batch, replace the batch's summary.
    Raises:
        InputError: a folder is there, or its folder is a file; it is an input, or lies in the folder of a job, or at
            the address of a web server.
        OutputExistsError: a file is there.
    """
    if where.lower().startswith(("http://", "https://")):
        raise InputError(f"{where}: a web server takes no output. Give a folder, or a bucket such as s3://.")
    on_disk = "://" not in where
    if on_disk:
        _check_place(Path(where), jobs, listed_in, own=own)
    if overwrite or (own and _is_summary(read_text(where))):
        return
    if os.path.lexists(where) if on_disk else read_text(where) is not None:
        raise OutputExistsError(f"{where}: is there already. Choose another --summary, or --overwrite.")


def _check_place(path: Path, jobs: Sequence[TrackJob], listed_in: str, *, own: bool) -> None:
    """Refuse a place that is a folder, lies below a file, is an input, or belongs to a job's masks."""
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        raise InputError(f"{path}: is a folder, expected the name of a file.")
    refuse_existing([path], overwrite=True)  # what is there is looked at later; what is above it, here
    place = Path(os.path.realpath(path))
    for job in jobs:
        folder = Path(os.path.realpath(job.to_job().job_id))
        if folder == place or (folder in place.parents and not own):
            raise InputError(f"{path}: the masks of {job.source} go there. Choose another --summary.")
    inputs = [Path(listed_in), *(path for job in jobs for path in _inputs_of(job))]
    refuse_replacing([path], [*inputs, *(path for folder in inputs if not own and _holds(folder, place))])


def _inputs_of(job: TrackJob) -> Iterator[Path]:
    """Yield the paths that a job reads, without addresses."""
    masks = job.masks.values() if isinstance(job.masks, Mapping) else [job.masks]
    yield from (Path(one) for one in (job.source, *masks) if one is not None and "://" not in one)


def _holds(folder: Path, place: Path) -> bool:
    """Test whether a place lies in a folder, by their real paths."""
    return os.path.isdir(folder) and Path(os.path.realpath(folder)) in place.parents  # noqa: PTH112 - as above


def _is_summary(text: str | None) -> bool:
    """Test whether a text is a summary that a batch wrote."""
    try:
        content = json.loads(text or "null")
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"jobs", "done", "failed"} <= set(content)
