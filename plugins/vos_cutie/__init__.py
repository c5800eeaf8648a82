"""Cutie: the tracker ``cutie``, on the package rf-cutie."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Runtime, Tracker, TrackerSpec, hookimpl
from vos_cutie.options import CutieOptions, check_files


@hookimpl
def vos_trackers() -> Sequence[TrackerSpec]:
    """Offer ``cutie``."""
    summary = "Cutie: object queries over pixel memory, long-term memory; needs a checkpoint"
    own_size = "it resizes frames itself; a smaller -O max_internal_size= does"
    return [TrackerSpec("cutie", summary, _make, CutieOptions, own_size=own_size, check=_check)]


def _check(options: CutieOptions, runtime: Runtime) -> None:
    check_files(options.checkpoint)


def _make(options: CutieOptions, runtime: Runtime) -> Tracker:
    from vos.weights import sha256_of
    from vos_cutie.model import load_cutie
    from vos_cutie.tracker import CutieTracker

    checkpoint = check_files(options.checkpoint)
    network, config = load_cutie(options, runtime.torch_device())
    details = {"checkpoint": checkpoint.name, "sha256": sha256_of(checkpoint)}
    return CutieTracker(network, config, runtime.torch_dtype(), details)
