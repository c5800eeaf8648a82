"""The tracker ``sam2``: SAM 2.1's video predictor, through transformers."""

from dataclasses import dataclass

from vos.plugin import TrackerSpec, hookimpl, option

VOS_API = 1


@dataclass(frozen=True)
class Sam2Options:
    """What a user may choose."""

    model: str = option(
        "facebook/sam2.1-hiera-tiny", "A folder or a hub id with a SAM 2 or 2.1 video model in transformers' format."
    )
    encode_batch: int = option(1, "How many frames are encoded at once; more is faster on a GPU.")


def make_tracker(options, runtime):
    """Load the model; torch and transformers are imported here, when the tracker is used."""
    from vos_sam2.tracker import Sam2Tracker, load_model

    model = load_model(options.model, runtime.torch_device(), runtime.torch_dtype())
    return Sam2Tracker(model, options.encode_batch)


@hookimpl
def vos_trackers():
    """Offer ``sam2``."""
    return [TrackerSpec("sam2", "SAM 2.1: memory attention over past frames.", make_tracker, Sam2Options)]
