"""First masks without a download: boxes, points, scribbles and rough masks by GrabCut, and polygons as they are."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Initializer, InitializerSpec, Runtime, hookimpl
from vos_grabcut.options import GrabCutOptions, PolygonOptions


@hookimpl
def vos_initializers() -> Sequence[InitializerSpec]:
    """Offer ``grabcut`` and ``polygon``."""
    return [
        InitializerSpec(
            "grabcut", "objects from boxes, points, scribbles or a rough mask; no download", _grabcut, GrabCutOptions
        ),
        InitializerSpec("polygon", "objects inside polygons that you draw; no download", _polygon, PolygonOptions),
    ]


def _grabcut(options: GrabCutOptions, runtime: Runtime) -> Initializer:
    from vos_grabcut.initializers import GrabCutInitializer

    return GrabCutInitializer(options)


def _polygon(options: PolygonOptions, runtime: Runtime) -> Initializer:
    from vos_grabcut.initializers import PolygonInitializer

    return PolygonInitializer(options)
