"""DiffSeg: segments of a frame from Stable Diffusion's self-attention, without labels or text."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Initializer, InitializerSpec, Runtime, hookimpl
from vos_diffseg.options import DiffSegOptions


def _make(options: DiffSegOptions, runtime: Runtime) -> Initializer:
    from vos_diffseg.initializer import DiffSeg

    return DiffSeg(options, runtime)


@hookimpl
def vos_initializers() -> Sequence[InitializerSpec]:
    """Offer "diffseg"."""
    summary = "segments of the frame from Stable Diffusion's attention; no labels, no text (DiffSeg)"
    return [InitializerSpec("diffseg", summary, _make, DiffSegOptions, segments=True)]
