"""From what a user gives as annotations to label maps at frame indices."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from vos.errors import AnnotationError
from vos.io.mask_file import read_label_map
from vos.types.annotation import Annotation
from vos.types.arrays import LabelMap
from vos.types.label_map import object_ids
from vos.types.source_info import SourceInfo

logger = logging.getLogger(__name__)

OneAnnotation: TypeAlias = Annotation | LabelMap | str | Path
GivenAnnotations: TypeAlias = OneAnnotation | Sequence[Annotation] | Mapping[int, OneAnnotation] | None
"""One annotation for the first frame; several, or by frame index; None for those beside the frames."""

_EXPECTED = "a label map (uint8 (H, W)), a mask file or a vos.Annotation"


def gather_annotations(given: GivenAnnotations, info: SourceInfo, indices: range) -> dict[int, Annotation]:
    """Read and check annotations.

    Args:
        given: an ``Annotation``, a label map, a mask file or a folder of mask files named as frames;
            a list of ``Annotation``; a mapping from frame index to any of the first three; or None
            to take the objects' first appearances from ``info.annotation_folder``.
        info: the source.
        indices: the frames that will be tracked. What has no frame index of its own is for the first.
    Returns:
        Annotations by frame index, ascending, at least one.
    Raises:
        AnnotationError: none given, an unreadable or empty mask, a wrong size, or a frame that is
            not tracked.
    """
    found: dict[int, Annotation] = {}
    for annotation in _each(given, info, indices):
        index = annotation.frame_index
        if index not in indices:
            raise AnnotationError(f"annotation of frame {index}: {_not_tracked(info, indices)}")
        if index in found:
            raise AnnotationError(f"frame {index} has two annotations; give one label map with all its objects.")
        if info.size is not None and annotation.size != info.size:
            (height, width), (rows, columns) = annotation.size, info.size
            raise AnnotationError(
                f"annotation of frame {index} is {width}x{height}, the frames are {columns}x{rows}. "
                "Draw or resize the mask (nearest neighbour) at the frame's size."
            )
        found[index] = annotation
    return dict(sorted(found.items()))


def _each(given: GivenAnnotations, info: SourceInfo, indices: range) -> Iterator[Annotation]:
    if given is None:
        yield from _first_appearances(info, indices)
    elif isinstance(given, Mapping):
        if not given:
            raise AnnotationError("no annotation given: an empty dict. Give a label map of the first frame.")
        for index, one in given.items():
            if not isinstance(index, (int, np.integer)):
                raise AnnotationError(f"annotations by frame have a key {index!r}, expected a frame index such as 25.")
            if isinstance(one, Annotation) and one.frame_index != index:
                raise AnnotationError(
                    f"frame {index} is given the annotation of frame {one.frame_index}. Make them one."
                )
            yield _one(one, int(index), info)
    elif isinstance(given, (str, Path)) and Path(given).is_dir():
        yield from _from_folder(Path(given), info, indices)
    elif isinstance(given, (Annotation, str, Path, np.ndarray)):
        yield _one(given, indices[0], info)
    else:
        if not isinstance(given, Iterable):
            raise AnnotationError(f"annotation is a {type(given).__name__}, expected {_EXPECTED}.")
        if isinstance(given, Sequence) and not given:
            raise AnnotationError("no annotation given: an empty list. Give a label map of the first frame.")
        for annotation in given:
            if not isinstance(annotation, Annotation):
                raise AnnotationError(
                    f"annotations hold a {type(annotation).__name__}, expected vos.Annotation. "
                    "For masks by frame, give a dict such as {0: 'first.png', 25: 'later.png'}."
                )
            yield annotation


def _one(given: OneAnnotation, index: int, info: SourceInfo) -> Annotation:
    if isinstance(given, Annotation):
        return given
    if isinstance(given, np.ndarray):
        return Annotation(given, index)
    if not isinstance(given, (str, Path)):
        raise AnnotationError(f"annotation of frame {index} is a {type(given).__name__}, expected {_EXPECTED}.")
    _refuse_a_frame(Path(given), info)
    return Annotation(read_label_map(given, info.size), index)


def _refuse_a_frame(mask: Path, info: SourceInfo) -> None:
    """Refuse a mask that lies among the images, where it would be tracked as one of them."""
    try:
        among = info.frame_names is not None and mask.stem in info.frame_names and mask.parent.samefile(info.location)
    except OSError:
        return
    if among:
        raise AnnotationError(f"{mask}: the mask lies among the images of {info.location}, as one of them. Move it.")


def _from_folder(folder: Path, info: SourceInfo, indices: range) -> Iterator[Annotation]:
    """Take every mask of a folder as an annotation of the frame that it is named after, if that is tracked."""
    named = _frames_by_name(folder, info)
    by_name = {index: path for index, path in named.items() if index in indices}
    if not by_name:
        raise AnnotationError(f"{folder}: masks of frames {_shortened(list(named))}: {_not_tracked(info, indices)}")
    logger.info("%s: annotations of %d frames: %s.", folder, len(by_name), _shortened(list(by_name)))
    for index, path in by_name.items():
        yield Annotation(read_label_map(path, info.size), index)


def _first_appearances(info: SourceInfo, indices: range) -> Iterator[Annotation]:
    """Take from a data set's label maps each object where it first appears, and nothing more."""
    if info.annotation_folder is None:
        raise AnnotationError(
            f"{info.location}: no annotation given, and none lies beside the frames. "
            "Give a mask of the first frame with --mask, or make one with --init."
        )
    seen: set[int] = set()
    used: list[int] = []
    for index, path in _frames_by_name(info.annotation_folder, info).items():
        if index not in indices:
            continue
        label_map = read_label_map(path, info.size, allow_empty=True)
        new = sorted(set(object_ids(label_map)) - seen)
        if new:
            seen.update(new)
            used.append(index)
            yield Annotation(np.where(np.isin(label_map, new), label_map, 0).astype(np.uint8), index)
    if not used:
        raise AnnotationError(f"{info.annotation_folder}: no object in any label map of the frames to track.")
    logger.info("%s: objects %s from frames %s.", info.annotation_folder, sorted(seen), _shortened(used))


def _frames_by_name(folder: Path, info: SourceInfo) -> dict[int, Path]:
    """Match mask files to frames by stem, in the order of frames; a video's frames are numbers."""
    from natsort import natsorted  # here, so that `import vos` stays quick

    paths = natsorted((p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith(".")), str)
    if info.frame_names is not None:
        index_of = {name: index for index, name in enumerate(info.frame_names)}
        matched = {index_of[p.stem]: p for p in paths if p.stem in index_of}
    else:
        matched = {int(p.stem): p for p in paths if p.stem.isdecimal()}
    if not matched:
        raise AnnotationError(
            f"{folder}: no PNG in it is named after a frame of {info.location} "
            f'(such as "{info.frame_names[0] if info.frame_names else "00000"}.png").'
        )
    return dict(sorted(matched.items()))


def _not_tracked(info: SourceInfo, indices: range) -> str:
    if info.frame_count is not None:
        return (
            f"{info.location} has frames 0 to {info.frame_count - 1}, "
            f"and {_shortened(list(indices[:3]))}... to {indices[-1]} are tracked."
            if len(indices) > 1
            else f"{info.location} has frames 0 to {info.frame_count - 1}, and only {indices[0]} is tracked."
        )
    return f"tracking begins at frame {indices[0]} with step {indices.step}."


def _shortened(values: list[int]) -> str:
    shown = ", ".join(str(v) for v in values[:8])
    return shown + (f", ... {values[-1]}" if len(values) > 8 else "")
