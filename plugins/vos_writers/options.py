"""Options of the shipped writers, and where they write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vos.plugin import OptionError, OutputError, Run, create_partial, option

OVERLAY_SUFFIXES = (".mp4", ".m4v")


@dataclass(frozen=True)
class OverlayOptions:
    """Options of the overlay video."""

    path: Path | None = option(None, "Video file to write; by default overlay.mp4 beside the masks.")
    opacity: float = option(0.5, "Opacity of the objects' fill, from 0 (contours alone) to 1.")
    contours: bool = option(True, "Draw the objects' edges.")
    ids: bool = option(True, "Write each object's id on it.")
    scores: bool = option(True, "Write the tracker's confidence in each object beside its id, in percent.")
    fps: float | None = option(None, "Frames per second; by default the source's, or 24 for images.")
    crf: int = option(20, "x264 quality, 0 (lossless) to 51; lower is better and larger.")

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a value is out of its range.
        """
        fps_fits = self.fps is None or 0.001 <= self.fps <= 1000
        if not 0 <= self.opacity <= 1 or not 0 <= self.crf <= 51 or not fps_fits:
            raise ValueError("opacity is 0 to 1, crf 0 to 51, fps 0.001 to 1000")
        if self.path is not None and self.path.suffix.lower() not in ("", *OVERLAY_SUFFIXES):
            raise ValueError(f'path is "{self.path}", expected a name that ends in {" or ".join(OVERLAY_SUFFIXES)}')


@dataclass(frozen=True)
class ReportOptions:
    """Options of the report."""

    path: Path | None = option(None, "CSV file to write; by default report.csv beside the masks.")


@dataclass(frozen=True)
class CutoutOptions:
    """Options of the cut-outs."""

    path: Path | None = option(None, "Folder to write to; by default cutouts/ beside the masks.")
    crop: bool = option(False, "Crop each picture to the object's box (inclusive), instead of the whole frame.")


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
    """Begin a file under a temporary name, and find out before the first frame that it cannot be written.

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
