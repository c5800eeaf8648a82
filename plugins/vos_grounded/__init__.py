"""Objects of a frame from a text: ``grounded-sam`` (a detector's boxes, then Segment Anything) and ``sam3-text``."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Initializer, InitializerSpec, Runtime, Shorthand, hookimpl
from vos_grounded.options import GroundedSamOptions, Sam3TextOptions

DETECTOR_TYPES = ("grounding-dino", "owlv2")
SAM3_TYPES = ("sam3", "sam3_video")


@hookimpl
def vos_initializers() -> Sequence[InitializerSpec]:
    """Offer "grounded-sam" and "sam3-text"."""
    return [
        InitializerSpec(
            "grounded-sam",
            'each object that a text names, such as "dog; red ball" (Grounding DINO or OWLv2, Segment Anything)',
            _grounded_sam,
            GroundedSamOptions,
            shorthands=(_text(preferred=True),),
            model_types=DETECTOR_TYPES,
        ),
        InitializerSpec(
            "sam3-text",
            'each object that a text names, such as "dog; red ball" (SAM 3)',
            _sam3_text,
            Sam3TextOptions,
            shorthands=(_text(preferred=False),),
            model_types=SAM3_TYPES,
        ),
    ]


def _text(*, preferred: bool) -> Shorthand:
    return Shorthand(
        "--text",
        'Each object that a text names, such as "dog; red ball" (grounded-sam; or sam3-text, groupvit by name).',
        option="text",
        metavar="TEXT",
        verbs=("init", "track"),
        preferred=preferred,
    )


def _grounded_sam(options: GroundedSamOptions, runtime: Runtime) -> Initializer:
    from vos_grounded.grounded_sam import load_initializer

    return load_initializer(options, runtime)


def _sam3_text(options: Sam3TextOptions, runtime: Runtime) -> Initializer:
    from vos_grounded.sam3 import load_initializer

    return load_initializer(options, runtime)
