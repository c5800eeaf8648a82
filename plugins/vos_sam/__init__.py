"""Segment Anything for users and other plugins: initializers from points, boxes, masks, or nothing.

Public for other plugins: ``vos_sam.model`` (load, encode, decode), ``vos_sam.prompt``, ``vos_sam.view``,
``vos_sam.decoder`` and ``vos_sam.checkpoint``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vos.plugin import Initializer, InitializerSpec, Runtime, hookimpl
from vos_sam.options import BoxesOptions, EdgesOptions, EverythingOptions, MaskOptions, PointsOptions


@hookimpl
def vos_initializers() -> Sequence[InitializerSpec]:
    """Offer the Segment Anything initializers."""
    return [
        InitializerSpec("sam-points", "objects at points that you name (Segment Anything)", _points, PointsOptions),
        InitializerSpec("sam-boxes", "objects in boxes that you name (Segment Anything)", _boxes, BoxesOptions),
        InitializerSpec("sam-mask", "a rough mask refined (Segment Anything)", _mask, MaskOptions),
        InitializerSpec(
            "sam-everything", "the largest objects, found without a prompt (Segment Anything)", _all, EverythingOptions
        ),
        InitializerSpec("sam-edges", "edges, as an object with id 1 (Segment Anything)", _edges, EdgesOptions),
    ]


def _points(options: PointsOptions, runtime: Runtime) -> Initializer:
    from vos_sam.initializers import PointsInitializer

    return PointsInitializer(options, _model(options, runtime))


def _boxes(options: BoxesOptions, runtime: Runtime) -> Initializer:
    from vos_sam.initializers import BoxesInitializer

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
    from vos_sam.model import SegmentAnything

    return SegmentAnything.load(
        runtime,
        checkpoint=options.checkpoint,
        model=options.model,
        cache_embeddings=options.cache_embeddings,
    )
