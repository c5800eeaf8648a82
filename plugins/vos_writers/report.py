"""A table of every object in every frame: where it is, how large, and how sure the tracker is."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from vos.plugin import Frame, LabelMap, Prediction, Run, discard_partial, finish_partial, output_errors
from vos_writers.options import ReportOptions, begin_file, chosen_file, output_path

COLUMNS = ("frame_index", "frame", "time", "object_id", "present", "score", "area", "x0", "y0", "x1", "y1")


class ReportWriter:
    """Writes a CSV line for each object that the tracker knows, in each frame.

    ``present`` is 1 if the object has a pixel in the label map; ``score`` is the tracker's confidence
    in [0, 1], empty where it gives none; the box is inclusive, in pixels, empty for an absent object.
    """

    def __init__(self, options: ReportOptions) -> None:
        self._options = options
        self._path = Path()
        self._partial: Path | None = None
        self._file: IO[str] | None = None
        self._table: Any = None

    def outputs(self, folder: Path | None) -> list[Path]:
        """Name the file; see ``vos.plugin.NamingWriter``."""
        return chosen_file(self._options.path, folder, "report.csv")

    def open(self, run: Run) -> None:
        """Begin; see ``vos.plugin.Writer``."""
        self._path = output_path(self._options.path, run, "report.csv", "report")
        self._file, self._partial = begin_file(self._path)
        self._table = csv.writer(self._file)
        self._table.writerow(COLUMNS)

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write the lines of one frame."""
        scores = prediction.scores
        for row, object_id in enumerate(prediction.object_ids):
            mask = (label_map == object_id).astype(np.uint8)
            x, y, width, height = cv2.boundingRect(mask)
            box = (x, y, x + width - 1, y + height - 1) if width else ("", "", "", "")
            score = "" if scores is None else f"{scores[row]:.4f}"
            time = "" if frame.time is None else f"{frame.time:.3f}"
            area = cv2.countNonZero(mask)
            with output_errors(self._path):
                self._table.writerow((frame.index, frame.name, time, object_id, int(width > 0), score, area, *box))

    def close(self) -> None:
        """Finish the table."""
        assert self._file is not None, "open comes first"
        assert self._partial is not None, "open comes first"
        with output_errors(self._path):
            self._file.close()
        finish_partial(self._partial, self._path)

    def abort(self, error: BaseException) -> None:
        """Remove the unfinished table."""
        if self._file is not None:
            with suppress(OSError):  # a full disk takes the last lines no more than those before
                self._file.close()
        if self._partial is not None:
            discard_partial(self._partial)
