"""The embedded tracker ``propagation``: labels follow frozen features, nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vos.plugin import Runtime, Shorthand, TrackerSpec, hookimpl
from vos_propagation.options import PropagationOptions

if TYPE_CHECKING:
    from vos_propagation.dino_protocol import DinoTracker
    from vos_propagation.tracker import PropagationTracker


@hookimpl
def vos_trackers() -> Sequence[TrackerSpec]:
    """Offer the tracker ``propagation``."""
    summary = "labels propagated by feature matching; embedded weights, any number of objects, live on a CPU"
    flag = Shorthand(
        "--quality",
        "Short for -O quality=NAME; the default tracker has fast, balanced and best.",
        option="quality",
        metavar="NAME",
        verbs=("track", "davis"),
    )
    return [TrackerSpec("propagation", summary, _make, PropagationOptions, (flag,))]


def _make(options: PropagationOptions, runtime: Runtime) -> PropagationTracker | DinoTracker:
    if options.backbone != "efficientnet-lite0":
        from vos_propagation.dino_protocol import DinoTracker
        from vos_propagation.vit import describe_vit, load_vit

        return DinoTracker(load_vit(options.backbone), runtime, describe_vit(options.backbone))
    from vos_propagation.tracker import PropagationTracker

    return PropagationTracker(options, runtime)
