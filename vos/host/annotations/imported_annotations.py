"""Masks in files of other tools: found by asking every format, and matched to the frames of a source."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from vos.errors import AnnotationError, PluginFailedError
from vos.host.annotations.annotation_loading import GivenAnnotations, OneAnnotation
from vos.io.images.image_file import IMAGE_SUFFIXES
from vos.io.masks.mask_decoding import MASK_SUFFIXES
from vos.registry.discovery import Plugins
from vos.registry.plugin_errors import blaming
from vos.types.annotation import Annotation
from vos.types.imported_masks import ImportedFrame, ImportedMasks
from vos.types.label_map import object_ids
from vos.types.source_info import SourceInfo

logger = logging.getLogger(__name__)

FOREIGN_SUFFIXES = frozenset({".json", ".xml", ".zip", ".npz", ".tar", ".yaml", ".txt"})
"""Files that hold no picture: where no format reads one, the message names the formats."""

PICTURE_SUFFIXES = IMAGE_SUFFIXES | MASK_SUFFIXES
"""Files that no format is asked for."""


def read_imported(path: Path | str, plugins: Plugins) -> list[ImportedMasks] | None:
    """Read a file or folder with the first format that accepts it.

    Args:
        path: what a user gave.
        plugins: whose formats are asked, in the order of their names.
    Returns:
        The masks by sequence; None where the path is for no format, such as a picture or a folder of label maps.
    Raises:
        AnnotationError: a file of a format that is damaged, or one that no format reads.
        PluginFailedError: a format failed otherwise, or gave what are no masks; also later, from ``frames``.
    """
    path = Path(path)
    is_foreign = not path.is_dir() and path.suffix.lower() in FOREIGN_SUFFIXES
    if not path.is_dir() and path.suffix.lower() in PICTURE_SUFFIXES:
        return None
    if is_foreign and not path.exists():
        raise AnnotationError(f"{path}: no such file.")
    for spec, origin in plugins.formats.all():
        if spec.importer is None:
            continue
        who = f'format "{spec.name}" of plugin {origin}'
        with blaming(f"{who} failed to read {path}"):
            found = spec.importer(path)
            if found is not None:
                found = [_checked(masks, who, path) for masks in found]
        if found is not None:
            logger.info("%s: read as %s.", path, spec.name)
            return found
    if not is_foreign:
        return None
    formats = ", ".join(spec.name for spec, _ in plugins.formats.all() if spec.importer is not None) or "none"
    raise AnnotationError(f"{path}: no format reads this file. Formats that are read: {formats}.")


def _checked(masks: object, who: str, path: Path) -> ImportedMasks:
    """Make masks whose frames are checked when they are read, and whose failures name the format."""
    if not isinstance(masks, ImportedMasks):
        raise PluginFailedError(f"{who} read a {type(masks).__name__} from {path}, expected ImportedMasks.")

    def frames() -> Iterator[ImportedFrame]:
        with blaming(f"{who} failed to read {path}", leaving=True):
            for frame in masks.frames():
                label_map = np.asarray(frame.label_map)
                if label_map.dtype != np.uint8 or label_map.ndim != 2:
                    raise PluginFailedError(
                        f"{who} read {label_map.dtype} {label_map.shape} for frame {frame.name} of {path}, "
                        "expected uint8 (H, W)."
                    )
                yield frame

    return replace(masks, frames=frames)


def with_imported(given: GivenAnnotations, info: SourceInfo, indices: range, plugins: Plugins) -> GivenAnnotations:
    """Replace files of other tools among given annotations by what is in them.

    Args:
        given: as a user gave it.
        info: the source.
        indices: the frames that will be tracked.
        plugins: whose formats are asked.
    Returns:
        ``given`` where there is none; else annotations: those of a file for all frames that it names, or the one
        label map of a file that is given for a frame.
    Raises:
        AnnotationError: a file that cannot be read, that has several sequences, or that names no frame tracked.
    """
    if isinstance(given, (str, Path)):
        found = read_imported(given, plugins)
        return given if found is None else _annotations(Path(given), _chosen(Path(given), found, info), info, indices)
    if isinstance(given, Mapping):
        by_frame = (int, np.integer)  # other keys name objects
        return {
            key: _one(one, int(key), info, plugins)
            if isinstance(key, by_frame) and not isinstance(one, Mapping)
            else one
            for key, one in given.items()
        }
    return given


def _one(given: OneAnnotation, index: int, info: SourceInfo, plugins: Plugins) -> OneAnnotation:
    """The label map of a file that is given for one frame: the only one in it, or that of the frame."""
    if not isinstance(given, (str, Path)) or Path(given).is_dir():
        return given
    found = read_imported(given, plugins)
    if found is None:
        return given
    frames = [f for f in _chosen(Path(given), found, info).frames() if object_ids(f.label_map)]
    wanted = frames if len(frames) == 1 else [f for f in frames if _index_of(f, info) == index]
    if not wanted:
        raise AnnotationError(f"{given}: holds {len(frames)} frames with objects, and none of them is frame {index}.")
    if len(wanted) > 1:
        raise _two_images(Path(given), index, wanted[1])
    return Annotation(wanted[0].label_map, index)


def _chosen(path: Path, found: list[ImportedMasks], info: SourceInfo) -> ImportedMasks:
    """The sequence of a file that belongs to the source: the only one, or the one of its name."""
    named = found if len(found) == 1 else [masks for masks in found if masks.sequence == info.name]
    if not named:
        shown = ", ".join(masks.sequence for masks in found[:8]) or "none"
        raise AnnotationError(f'{path}: holds {len(found)} sequences ({shown}), none is called "{info.name}".')
    return named[0]


def _annotations(path: Path, masks: ImportedMasks, info: SourceInfo, indices: range) -> list[Annotation]:
    found: dict[int, Annotation] = {}
    first: ImportedFrame | None = None
    strange: list[str] = []
    count = 0
    for frame in masks.frames():
        if not object_ids(frame.label_map):
            continue
        count += 1
        first = first or frame
        index = _index_of(frame, info)
        if index is None or (info.frame_count is not None and index >= info.frame_count):
            strange.append(frame.name)
        elif index in indices:
            if index in found:
                raise _two_images(path, index, frame)
            found[index] = Annotation(frame.label_map, index)
    if first is None:
        raise AnnotationError(f"{path}: holds no frame with objects.")
    if not found and count == 1:
        logger.info("%s: its one frame with objects, %s, is taken for frame %d.", path, first.name, indices[0])
        return [Annotation(first.label_map, indices[0])]
    if not found:
        raise AnnotationError(
            f"{path}: holds {count} frames with objects, the first one {first.name}, and none of them is a frame that "
            "is tracked. Write them with `vos import`, and give each with --mask INDEX:FILE."
        )
    if strange:
        logger.warning(
            "%s: %d of %d frames with objects, the first one %s, are no frames of %s, and left out.",
            path, len(strange), count, strange[0], info.name,
        )  # fmt: skip
    if masks.unclear_ids and len(found) > 1:
        raise AnnotationError(
            f"{path}: {masks.unclear_ids}. Give track ids, or one of these images alone, with --mask INDEX:FILE."
        )
    return [found[index] for index in sorted(found)]


def _two_images(path: Path, index: int, frame: ImportedFrame) -> AnnotationError:
    return AnnotationError(f"{path}: holds two images of frame {index} ({frame.name}). Give the images of one video.")


def _index_of(frame: ImportedFrame, info: SourceInfo) -> int | None:
    named = info.frame_names is not None and frame.name in info.frame_names
    if frame.index is not None and (not named or frame.name.isdecimal()):  # a reader may have made the number up
        return frame.index
    if info.frame_names is not None:
        return info.frame_names.index(frame.name) if named else None
    return int(frame.name) if frame.name.isdecimal() else None
