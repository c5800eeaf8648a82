"""The embedded trackers: ``propagation``, which needs no download, and ``dino``, DINO's published protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vos.plugin import Runtime, Shorthand, TrackerSpec, hookimpl
from vos_propagation.config import DinoOptions, PropagationOptions

if TYPE_CHECKING:
    from vos_propagation.dino.protocol import DinoTracker
    from vos_propagation.pipeline import PropagationTracker


@hookimpl
def vos_trackers() -> Sequence[TrackerSpec]:
    """Offer the trackers ``propagation`` and ``dino``."""
    propagation = "labels propagated by feature matching; embedded weights, any number of objects, live on a CPU"
    quality = Shorthand(
        "--quality",
        "Short for -O quality=NAME; the default tracker has fast, balanced and best.",
        option="quality",
        metavar="NAME",
        verbs=("track", "davis"),
    )
    dino = "DINO's published protocol on a Vision Transformer of yours: ViT, DINO, DINOv2 or DINOv3"
    return [
        TrackerSpec(
            "propagation",
            propagation,
            _make_propagation,
            PropagationOptions,
            (quality,),
            own_size="it resizes frames itself; --quality fast or a smaller -O side= does",
        ),
        TrackerSpec(
            "dino",
            dino,
            _make_dino,
            DinoOptions,
            own_size="it works at a short side of 480 pixels, as published",
            check=_check_dino,
        ),
    ]


def _make_propagation(options: PropagationOptions, runtime: Runtime) -> PropagationTracker:
    from vos_propagation.ops.kernel_cache import bound_kernel_cache
    from vos_propagation.pipeline import PropagationTracker

    bound_kernel_cache()
    return PropagationTracker(options, runtime)


def _check_dino(options: DinoOptions, runtime: Runtime) -> None:
    from vos_propagation.dino.backbone_files import split_backbone

    split_backbone(options.backbone)


def _make_dino(options: DinoOptions, runtime: Runtime) -> DinoTracker:
    from vos_propagation.dino.protocol import DinoTracker
    from vos_propagation.dino.vit import describe_vit, load_vit

    return DinoTracker(load_vit(options.backbone), runtime, describe_vit(options.backbone))
