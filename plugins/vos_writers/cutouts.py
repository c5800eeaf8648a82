"""RGBA cut-outs: ``cutouts/<object id>/<frame>.png``, the object opaque and the rest transparent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vos.plugin import Frame, LabelMap, OutputFolder, Prediction, Run, object_ids, safe_name
from vos_writers.alpha import alpha_of
from vos_writers.options import CutoutOptions, chosen_path, output_path

MAX_OBJECTS = 254


class CutoutWriter:
    """Writes a PNG for each object in each frame; a frame without the object has no file."""

    per_frame = True
    _folder: OutputFolder

    def __init__(self, options: CutoutOptions) -> None:
        self._options = options

    def outputs(self, folder: Path | None) -> list[Path]:
        """Name the folder, those of the objects, and the pictures in them; see ``vos.plugin.NamingWriter``."""
        folders = chosen_path(self._options.path, folder, "cutouts")
        of_objects = [pictures / str(number) for pictures in folders for number in range(1, MAX_OBJECTS + 1)]
        return [*folders, *of_objects, *(path for pictures in of_objects for path in pictures.glob("*.png"))]

    def open(self, run: Run) -> None:
        """Begin; see ``vos.plugin.Writer``."""
        self._folder = OutputFolder(output_path(self._options.path, run, "cutouts", "cutouts"))

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write the objects of one frame."""
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        for object_id in object_ids(label_map):
            alpha = np.where(label_map == object_id, np.uint8(255), np.uint8(0))
            box = cv2.boundingRect(alpha)
            if self._options.soft:
                alpha = np.round(alpha_of(prediction, label_map, object_id) * 255).astype(np.uint8)
            cutout = np.dstack([cv2.bitwise_and(bgr, bgr, mask=alpha), alpha])
            if self._options.crop:
                x, y, width, height = box
                cutout = cutout[y : y + height, x : x + width]
            good, content = cv2.imencode(".png", cutout, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            assert good, "uint8 BGRA pictures can be encoded"
            self._folder.write(f"{safe_name(frame.name)}.png", content.tobytes(), str(object_id))

    def close(self) -> None:
        """Check that the pictures are still there."""
        self._folder.check()

    def abort(self, error: BaseException) -> None:
        """Keep the files written so far: each is complete."""
