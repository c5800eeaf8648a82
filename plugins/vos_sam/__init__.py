"""Segment Anything for users and other plugins: initializers from points, boxes, masks, or nothing.

Public for other plugins: ``vos_sam.model`` (load, encode, decode), ``vos_sam.prompt``, ``vos_sam.view``,
``vos_sam.decoder``, ``vos_sam.initializers.choose_mask`` and ``vos_sam.checkpoint``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vos.plugin import Checkpoint, CommandSpec, Initializer, InitializerSpec, Runtime, Shorthand, hookimpl
from vos_sam.known_weights import CHECKPOINTS
from vos_sam.options import BoxesOptions, EdgesOptions, EverythingOptions, MaskOptions, PointsOptions

if TYPE_CHECKING:
    import click


@hookimpl
def vos_initializers() -> Sequence[InitializerSpec]:
    """Offer the Segment Anything initializers."""
    return [
        InitializerSpec(
            "sam-points", "objects at points that you name (Segment Anything)", _points, PointsOptions,
            shorthands=(Shorthand(
                "--points", "Objects at points: + on the object, - beside it (sam-points).",
                option="points", metavar="ID:X,Y,+;...", verbs=("init", "track"),
            ),),
        ),
        InitializerSpec(
            "sam-boxes", "objects in boxes that you name (Segment Anything)", _boxes, BoxesOptions,
            shorthands=(Shorthand(
                "--boxes", "Objects in boxes (sam-boxes).",
                option="boxes", metavar="ID:X0,Y0,X1,Y1;...", verbs=("init", "track"),
            ), Shorthand(
                "--detections", "Objects in boxes of a COCO JSON file that another program wrote (sam-boxes).",
                option="detections", metavar="FILE", verbs=("init", "track"),
            )),
        ),
        InitializerSpec(
            "sam-mask", "a rough mask refined (Segment Anything)", _mask, MaskOptions,
            shorthands=(Shorthand(
                "--sam-mask", "A rough mask, refined by Segment Anything (sam-mask).",
                option="mask", metavar="FILE", verbs=("init",),
            ),),
        ),
        InitializerSpec(
            "sam-everything", "the largest objects, found without a prompt (Segment Anything)", _all, EverythingOptions,
            shorthands=(Shorthand(
                "--everything", "The largest objects, without a prompt (sam-everything).", verbs=("init", "track"),
            ),),
        ),
        InitializerSpec(
            "sam-edges", "edges, as an object with id 1 (Segment Anything)", _edges, EdgesOptions,
            shorthands=(Shorthand("--edges", "Edges, as an object (sam-edges).", verbs=("init",)),),
        ),
    ]  # fmt: skip


@hookimpl
def vos_commands() -> Sequence[CommandSpec]:
    """Offer ``vos sam-eval``."""
    return [CommandSpec("sam-eval", "Score Segment Anything: masks from one point, or edges.", _evaluation)]


@hookimpl
def vos_checkpoints() -> Sequence[Checkpoint]:
    """Offer the published checkpoints of Segment Anything and MobileSAM."""
    return list(CHECKPOINTS.values())


def _evaluation() -> click.Command:
    from vos_sam.evaluation.command import command

    return command


def _points(options: PointsOptions, runtime: Runtime) -> Initializer:
    from vos_sam.initializers import PointsInitializer, parse_points

    parse_points(options.points)  # what the user typed is checked before weights are looked for
    return PointsInitializer(options, _model(options, runtime))


def _boxes(options: BoxesOptions, runtime: Runtime) -> Initializer:
    from vos_sam.initializers import BoxesInitializer, parse_boxes

    if options.detections is None:
        parse_boxes(options.boxes)
    return BoxesInitializer(options, _model(options, runtime))


def _mask(options: MaskOptions, runtime: Runtime) -> Initializer:
    from vos_sam.initializers import MaskInitializer

    return MaskInitializer(options, _model(options, runtime))


def _all(options: EverythingOptions, runtime: Runtime) -> Initializer:
    from vos_sam.everything import EverythingInitializer

    return EverythingInitializer(options, _model(options, runtime))


def _edges(options: EdgesOptions, runtime: Runtime) -> Initializer:
    from vos_sam.edges import EdgesInitializer

    return EdgesInitializer(options, _model(options, runtime))


def _model(options: Any, runtime: Runtime) -> Any:
    from vos_sam.model import load_once

    return load_once(runtime, options.checkpoint, options.model, options.cache_embeddings)
