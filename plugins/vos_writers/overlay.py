"""Overlay video: H.264 with 4:2:0 colours in mp4, the one combination that every browser plays."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vos.plugin import (
    Frame,
    Image,
    LabelMap,
    OutputError,
    Prediction,
    Run,
    discard_partial,
    draw_objects,
    finish_partial,
)
from vos_writers.options import OverlayOptions, begin_file, chosen_path, output_path

IMAGE_FOLDER_FPS = 24.0
"""DAVIS clips play at 24 frames a second."""


class OverlayWriter:
    """Encodes frames with their objects drawn, in ascending order whatever the order of tracking."""

    def __init__(self, options: OverlayOptions) -> None:
        self._options = options
        self._path = Path()
        self._partial: Path | None = None
        self._container: Any = None
        self._stream: Any = None
        self._fps = IMAGE_FOLDER_FPS
        self._anchor = 0
        self._spool: tempfile.TemporaryDirectory[str] | None = None
        self._spooled: list[Path] = []

    def outputs(self, folder: Path | None) -> list[Path]:
        """Name the file; see ``vos.NamingWriter``."""
        return chosen_path(self._options.path, folder, "overlay.mp4")

    def open(self, run: Run) -> None:
        """Begin; see ``vos.Writer``."""
        self._path = output_path(self._options.path, run, "overlay.mp4", "overlay")
        self._fps = self._options.fps or run.source.fps or IMAGE_FOLDER_FPS
        self._anchor = run.annotated[0]
        opened, self._partial = begin_file(self._path)
        opened.close()
        try:
            # An absolute path: FFmpeg would take "12:30.mp4" for a protocol named 12.
            self._container = av.open(
                str(self._partial.absolute()), "w", format="mp4", options={"movflags": "+faststart"}
            )
        except (OSError, av.error.FFmpegError) as error:
            raise OutputError(f"{self._path}: cannot be written ({error}). Choose another path.") from error

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Draw and encode one frame; frames before the first annotation come backward and wait on disk."""
        options = self._options
        picture = draw_objects(
            frame.image,
            label_map,
            opacity=options.opacity,
            contours=options.contours,
            ids=options.ids,
            notes=_percentages(prediction) if options.scores else None,
        )
        if frame.index < self._anchor:
            self._put_aside(picture)
            return
        self._encode_spooled()
        self._encode(picture)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._encode_spooled()
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
        assert self._partial is not None, "open comes first"
        finish_partial(self._partial, self._path)

    def abort(self, error: BaseException) -> None:
        """Remove the unfinished file."""
        try:
            self._container.close()
        except av.error.FFmpegError:
            pass  # an empty or half-written file may not close; it is removed all the same
        finally:
            if self._partial is not None:
                discard_partial(self._partial)
            if self._spool is not None:
                self._spool.cleanup()

    def _encode(self, picture: Image) -> None:
        height, width = picture.shape[:2]
        if self._stream is None:
            rate = Fraction(self._fps).limit_denominator(1001)
            self._stream = self._container.add_stream("libx264", rate=rate)
            self._stream.width, self._stream.height = width + width % 2, height + height % 2
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": str(self._options.crf), "preset": "veryfast"}
        if width % 2 or height % 2:
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

    def _put_aside(self, picture: Image) -> None:
        if self._spool is None:
            self._spool = tempfile.TemporaryDirectory(prefix="vos-overlay-")
        path = Path(self._spool.name) / f"{len(self._spooled)}.png"
        good, content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        assert good, "uint8 RGB pictures can be encoded"
        path.write_bytes(content.tobytes())
        self._spooled.append(path)

    def _encode_spooled(self) -> None:
        """Encode what was tracked backward, in ascending order."""
        while self._spooled:
            content = np.frombuffer(self._spooled.pop().read_bytes(), dtype=np.uint8)
            self._encode(np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), dtype=np.uint8))
        if self._spool is not None:
            self._spool.cleanup()
            self._spool = None


def _percentages(prediction: Prediction) -> dict[int, str]:
    if prediction.scores is None:
        return {}
    return {i: f"{100 * score:.0f}%" for i, score in zip(prediction.object_ids, prediction.scores, strict=True)}
