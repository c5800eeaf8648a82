"""From what a user gives as annotations to label maps at frame indices."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vos.errors import AnnotationError, EmptyMaskError, NoAnnotationError
from vos.host.annotations.annotation_folders import folder_of_sequence, masks_by_frame, object_folders, shortened
from vos.host.annotations.object_masks import ObjectName, ids_of_objects, merge_object_masks
from vos.io.masks.grey_masks import ONE_OBJECT
from vos.io.masks.mask_file import LoadedMask, label_map_of_image, load_mask
from vos.io.masks.rgb_masks import ONE_COLOUR
from vos.io.masks.sequence_masks import grey_values, refuse_mixed_palettes
from vos.types.annotation import Annotation
from vos.types.arrays import AnyArray, LabelMap
from vos.types.label_map import VOID, object_ids
from vos.types.mask_values import as_array, to_label_map
from vos.types.source_info import SourceInfo

if TYPE_CHECKING:
    import torch
    from PIL import Image as PillowImage

logger = logging.getLogger(__name__)

OneMask: TypeAlias = "AnyArray | torch.Tensor | PillowImage.Image | str | Path"
"""An array or tensor (bool, 0 and 255, or ids), a Pillow image, or a mask file."""

OneAnnotation: TypeAlias = "Annotation | OneMask | Mapping[Any, OneMask]"
"""The annotation of one frame; a mapping holds one mask for each object, by its id or name."""

GivenAnnotations: TypeAlias = "OneAnnotation | Sequence[Annotation] | Mapping[Any, OneAnnotation] | None"
"""One annotation for the first frame; several, by frame index; masks by the object's name; None for those beside the
frames."""

_EXPECTED = "a label map (uint8 (H, W)), a bool mask, a Pillow image, a mask file or a vos.Annotation"


@dataclass(frozen=True, eq=False)
class _Given:
    """One mask as it was given: its frame, the object whose mask it is (None: a label map), and the mask."""

    index: int
    name: ObjectName | None
    mask: Any
    allow_empty: bool = False


def gather_annotations(given: GivenAnnotations, info: SourceInfo, indices: range) -> dict[int, Annotation]:
    """Read and check annotations.

    Args:
        given: an ``Annotation``, a mask (file, array, tensor, Pillow image) or a folder of masks for the first frame or
            for those that it names; a list of ``Annotation``; a mapping from frame index to any of these or to a
            mapping from object to mask; a mapping from an object's name to a mask of the first frame or a folder of
            masks; or None to take the objects' first appearances from ``info.annotation_folder``.
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
        yield from _read(list(_entries(given, info, indices)), info)
    elif isinstance(given, (str, Path)) and Path(given).is_dir():
        yield from _from_folder(Path(given), info, indices)
    elif isinstance(given, Annotation):
        yield given
    elif isinstance(given, (str, Path)) or _is_mask(given):
        yield from _read([_Given(indices[0], None, given)], info)
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


def _entries(given: Mapping[Any, Any], info: SourceInfo, indices: range) -> Iterator[_Given]:
    """List the masks of a mapping; keys are frame indices, or names of objects of the first frame."""
    for key, one in given.items():
        if isinstance(key, str):
            yield from _of_object(key, one, info, indices)
        elif not isinstance(key, (int, np.integer)) or isinstance(key, bool):
            raise AnnotationError(f"annotations by frame have a key {key!r}, expected a frame index such as 25.")
        elif isinstance(one, Mapping):
            if not one:
                raise AnnotationError(f"annotation of frame {key} is an empty dict. Give a mask of each object.")
            yield from (_Given(int(key), name, mask) for name, mask in one.items())
        else:
            if isinstance(one, Annotation) and one.frame_index != key:
                raise AnnotationError(f"frame {key} is given the annotation of frame {one.frame_index}. Make them one.")
            yield _Given(int(key), None, one)


def _of_object(name: str, one: Any, info: SourceInfo, indices: range) -> Iterator[_Given]:
    """List the masks of one object: that of the first frame, or those of a folder."""
    if not isinstance(one, (str, Path)) or not Path(one).is_dir():
        yield _Given(indices[0], name, one)
        return
    by_frame = masks_by_frame(Path(one), info)
    kept = {index: path for index, path in by_frame.items() if index in indices}
    if not kept:
        raise AnnotationError(f"{one}: masks of frames {shortened(list(by_frame))}: {_not_tracked(info, indices)}")
    yield from (_Given(index, name, path, allow_empty=True) for index, path in kept.items())


def _read(entries: Sequence[_Given], info: SourceInfo, files: Iterable[Path] = ()) -> Iterator[Annotation]:
    """Read masks and put those of one frame together; files are all of a folder, where some of these are entries."""
    first = min(entry.index for entry in entries)
    notes: dict[str, list[str]] = {}
    values = grey_values(files or [e.mask for e in entries if e.name is None and isinstance(e.mask, (str, Path))])
    label_maps = [(entry, _label_map(entry, info, notes, values, later=entry.index > first)) for entry in entries]
    for note, paths in notes.items():
        logger.info("%s: %s.", paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""), note)
    taken = {i for entry, label_map in label_maps if entry.name is None for i in object_ids(label_map)}
    if files:
        _refuse_unclear_objects(notes, taken)
    ids = ids_of_objects((entry.name for entry in entries if entry.name is not None), taken)
    by_frame: dict[int, list[tuple[_Given, LabelMap]]] = {}
    for entry, label_map in label_maps:
        by_frame.setdefault(entry.index, []).append((entry, label_map))
    empty = True
    for index, of_frame in by_frame.items():
        base = next((label_map for entry, label_map in of_frame if entry.name is None), None)
        masks = [(_mask_name(e), ids[e.name], label_map) for e, label_map in of_frame if e.name is not None]
        merged = base if not masks else merge_object_masks(masks, base, index)
        assert merged is not None, "a frame with an entry has a mask"
        if object_ids(merged):
            empty = False
            yield Annotation(merged, index)
    if empty:
        raise EmptyMaskError(f"no object in any of the {len(entries)} masks: all pixels are background or void.")


def _refuse_unclear_objects(notes: Mapping[str, list[str]], ids: Collection[int]) -> None:
    """Refuse masks of a folder that do not tell which object they show; notes are those on how files were read."""
    unclear = [paths[0] for note, paths in notes.items() if note.endswith(ONE_OBJECT)]
    if unclear and len(ids) > 1:
        shown = ", ".join(map(str, sorted(ids)))
        raise AnnotationError(
            f"{unclear[0]}: one object without an id, where the objects of the folder are {shown}. Write ids."
        )
    painted = [paths[0] for note, paths in notes.items() if note.startswith(ONE_COLOUR)]
    if len(painted) > 1:
        raise AnnotationError(
            f"{painted[1]}: its one colour on black is another than that of {painted[0]}, none of them DAVIS's. Write "
            "ids, or give a folder of masks for each object: --mask 1=FOLDER --mask 2=FOLDER."
        )


def _label_map(
    entry: _Given, info: SourceInfo, notes: dict[str, list[str]], values: Collection[int], *, later: bool
) -> LabelMap:
    """Read one mask; notes on how files were read are gathered, each with the files that it is about."""
    mask = entry.mask
    try:
        if isinstance(mask, Annotation):
            return mask.label_map
        if isinstance(mask, (str, Path)):
            _refuse_a_frame(Path(mask), info)
            together = values if entry.name is None else ()  # one object's mask has an id whatever its grey value is
            loaded = load_mask(mask, info.size, allow_empty=entry.allow_empty, sequence_values=together)
        elif _is_mask(mask):
            loaded = _of_values(mask, entry.index)
        else:
            raise AnnotationError(
                f"annotation of frame {entry.index} is a {type(mask).__name__}, expected {_EXPECTED}."
            )
        if not entry.allow_empty and not object_ids(loaded.label_map):
            raise EmptyMaskError(
                f"annotation of frame {entry.index}: no object in it (all pixels are 0 or {VOID}). "
                "Mark at least one object with an id from 1 to 254."
            )
    except EmptyMaskError as error:
        if not later:
            raise
        raise EmptyMaskError(f"{error} {_how_to_end(entry.index)}") from None
    if loaded.note is not None and entry.name is None:  # the object's id is the one that was given
        notes.setdefault(loaded.note, []).append(_mask_name(entry))
    return loaded.label_map


def _how_to_end(index: int) -> str:
    return (
        "Objects that a later mask leaves out go on as tracked. "
        f"To end object 1 at this frame, give no mask of it and --end 1@{index} (in Python ends={{1: {index}}})."
    )


def _of_values(mask: Any, index: int) -> LoadedMask:
    """Read an array, a tensor or a Pillow image."""
    try:
        if _is_pillow(mask):
            return label_map_of_image(mask)
        array = as_array(mask)
        if array is not None and array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (3, 4):
            from PIL import Image as PillowImage

            return label_map_of_image(PillowImage.fromarray(np.ascontiguousarray(array)))
        return LoadedMask(to_label_map(mask))
    except AnnotationError as error:
        raise AnnotationError(f"annotation of frame {index}: {error}.") from error.__cause__


def _is_mask(given: object) -> bool:
    return _is_pillow(given) or as_array(given) is not None


def _is_pillow(given: object) -> bool:
    return hasattr(given, "getpalette") and hasattr(given, "tobytes")


def _mask_name(entry: _Given) -> str:
    """Name of a mask in messages: its file, or its frame and object."""
    if isinstance(entry.mask, (str, Path)):
        return str(entry.mask)
    return f"annotation of frame {entry.index}" + ("" if entry.name is None else f', object "{entry.name}"')


def _refuse_a_frame(mask: Path, info: SourceInfo) -> None:
    """Refuse a mask that lies among the images, where it would be tracked as one of them."""
    try:
        among = info.frame_names is not None and mask.stem in info.frame_names and mask.parent.samefile(info.location)
    except OSError:
        return
    if among:
        raise AnnotationError(f"{mask}: the mask lies among the images of {info.location}, as one of them. Move it.")


def _from_folder(folder: Path, info: SourceInfo, indices: range) -> Iterator[Annotation]:
    """List a folder's masks by the frames that they are named after; subfolders hold one object each."""
    folder = folder_of_sequence(folder, info)
    of_objects = object_folders(folder)
    if of_objects is not None:
        shown = ", ".join(of_objects)
        logger.info("%s: a folder for each object: %s.", folder, shown)
        yield from _read(
            [e for name, inner in of_objects.items() for e in _of_object(name, inner, info, indices)], info
        )
        return
    named = masks_by_frame(folder, info)
    by_name = {index: path for index, path in named.items() if index in indices}
    if not by_name:
        raise AnnotationError(f"{folder}: masks of frames {shortened(list(named))}: {_not_tracked(info, indices)}")
    refuse_mixed_palettes(named.values())
    frames = "1 frame" if len(by_name) == 1 else f"{len(by_name)} frames"
    logger.info("%s: annotations of %s: %s.", folder, frames, shortened(list(by_name)))
    yield from _read([_Given(index, None, path) for index, path in by_name.items()], info, named.values())


def _first_appearances(info: SourceInfo, indices: range) -> Iterator[Annotation]:
    """Annotate each object of a data set in the first frame that shows it, and in no other."""
    if info.annotation_folder is None:
        raise NoAnnotationError(
            f"{info.location}: no annotation given, and none lies beside the frames. Give a mask of the first frame."
        )
    seen: set[int] = set()
    used: list[int] = []
    files = masks_by_frame(info.annotation_folder, info, strict=False)
    refuse_mixed_palettes(files.values())
    values = grey_values(files.values())
    for index, path in files.items():
        if index not in indices:
            continue
        label_map = load_mask(path, info.size, allow_empty=True, sequence_values=values).label_map
        new = sorted(set(object_ids(label_map)) - seen)
        if new:
            seen.update(new)
            used.append(index)
            yield Annotation(np.where(np.isin(label_map, new), label_map, 0).astype(np.uint8), index)
    if not used:
        raise AnnotationError(f"{info.annotation_folder}: no object in any label map of the frames to track.")
    logger.info("%s: objects %s from frames %s.", info.annotation_folder, sorted(seen), shortened(used))


def _not_tracked(info: SourceInfo, indices: range) -> str:
    if info.frame_count is not None:
        return (
            f"{info.location} has frames 0 to {info.frame_count - 1}, "
            f"and {shortened(list(indices[:3]))}... to {indices[-1]} are tracked."
            if len(indices) > 1
            else f"{info.location} has frames 0 to {info.frame_count - 1}, and only {indices[0]} is tracked."
        )
    return f"tracking begins at frame {indices[0]} with step {indices.step}."
