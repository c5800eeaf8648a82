"""``vos web``: annotate, track, correct and export in a page that a local server offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vos.plugin import CommandSpec, Frame, LabelMap, Prediction, Run, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def vos_commands() -> Sequence[CommandSpec]:
    """Offer ``vos web``."""
    return [CommandSpec("web", "Annotate, track, correct and export a video in the browser.", _web)]


def _web() -> click.Command:
    from vos_web.command import command

    return command


class LastPrediction:
    """An observer that keeps the latest frame's prediction, for its scores.

    Attributes:
        prediction: the tracker's answer for the frame that ``vos.stream`` has just yielded, or None before the first.
    """

    def __init__(self) -> None:
        self.prediction: Prediction | None = None

    @hookimpl
    def vos_frame_done(self, run: Run, frame: Frame, prediction: Prediction, label_map: LabelMap) -> None:
        """Store the prediction."""
        self.prediction = prediction
