"""Mattes for editors: objects with soft alpha as ProRes 4444, VP9, EXR; alpha alone as grey video and 16-bit PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vos.plugin import AnyArray, FloatArray, Frame, LabelMap, OutputFolder, Prediction, Run, safe_name
from vos_writers.alpha import ObjectAlpha
from vos_writers.options import MatteOptions, ProresOptions, WebmAlphaOptions, chosen_file, chosen_path, output_path
from vos_writers.timecode import check_fits, shifted, timecode_of
from vos_writers.video_file import IMAGE_FOLDER_FPS, Coding, VideoFile, x264_coding


class MatteVideoWriter:
    """Base of the videos: subclasses name the file and the coding, and make a picture of a frame and its alpha."""

    default_name = ""
    layout = "rgba64le"

    def __init__(self, options: Any) -> None:
        self._options = options
        self._alpha = ObjectAlpha(options.object)
        self._video: VideoFile
        self._run: Run
        self._path = Path()

    def coding(self) -> Coding:
        """Encoder settings."""
        raise NotImplementedError

    def picture(self, frame: Frame, alpha: FloatArray) -> AnyArray:
        """Make the image to encode from a frame and its alpha."""
        raise NotImplementedError

    def outputs(self, folder: Path | None) -> list[Path]:
        """Name the file; see ``vos.plugin.NamingWriter``."""
        return chosen_file(self._options.path, folder, self.default_name)

    def open(self, run: Run) -> None:
        """Begin; see ``vos.plugin.Writer``."""
        timecode = _first_timecode(getattr(self._options, "timecode", None), run)  # before a folder is made
        path = output_path(self._options.path, run, self.default_name, self.default_name)
        self._run, self._path = run, path
        self._video = VideoFile(path, self.coding(), run)
        if timecode is not None and path.suffix.lower() in (".mov", ".mp4"):
            self._video.set_timecode(timecode)

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Encode one frame."""
        picture = self.picture(frame, self._alpha.of(prediction, label_map))
        self._video.add(picture, self.layout, frame)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._video.close()
        self._alpha.warn_if_absent(self._run, self._path)

    def abort(self, error: BaseException) -> None:
        """Remove the unfinished file."""
        self._video.abort()


class ProresWriter(MatteVideoWriter):
    """ProRes 4444 in MOV: 10-bit colours and 16-bit alpha."""

    default_name = "prores.mov"
    _options: ProresOptions

    def coding(self) -> Coding:
        """See the base class."""
        return Coding("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"})

    def picture(self, frame: Frame, alpha: FloatArray) -> AnyArray:
        """RGBA of 16 bits."""
        return _rgba(frame, alpha, 65535, np.uint16, premultiplied=self._options.premultiplied)


class WebmAlphaWriter(MatteVideoWriter):
    """VP9 with an alpha plane in WebM, which browsers play."""

    default_name = "alpha.webm"
    layout = "rgba"
    _options: WebmAlphaOptions

    def coding(self) -> Coding:
        """See the base class."""
        settings = {"crf": str(self._options.crf), "b": "0", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "0"}
        return Coding("libvpx-vp9", "yuva420p", settings, even=True)

    def picture(self, frame: Frame, alpha: FloatArray) -> AnyArray:
        """RGBA of 8 bits."""
        return _rgba(frame, alpha, 255, np.uint8, premultiplied=self._options.premultiplied)


class MatteWriter(MatteVideoWriter):
    """Alpha as a grey H.264 video."""

    default_name = "matte.mp4"
    layout = "rgb24"
    _options: MatteOptions

    def coding(self) -> Coding:
        """See the base class."""
        return x264_coding(self._options.crf)

    def picture(self, frame: Frame, alpha: FloatArray) -> AnyArray:
        """Grey as RGB of 8 bits."""
        return np.asarray(cv2.cvtColor(np.round(alpha * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB))


class SequenceWriter:
    """Base of the sequences of files: ``<sequence>.<number, 4 digits>.<suffix>``."""

    per_frame = True
    default_name = ""
    suffix = ""
    _folder: OutputFolder
    _run: Run

    def __init__(self, options: Any) -> None:
        self._options = options
        self._alpha = ObjectAlpha(options.object)
        self._path = Path()
        self._first = 0
        self._step = 1

    def encode(self, frame: Frame, alpha: FloatArray) -> bytes:
        """The file of one frame."""
        raise NotImplementedError

    def outputs(self, folder: Path | None) -> list[Path]:
        """Name the folder and the files in it; see ``vos.plugin.NamingWriter``."""
        folders = chosen_path(self._options.path, folder, self.default_name)
        return [*folders, *(file for one in folders for file in one.glob(f"*.{self.suffix}"))]

    def open(self, run: Run) -> None:
        """Begin; see ``vos.plugin.Writer``."""
        self._path = output_path(self._options.path, run, self.default_name, self.default_name)
        self._folder, self._run = OutputFolder(self._path), run
        self._step = run.selection.get("step", 1)
        self._first = run.selection.get("start", 0) if run.both_ways else run.annotated[0]

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one file."""
        number = frame.index
        if self._options.start_number is not None:
            number = self._options.start_number + (frame.index - self._first) // self._step
        name = f"{safe_name(self._run.sequence)}.{number:04d}.{self.suffix}"
        self._folder.write(name, self.encode(frame, self._alpha.of(prediction, label_map)))

    def close(self) -> None:
        """Check that the files are still there."""
        self._folder.check()
        self._alpha.warn_if_absent(self._run, self._path)

    def abort(self, error: BaseException) -> None:
        """Keep the files written so far: each is complete."""


class ExrWriter(SequenceWriter):
    """OpenEXR with half floats: linear light, colours multiplied by alpha unless asked for straight."""

    default_name = "exr"
    suffix = "exr"

    def encode(self, frame: Frame, alpha: FloatArray) -> bytes:
        """One EXR file."""
        linear = _LINEAR[frame.image]
        if self._options.premultiplied:
            linear = linear * alpha[..., None]
        planes = np.dstack([linear, alpha]).astype(np.float32)
        picture = av.VideoFrame.from_ndarray(planes, format="gbrapf32le")
        context: Any = av.CodecContext.create("exr", "w")
        context.width, context.height, context.pix_fmt = picture.width, picture.height, "gbrapf32le"
        context.time_base = 1
        context.sample_aspect_ratio = self._run.source.sample_aspect_ratio
        context.options = {"compression": "zip16", "format": "half"}
        packets = [*context.encode(picture), *context.encode(None)]
        return b"".join(bytes(packet) for packet in packets)


class MattePngWriter(SequenceWriter):
    """Alpha as grey PNG of 16 bits."""

    default_name = "matte"
    suffix = "png"
    needs_images = False

    def encode(self, frame: Frame, alpha: FloatArray) -> bytes:
        """One PNG file."""
        grey = np.round(alpha * 65535).astype(np.uint16)
        good, content = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        assert good, "grey pictures of 16 bits can be encoded"
        return content.tobytes()


def _rgba(frame: Frame, alpha: FloatArray, highest: int, kind: Any, *, premultiplied: bool) -> AnyArray:
    colours = frame.image.astype(np.float32) * (highest / 255)
    if premultiplied:
        colours *= alpha[..., None]
    return np.round(np.dstack([colours, alpha * highest])).astype(kind)


def _first_timecode(given: str | None, run: Run) -> str | None:
    """The timecode of the first frame that is written."""
    fps = run.source.fps or IMAGE_FOLDER_FPS
    if given is not None:
        check_fits(given, fps)
    timecode = given or timecode_of(run.source)
    if timecode is None:
        return None
    first = run.selection.get("start", 0) if run.both_ways else run.annotated[0]
    return shifted(timecode, first, fps, run.selection.get("step", 1))


def _linear_table() -> FloatArray:
    """Linear light of sRGB's 256 values (IEC 61966-2-1)."""
    value = np.arange(256, dtype=np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_table()
