"""Folders of masks: which file belongs to which frame, and which subfolder to which object."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from vos.errors import AnnotationError
from vos.io.frame_names import match_names
from vos.io.masks.mask_decoding import MASK_SUFFIXES
from vos.io.natural_order import natural_order
from vos.types.source_info import SourceInfo

logger = logging.getLogger(__name__)

_SHOWN = 5


def masks_by_frame(folder: Path, info: SourceInfo, *, strict: bool = True) -> dict[int, Path]:
    """Match the mask files of a folder to frames.

    Args:
        folder: the folder.
        info: the source. Frames of a video are called by their index.
        strict: refuse files that fit no frame; else they are logged.
    Returns:
        Files by frame index, ascending, at least one.
    Raises:
        AnnotationError: no file fits a frame, two fit one, or with ``strict`` one fits none.
    """
    files = _mask_files(folder)
    names = info.frame_names if info.frame_names is not None else _names_of_video(files, info.frame_count)
    match = match_names(names, files)
    if match.ambiguous:
        raise AnnotationError(f"{folder}: {_names(match.ambiguous)} fit one frame. Remove all but one.")
    like = f'"{info.frame_names[0]}{files[0].suffix if files else ".png"}"' if info.frame_names else '"00000.png"'
    if not match.files:
        holds = f" It holds {_names(files)}." if files else ""
        raise AnnotationError(
            f"{folder}: no PNG in it is named after a frame of {info.location} (such as {like}).{holds}"
        )
    if match.unmatched:
        line = f"{folder}: {_names(match.unmatched)} fit no frame of {info.location} (frames are named such as {like})"
        if strict:
            raise AnnotationError(f"{line}. Rename them, or move them out of the folder.")
        logger.warning("%s; left out.", line)
    for name in match.renamed[:1]:
        logger.info(
            "%s: masks matched by number: %d, such as %s for frame %s.",
            folder, len(match.renamed), match.files[name].name, name,
        )  # fmt: skip
    index_of = {name: index for index, name in enumerate(names)} if info.frame_names is not None else None
    return {index_of[name] if index_of is not None else int(name): path for name, path in match.files.items()}


def object_folders(folder: Path) -> dict[str, Path] | None:
    """Find the subfolders of a folder that holds one for each object.

    Args:
        folder: the folder.
    Returns:
        Subfolders by name, in natural order; None where the folder holds masks itself or no subfolder does.
    """
    return {path.name: path for path in _folders_of_masks(folder)} or None


def folder_of_sequence(folder: Path, info: SourceInfo) -> Path:
    """Choose the source's own folder among those of several sequences (``OUT/<sequence>``).

    Args:
        folder: the folder given.
        info: the source.
    Returns:
        ``folder``, or its subfolder with the sequence's name; a log line then names the others.
    """
    inner = _folders_of_masks(folder)
    others = [path for path in inner if path.name != info.name]
    if len(others) == len(inner):
        return folder
    if others:
        logger.info("%s: %s is the sequence's folder; left out: %s.", folder, info.name, _names(others))
    return folder / info.name


def shortened(values: list[int]) -> str:
    """Show some of many numbers.

    Args:
        values: in order.
    Returns:
        Up to eight of them and the last.
    """
    shown = ", ".join(str(v) for v in values[:8])
    return shown + (f", ... {values[-1]}" if len(values) > 8 else "")


def _folders_of_masks(folder: Path) -> list[Path]:
    """Subfolders that hold masks; none where the folder holds masks itself."""
    if _mask_files(folder):
        return []
    return natural_order(path for path in folder.iterdir() if path.is_dir() and _mask_files(path))


def _mask_files(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() in MASK_SUFFIXES and path.is_file())
    return natural_order(path for path in found if not path.name.startswith("."))


def _names_of_video(files: Iterable[Path], count: int | None) -> list[str]:
    """The names by which files call the frames of a video: all stems that are the index of a frame, ascending."""
    stems = {path.stem for path in files if path.stem.isdecimal() and path.stem.isascii()}
    return sorted((stem for stem in stems if count is None or int(stem) < count), key=int)


def _names(files: list[Path]) -> str:
    shown = ", ".join(path.name for path in files[:_SHOWN])
    return shown + (f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else "")
