"""Shipped writers: DAVIS palette masks, overlay video, a report, RGBA cut-outs, and mattes for editors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from vos.plugin import Writer, WriterSpec, hookimpl
from vos_writers.options import (
    CutoutOptions,
    ExrOptions,
    MatteOptions,
    MattePngOptions,
    OverlayOptions,
    ProresOptions,
    ReportOptions,
    WebmAlphaOptions,
)


@hookimpl
def vos_writers() -> Sequence[WriterSpec]:
    """Offer the writers; each module is imported when its writer is made."""
    return [
        WriterSpec("davis", "Palette PNG masks in DAVIS format, one a frame (the default).", _davis),
        WriterSpec(
            "overlay", "Video of the frames with objects, contours and ids (H.264, or VP9 in WebM).",
            _writer("overlay", "OverlayWriter"), OverlayOptions,
        ),
        WriterSpec(
            "report", "CSV of every object's place, size and confidence in each frame.",
            _writer("report", "ReportWriter"), ReportOptions,
        ),
        WriterSpec(
            "cutouts", "RGBA PNG of each object in each frame.", _writer("cutouts", "CutoutWriter"), CutoutOptions
        ),
        WriterSpec(
            "prores", "ProRes 4444 with soft alpha (MOV).", _writer("mattes", "ProresWriter"), ProresOptions
        ),
        WriterSpec(
            "webm-alpha", "VP9 with alpha (WebM).", _writer("mattes", "WebmAlphaWriter"), WebmAlphaOptions
        ),
        WriterSpec("exr", "EXR sequence: linear RGBA, half floats.", _writer("mattes", "ExrWriter"), ExrOptions),
        WriterSpec("matte", "Grey matte video (H.264).", _writer("mattes", "MatteWriter"), MatteOptions),
        WriterSpec(
            "matte-png", "Grey matte as 16-bit PNG files.", _writer("mattes", "MattePngWriter"), MattePngOptions
        ),
    ]  # fmt: skip


def _davis(options: Any) -> Writer:
    from vos_writers.davis import DavisWriter

    return DavisWriter()


def _writer(module: str, name: str) -> Callable[[Any], Writer]:
    def make(options: Any) -> Writer:
        made: Writer = getattr(import_module(f"vos_writers.{module}"), name)(options)
        return made

    return make
