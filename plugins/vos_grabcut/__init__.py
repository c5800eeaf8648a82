"""First masks without a download: clicks and boxes by a learnt decoder, rough masks by GrabCut, polygons."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Initializer, InitializerSpec, Runtime, Shorthand, hookimpl
from vos_grabcut.options import ClickOptions, GrabCutOptions, PolygonOptions


@hookimpl
def vos_initializers() -> Sequence[InitializerSpec]:
    """Offer ``clicks``, ``grabcut`` and ``polygon``."""
    return [
        InitializerSpec(
            "clicks", "objects from clicks, boxes or scribbles by a learnt decoder; no download", _clicks, ClickOptions,
            shorthands=(
                Shorthand(
                    "--clicks", "Objects under clicks, - for beside it, without weights (clicks).",
                    option="points", metavar="ID:X,Y,+;...", verbs=("init", "track"),
                ),
                Shorthand(
                    "--box", "Objects in boxes, without weights (clicks).",
                    option="boxes", metavar="ID:X0,Y0,X1,Y1;...", verbs=("init", "track"),
                ),
                Shorthand(
                    "--scribble", "Objects under strokes, - for beside it, without weights (clicks).",
                    option="scribbles", metavar="ID:X,Y X,Y ... +;...", verbs=("init", "track"),
                ),
            ),
            needs_weights=False,
        ),
        InitializerSpec(
            "grabcut", "objects from boxes, points, scribbles or a rough mask; no download", _grabcut, GrabCutOptions,
            shorthands=(Shorthand(
                "--mask", "A roughly painted mask, fitted to the image without weights (grabcut).",
                option="mask", metavar="FILE", verbs=("init",),
            ),),
            needs_weights=False,
        ),
        InitializerSpec(
            "polygon", "objects inside polygons that you draw; no download", _polygon, PolygonOptions,
            shorthands=(Shorthand(
                "--polygon", "Objects inside polygons (polygon).",
                option="polygons", metavar="ID:X,Y X,Y ...;...", verbs=("init", "track"),
            ),),
            needs_weights=False,
        ),
    ]  # fmt: skip


def _clicks(options: ClickOptions, runtime: Runtime) -> Initializer:
    from vos_grabcut.initializers import ClickInitializer

    runtime.torch_device()  # seeds and sets threads; the networks are small and stay on the CPU
    return ClickInitializer(options)


def _grabcut(options: GrabCutOptions, runtime: Runtime) -> Initializer:
    from vos_grabcut.initializers import GrabCutInitializer

    return GrabCutInitializer(options)


def _polygon(options: PolygonOptions, runtime: Runtime) -> Initializer:
    from vos_grabcut.initializers import PolygonInitializer

    return PolygonInitializer(options)
