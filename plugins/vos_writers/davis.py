"""DAVIS masks: ``OUT/<sequence>/<frame>.png``, palette PNG with ids as indices."""

from __future__ import annotations

from pathlib import Path

from vos.plugin import Frame, LabelMap, Prediction, Run, safe_name, write_label_map
from vos_writers.options import output_path


class DavisWriter:
    """Writes each label map as it comes; every file is whole at any time."""

    def __init__(self) -> None:
        self._folder = Path()

    def open(self, run: Run) -> None:
        """Begin; see ``vos.Writer``."""
        self._folder = output_path(run.output, run, "", "davis")

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one mask."""
        write_label_map(self._folder / f"{safe_name(frame.name)}.png", label_map)

    def close(self) -> None:
        """All is written."""

    def abort(self, error: BaseException) -> None:
        """What is written stays, for a look; a new run replaces it."""
