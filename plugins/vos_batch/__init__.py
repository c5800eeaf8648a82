"""Many videos with one command (``vos batch``), and the executor that runs them on this machine.

Public for other plugins: ``vos_batch.one_job``, what an executor does in its processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vos.plugin import CommandSpec, Executor, ExecutorSpec, Frame, ReportFrame, Run, hookimpl
from vos_batch.options import LocalOptions

if TYPE_CHECKING:
    import click


@hookimpl
def vos_executors() -> Sequence[ExecutorSpec]:
    """Offer the executor for this machine."""
    return [ExecutorSpec("local", "Processes of this machine; one for each GPU, if it has any.", _local, LocalOptions)]


@hookimpl
def vos_commands() -> Sequence[CommandSpec]:
    """Offer ``vos batch``."""
    return [CommandSpec("batch", "Track many videos: a manifest, a pattern of files, or a data set.", _command)]


class FrameReporter:
    """Observes a run and reports each of its frames to the executor."""

    def __init__(self, report: ReportFrame) -> None:
        self._report = report
        self._frames = 0

    @hookimpl
    def vos_frame_done(self, run: Run, frame: Frame) -> None:
        """Report one more frame."""
        self._frames += 1
        self._report(run.frames_before + self._frames, run.frame_count)


def _local(options: LocalOptions) -> Executor:
    from vos_batch.local import LocalExecutor

    return LocalExecutor(options)


def _command() -> click.Command:
    from vos_batch.command import command

    return command
