"""Export many finished runs at a time, on an executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vos.conversion.exporting import Export, ExportSettings
from vos.conversion.finished_run import find_results
from vos.errors import VosError
from vos.host.jobs.running import error_of, failure_of, run_jobs
from vos.protocols.executor import Executor, Job, JobEvent, ReportFrame, WorkerPlan
from vos.registry.discovery import load_plugins

EXPORT_WORKER = "vos.conversion.export_worker:ExportWorker"


class ExportWorker:
    """Exports one sequence after another."""

    def __init__(self, to: str, overwrite: bool, plugin_modules: Sequence[str], blocked: Sequence[str]) -> None:
        """Load the plugins; the arguments are those of ``ExportSettings`` and ``load_plugins``."""
        self._settings = ExportSettings(to, {}, overwrite, load_plugins(plugin_modules, blocked))

    def __call__(self, work: Mapping[str, Any], report: ReportFrame) -> dict[str, Any]:
        """Export one sequence.

        Args:
            work: ``result``, its folder; ``folder``, where a writer writes that has no path of its own; ``source``; and
                the writer's ``options``.
            report: called at each frame.
        Returns:
            ``written``: the path.
        """
        settings = self._settings
        (result,) = find_results(Path(work["result"]))
        folder = Path(work["folder"])
        one = Export.prepare(result, settings.spec, work["options"], work["source"], folder, settings.plugins)
        one.check(settings.overwrite)
        for count in one.run():
            report(count, result.frame_count)
        return {"written": str(one.written)}


def run_exports_on(
    executor: Executor,
    jobs: Sequence[Export],
    worker: Mapping[str, Any],
    on_event: Callable[[JobEvent], None] = lambda event: None,
) -> list[Path]:
    """Export sequences on an executor; one that fails leaves the others to be done.

    Args:
        executor: runs the workers.
        jobs: of ``plan_exports``.
        worker: arguments of ``ExportWorker``.
        on_event: called with every event, in this thread.
    Returns:
        What was written, a path for each sequence.
    Raises:
        VosError: sequences that failed.
    """
    work = {
        str(job.result.folder): {
            "result": str(job.result.folder.absolute()),
            "folder": str(job.folder.absolute()),
            "options": {
                name: str(value.absolute()) if isinstance(value, Path) else value for name, value in job.options.items()
            },
            "source": None if job.location is None else str(job.location),
        }
        for job in jobs
    }
    summary = run_jobs(
        executor,
        WorkerPlan(EXPORT_WORKER, worker),
        [Job(folder, one) for folder, one in work.items()],
        on_event,
        are_runs=False,
    )
    failed: dict[str, VosError] = {folder: error_of(event) for folder, event in summary.failed.items()}
    if failed:
        raise failure_of(failed, len(jobs))
    return [job.written for job in jobs]
