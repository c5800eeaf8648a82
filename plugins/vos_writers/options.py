"""Options of the shipped writers, and where they write."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vos.plugin import OptionError, OutputError, Run, create_partial, option
from vos_writers.timecode import check_timecode

OVERLAY_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm")


@dataclass(frozen=True)
class OverlayOptions:
    """Options of the overlay video."""

    path: Path | None = option(None, "Video file (mp4, m4v, mov, webm); by default overlay.mp4 beside the masks.")
    opacity: float = option(0.5, "Opacity of the objects' fill, from 0 (contours alone) to 1.")
    contours: bool = option(True, "Draw the objects' contours.")
    ids: bool = option(True, "Write each object's id beside it.")
    scores: bool = option(True, "Write the tracker's confidence in each object beside its id, in percent.")
    fps: float | None = option(None, "A constant rate; by default the frames' own times, or 24 a second for images.")
    crf: int = option(20, "Quality of the video, 0 (lossless) to 51; lower is better and larger.")
    sound: bool = option(False, "Keep the source's sound.")

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a value is out of its range, or a rate of its own would part pictures and sound.
        """
        fps_fits = self.fps is None or 0.001 <= self.fps <= 1000
        if not 0 <= self.opacity <= 1 or not 0 <= self.crf <= 51 or not fps_fits:
            raise ValueError("opacity is 0 to 1, crf 0 to 51, fps 0.001 to 1000")
        if self.sound and self.fps is not None:
            raise ValueError("sound=true keeps in step with the frames' own times alone: leave out fps or sound")
        _check_suffix(self.path, OVERLAY_SUFFIXES)


@dataclass(frozen=True)
class ReportOptions:
    """Options of the report."""

    path: Path | None = option(None, "CSV file to write; by default report.csv beside the masks.")

    def __post_init__(self) -> None:
        """Check the file's name.

        Raises:
            ValueError: another suffix than .csv.
        """
        _check_suffix(self.path, (".csv",))


@dataclass(frozen=True)
class CutoutOptions:
    """Options of the cut-outs."""

    path: Path | None = option(None, "Folder to write to; by default cutouts/ beside the masks.")
    crop: bool = option(False, "Crop each picture to the object's box (inclusive), instead of the whole frame.")
    soft: bool = option(True, "Soft edges, from the tracker's logits; false gives the mask's own pixels.")


_OBJECT = "Only the object with this id; by default all objects together."
_PREMULTIPLIED = "Multiply colours by alpha, as compositing programs may ask for."
_TIMECODE = "Timecode of the source's first frame, HH:MM:SS:FF; by default the source's own."


@dataclass(frozen=True)
class ProresOptions:
    """Options of ProRes 4444."""

    path: Path | None = option(None, "MOV file to write; by default prores.mov beside the masks.")
    object: int | None = option(None, _OBJECT)
    premultiplied: bool = option(False, _PREMULTIPLIED)
    timecode: str | None = option(None, _TIMECODE)

    def __post_init__(self) -> None:
        """Check the timecode and the file's name.

        Raises:
            ValueError: no timecode, or another suffix than .mov.
        """
        check_timecode(self.timecode)
        _check_suffix(self.path, (".mov",))


@dataclass(frozen=True)
class WebmAlphaOptions:
    """Options of VP9 with alpha."""

    path: Path | None = option(None, "WebM file to write; by default alpha.webm beside the masks.")
    object: int | None = option(None, _OBJECT)
    premultiplied: bool = option(False, _PREMULTIPLIED)
    crf: int = option(24, "VP9 quality, 0 to 63; lower is better and larger.")

    def __post_init__(self) -> None:
        """Check ranges and the file's name.

        Raises:
            ValueError: a value is out of its range.
        """
        if not 0 <= self.crf <= 63:
            raise ValueError("crf is 0 to 63")
        _check_suffix(self.path, (".webm",))


@dataclass(frozen=True)
class MatteOptions:
    """Options of the grey matte video."""

    path: Path | None = option(None, "Video file to write (mp4, mov); by default matte.mp4 beside the masks.")
    object: int | None = option(None, _OBJECT)
    crf: int = option(12, "x264 quality, 0 (lossless) to 51; lower is better and larger.")
    timecode: str | None = option(None, _TIMECODE)

    def __post_init__(self) -> None:
        """Check ranges and the file's name.

        Raises:
            ValueError: a value is out of its range.
        """
        if not 0 <= self.crf <= 51:
            raise ValueError("crf is 0 to 51")
        check_timecode(self.timecode)
        _check_suffix(self.path, (".mp4", ".mov"))


@dataclass(frozen=True)
class ExrOptions:
    """Options of the EXR sequence."""

    path: Path | None = option(None, "Folder to write to; by default exr/ beside the masks.")
    object: int | None = option(None, _OBJECT)
    premultiplied: bool = option(True, "Multiply colours by alpha, as EXR has it; false keeps them straight.")
    start_number: int | None = option(None, "Number of the first file; by default the first frame's index.")


@dataclass(frozen=True)
class MattePngOptions:
    """Options of the matte as 16-bit PNG files."""

    path: Path | None = option(None, "Folder to write to; by default matte/ beside the masks.")
    object: int | None = option(None, _OBJECT)
    start_number: int | None = option(None, "Number of the first file; by default the first frame's index.")


def _check_suffix(path: Path | None, suffixes: tuple[str, ...]) -> None:
    if path is not None and path.suffix.lower() not in suffixes:
        raise ValueError(f'path is "{path}", expected a name that ends in {" or ".join(suffixes)}')


def chosen_path(path: Path | None, folder: Path | None, default_name: str) -> list[Path]:
    """The file or folder to write, as a list of one: the one given, or one in the run's own folder.

    Args:
        path: the option, or None.
        folder: the run's own folder, or None.
        default_name: name inside the run's folder.
    Returns:
        Empty where there is neither.
    """
    if path is not None:
        return [path]
    return [] if folder is None else [folder / default_name]


def chosen_file(path: Path | None, folder: Path | None, default_name: str) -> list[Path]:
    """As ``chosen_path``, for a writer of one file: a folder is refused before the run makes anything.

    Raises:
        OptionError: a folder has that name.
    """
    chosen = chosen_path(path, folder, default_name)
    for file in chosen:
        if os.path.isdir(file):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            raise OptionError(f"{file}: is a folder, expected a file to write.")
    return chosen


def output_path(path: Path | None, run: Run, default_name: str, writer: str) -> Path:
    """As ``chosen_path``, ready to be written.

    Args:
        path: the option, or None.
        run: the run.
        default_name: name inside the run's folder.
        writer: the writer's name, for messages.
    Returns:
        A path whose parent folder exists.
    Raises:
        OptionError: no path was given and the run has no folder.
        OutputError: the parent folder cannot be made.
    """
    chosen = next(iter(chosen_path(path, run.output, default_name)), None)
    if chosen is None:
        raise OptionError(f'writer "{writer}" has nowhere to write: give an output folder, or its option "path".')
    try:
        chosen.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{chosen.parent}: cannot be made ({error.strerror}). Choose another folder.") from error
    return chosen


def begin_file(path: Path) -> tuple[IO[str], Path]:
    """Create a file under a temporary name, so that an unwritable path fails before the first frame.

    Args:
        path: the final file; its folder exists.
    Returns:
        The temporary file, open for text in UTF-8 (a name that is no UTF-8 is written byte for byte), and its path for
        ``finish_partial`` and ``discard_partial``.
    Raises:
        OptionError: ``path`` is a folder.
        OutputError: its folder is not writable, or ``path`` is a device, a fifo or a socket.
    """
    if path.is_dir():
        raise OptionError(f"{path}: is a folder, expected a file to write.")
    partial = create_partial(path)
    return partial.open("w", encoding="utf-8", errors="surrogateescape", newline=""), partial
