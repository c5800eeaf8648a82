"""Meta's video segmenters through transformers: the trackers ``sam2``, ``edgetam`` and ``sam3-tracker``."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import EncodingTracker, Runtime, TrackerSpec, hookimpl
from vos_hf_video.options import EdgeTamOptions, HfVideoOptions, Sam2Options, Sam3TrackerOptions, find_folder


@hookimpl
def vos_trackers() -> Sequence[TrackerSpec]:
    """Offer the three trackers."""
    own_size = "it resizes frames to the size that the network takes; a smaller model does"
    return [
        TrackerSpec(
            "sam2",
            "SAM 2.1: memory attention over past frames; needs a checkpoint",
            _make,
            Sam2Options,
            own_size=own_size,
            check=_check,
        ),
        TrackerSpec(
            "edgetam",
            "EdgeTAM: SAM 2 made small for phones; needs a checkpoint",
            _make,
            EdgeTamOptions,
            own_size=own_size,
            check=_check,
        ),
        TrackerSpec(
            "sam3-tracker",
            "SAM 3's tracker; needs a checkpoint",
            _make,
            Sam3TrackerOptions,
            own_size=own_size,
            check=_check,
        ),
    ]


def _check(options: HfVideoOptions, runtime: Runtime) -> None:
    find_folder(options, fetch=False)


def _make(options: HfVideoOptions, runtime: Runtime) -> EncodingTracker:
    from vos_hf_video.models import describe_model, load_model
    from vos_hf_video.tracker import HfVideoTracker

    model = load_model(options, runtime.torch_device(), runtime.torch_dtype())
    return HfVideoTracker(model, options, describe_model(options))
