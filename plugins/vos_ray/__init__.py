"""The executor ``ray``: workers are Ray actors, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Executor, ExecutorSpec, hookimpl
from vos_ray.options import RayOptions


@hookimpl
def vos_executors() -> Sequence[ExecutorSpec]:
    """Offer the executor; Ray is imported when it is used."""
    return [ExecutorSpec("ray", "Ray actors, on this machine or an existing cluster.", _ray, RayOptions)]


def _ray(options: RayOptions) -> Executor:
    from vos_ray.executor import RayExecutor

    return RayExecutor(options)
