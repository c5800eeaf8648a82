"""Shipped writers: DAVIS palette masks, overlay video, a report, RGBA cut-outs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vos.plugin import Writer, WriterSpec, hookimpl
from vos_writers.options import CutoutOptions, OverlayOptions, ReportOptions


@hookimpl
def vos_writers() -> Sequence[WriterSpec]:
    """Offer the writers; each module is imported when its writer is made."""
    return [
        WriterSpec("davis", "Palette PNG masks in DAVIS format, one a frame (the default).", _davis),
        WriterSpec("overlay", "H.264 video of the frames with objects, contours and ids.", _overlay, OverlayOptions),
        WriterSpec("report", "CSV of every object's place, size and confidence in each frame.", _report, ReportOptions),
        WriterSpec("cutouts", "RGBA PNG of each object in each frame.", _cutouts, CutoutOptions),
    ]


def _davis(options: Any) -> Writer:
    from vos_writers.davis import DavisWriter

    return DavisWriter()


def _overlay(options: OverlayOptions) -> Writer:
    from vos_writers.overlay import OverlayWriter

    return OverlayWriter(options)


def _report(options: ReportOptions) -> Writer:
    from vos_writers.report import ReportWriter

    return ReportWriter(options)


def _cutouts(options: CutoutOptions) -> Writer:
    from vos_writers.cutouts import CutoutWriter

    return CutoutWriter(options)
