"""The executor ``slurm``: jobs in a Slurm array, submitted with submitit."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Executor, ExecutorSpec, hookimpl
from vos_slurm.options import SlurmOptions


@hookimpl
def vos_executors() -> Sequence[ExecutorSpec]:
    """Offer the executor; submitit is imported when it is used."""
    return [
        ExecutorSpec("slurm", "A Slurm array, submitted with submitit; preempted tasks go on.", _slurm, SlurmOptions)
    ]


def _slurm(options: SlurmOptions) -> Executor:
    from vos_slurm.executor import SlurmExecutor

    return SlurmExecutor(options)
