"""Many videos with one command (``vos batch``), and the executor that runs them on this machine.

Public for other plugins: ``vos_batch.one_job``, what an executor does in its processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vos.plugin import CommandSpec, Executor, ExecutorSpec, hookimpl
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


def _local(options: LocalOptions) -> Executor:
    from vos_batch.local import LocalExecutor

    return LocalExecutor(options)


def _command() -> click.Command:
    from vos_batch.command import command

    return command
