"""The progress bar: an observer, nothing more."""

from __future__ import annotations

from typing import Any

from vos.registry.hookspecs import hookimpl
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.prediction import Prediction
from vos.types.run import Run, RunSummary


class ProgressBar:
    """Shows frames done on stderr once a run takes over a second; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    @hookimpl
    def vos_run_started(self, run: Run) -> None:
        """Make the bar; it appears after a second."""
        from tqdm import tqdm

        self._bar = tqdm(total=run.frame_count, desc=run.sequence, unit="frame", delay=1.0, disable=None)

    @hookimpl
    def vos_frame_done(self, run: Run, frame: Frame, prediction: Prediction, label_map: LabelMap) -> None:
        """Count a frame."""
        self._bar.update()

    @hookimpl
    def vos_run_finished(self, run: Run, summary: RunSummary) -> None:
        """Leave the full bar."""
        self._bar.close()

    @hookimpl
    def vos_run_failed(self, run: Run, error: BaseException) -> None:
        """Leave the bar where it stopped."""
        self._bar.close()
