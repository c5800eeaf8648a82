"""PerSAM: the trackers ``persam`` and ``persam-f``, ``vos personalize`` for images and ``vos perseg``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vos.plugin import CommandSpec, Runtime, TrackerSpec, hookimpl
from vos_persam.options import PersamFOptions, PersamOptions

if TYPE_CHECKING:
    import click


@hookimpl
def vos_trackers() -> Sequence[TrackerSpec]:
    """Offer the trackers ``persam`` and ``persam-f``."""
    plain = "Segment Anything prompted by similarity to the first frame's objects; needs a checkpoint"
    own_size = "it resizes frames to the size that Segment Anything takes; a smaller -O model= does"
    learnt = "persam with two mask weights learnt for each object from the first frame; needs a checkpoint"
    return [
        TrackerSpec("persam", plain, _make, PersamOptions, own_size=own_size, check=_check),
        TrackerSpec("persam-f", learnt, _make, PersamFOptions, own_size=own_size, check=_check),
    ]


@hookimpl
def vos_commands() -> Sequence[CommandSpec]:
    """Offer ``vos personalize`` and ``vos perseg``."""
    return [
        CommandSpec("personalize", "Segment the objects of a reference image in other images.", _command),
        CommandSpec("perseg", "PerSeg's table: segment and score, the reference's mask shrunk or enlarged.", _perseg),
    ]


def _check(options: PersamOptions, runtime: Runtime) -> None:
    from vos_sam.known_weights import resolve_checkpoint

    resolve_checkpoint(options.checkpoint, options.model, runtime.cache)


def _make(options: PersamOptions, runtime: Runtime) -> Any:
    from vos_persam.official import OfficialTracker
    from vos_persam.tracker import PersamTracker
    from vos_sam.model import SegmentAnything

    sam = SegmentAnything.load(
        runtime,
        checkpoint=options.checkpoint,
        model=options.model,
        cache_embeddings=options.cache_embeddings,
    )
    return OfficialTracker(sam, options) if options.compat else PersamTracker(sam, options)


def _command() -> click.Command:
    from vos_persam.command import command

    return command


def _perseg() -> click.Command:
    from vos_persam.perseg import command

    return command
