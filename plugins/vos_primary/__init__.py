"""A first mask without any prompt or download: the primary object of a video, which moves or stands out."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Initializer, InitializerSpec, Runtime, Shorthand, hookimpl
from vos_primary.options import PrimaryOptions


@hookimpl
def vos_initializers() -> Sequence[InitializerSpec]:
    """Offer ``primary-object``."""
    return [
        InitializerSpec(
            "primary-object", "what moves or stands out, without a prompt; no download", _make, PrimaryOptions,
            shorthands=(Shorthand(
                "--primary", "What moves or stands out, without a prompt and without weights (primary-object).",
                verbs=("init", "track"),
            ),),
            needs_weights=False,
        ),
    ]  # fmt: skip


def _make(options: PrimaryOptions, runtime: Runtime) -> Initializer:
    from vos_primary.initializer import PrimaryObjectInitializer

    runtime.torch_device()  # seeds and sets threads; the networks are small and stay on the CPU
    return PrimaryObjectInitializer(options)
