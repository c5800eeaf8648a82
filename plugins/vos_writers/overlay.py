"""Overlay video: H.264 with 4:2:0 colours in mp4, the one combination that every browser plays; VP9 in WebM."""

from __future__ import annotations

from pathlib import Path

from vos import draw_objects
from vos.plugin import Frame, LabelMap, Prediction, Run
from vos_writers.options import OverlayOptions, chosen_file, output_path
from vos_writers.video_file import Coding, VideoFile, x264_coding


class OverlayWriter:
    """Encodes frames with their objects drawn.

    An object keeps the colour that it gets in the first frame that has it.
    """

    def __init__(self, options: OverlayOptions) -> None:
        self._options = options
        self._video: VideoFile
        self._colours: dict[int, tuple[int, int, int]] = {}

    def outputs(self, folder: Path | None) -> list[Path]:
        """Name the file; see ``vos.plugin.NamingWriter``."""
        return chosen_file(self._options.path, folder, "overlay.mp4")

    def open(self, run: Run) -> None:
        """Begin; see ``vos.plugin.Writer``."""
        options = self._options
        path = output_path(options.path, run, "overlay.mp4", "overlay")
        if path.suffix.lower() == ".webm":
            settings = {"crf": str(options.crf), "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}
            coding = Coding("libvpx-vp9", "yuv420p", settings, even=True)
        else:
            coding = x264_coding(options.crf)
        self._video = VideoFile(path, coding, run, fps=options.fps, sound=options.sound)

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Draw and encode one frame."""
        options = self._options
        picture = draw_objects(
            frame.image,
            label_map,
            opacity=options.opacity,
            contours=options.contours,
            ids=options.ids,
            notes=_percentages(prediction) if options.scores else None,
            colours=self._colours,
        )
        self._video.add(picture, "rgb24", frame)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._video.close()

    def abort(self, error: BaseException) -> None:
        """Remove the unfinished file."""
        self._video.abort()


def _percentages(prediction: Prediction) -> dict[int, str]:
    if prediction.scores is None:
        return {}
    return {i: f"{100 * score:.0f}%" for i, score in zip(prediction.object_ids, prediction.scores, strict=True)}
