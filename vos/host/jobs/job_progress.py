"""One progress line for many jobs, in the process that hands them out, and what a worker's run reports for it."""

from __future__ import annotations

from vos.host.progress import Progress
from vos.protocols.executor import JobEvent, ReportFrame
from vos.registry.hookspecs import hookimpl
from vos.types.frame import Frame
from vos.types.run import Run


class JobProgress:
    """Shows the jobs that are done, and the frames of those at work."""

    def __init__(self, progress: Progress) -> None:
        """Start with no job done.

        Args:
            progress: of ``show_progress``, with the number of jobs as its total.
        """
        self._progress = progress
        self._done = 0
        self._frames: dict[str, int] = {}

    def __call__(self, event: JobEvent) -> None:
        """Update from an executor's event."""
        if event.kind == "frame":
            self._frames[event.job_id] = event.frame
        elif event.kind in ("done", "failed"):
            self._frames.pop(event.job_id, None)
            self._done += 1
        note = f"{len(self._frames)} at work, {sum(self._frames.values())} frames" if self._frames else ""
        self._progress.update(self._done, note)


class FrameReporter:
    """Observes a run and reports each of its frames to the executor."""

    def __init__(self, report: ReportFrame) -> None:
        """Start with no frame done.

        Args:
            report: as a worker gets it.
        """
        self._report = report
        self._frames = 0

    @hookimpl
    def vos_frame_done(self, run: Run, frame: Frame) -> None:
        """Report one more frame."""
        self._frames += 1
        self._report(run.frames_before + self._frames, run.frame_count)
