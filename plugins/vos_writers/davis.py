"""DAVIS masks: ``OUT/<sequence>/<frame>.png``, palette PNG with ids as indices."""

from __future__ import annotations

from vos.plugin import Frame, LabelMap, OutputFolder, Prediction, Run, safe_name
from vos_writers.options import output_path


class DavisWriter:
    """Writes each label map as it comes; every file is whole at any time."""

    per_frame = True
    _folder: OutputFolder

    def open(self, run: Run) -> None:
        """Begin; see ``vos.plugin.Writer``."""
        self._folder = OutputFolder(output_path(run.output, run, "", "davis"))

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one mask."""
        self._folder.write_label_map(f"{safe_name(frame.name)}.png", label_map)

    def close(self) -> None:
        """Check that the masks are still there."""
        self._folder.check()

    def abort(self, error: BaseException) -> None:
        """Keep the masks written so far for inspection; a new run replaces them."""
