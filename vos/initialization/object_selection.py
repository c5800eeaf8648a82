"""From segments to objects: a label map of a few objects out of any segmentation of a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from vos.errors import EmptyMaskError, OptionError
from vos.types.arrays import AnyArray, LabelMap
from vos.types.label_map import BACKGROUND, MAX_OBJECT_ID, object_ids, without_void

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ObjectSelection:
    """Rules that choose and order objects among the segments of a frame.

    Attributes:
        max_objects: keep at most this many, the first in the order.
        min_area: share of the frame, in [0, 1]; smaller pieces go to the neighbour that they touch most.
        max_area: share of the frame; larger segments are background.
        max_border: share of the frame's border pixels; segments that hold more of them are background.
        order: ``"area"``, the largest first; ``"centre"``, the nearest to the frame's centre first.
        keep: numbers of the objects to keep, as they are without ``keep``; all if empty.
        at: (x, y) pixels; the segments under them are the objects, background-like or not. With
            ``keep``, those come first.
    Raises:
        OptionError: a number out of its range.
    """

    max_objects: int = 10
    min_area: float = 0.001
    max_area: float = 0.4
    max_border: float = 0.15
    order: Literal["area", "centre"] = "area"
    keep: tuple[int, ...] = ()
    at: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.max_objects <= MAX_OBJECT_ID:
            raise OptionError(f"max_objects is {self.max_objects}, expected 1 to {MAX_OBJECT_ID}.")
        for name in ("min_area", "max_area", "max_border"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}, expected a share from 0 to 1.")
        if self.order not in ("area", "centre"):
            raise OptionError(f'order is "{self.order}", expected area or centre.')


def select_objects(segments: LabelMap, selection: ObjectSelection | None = None) -> LabelMap:
    """Make objects of segments: merge fragments, drop what looks like background, order, choose.

    Args:
        segments: uint8 (H, W): 0 or any ids; a segment need not be connected.
        selection: what to keep; None for the defaults.
    Returns:
        uint8 (H, W): 0, and ids from 1 in the selection's order.
    Raises:
        EmptyMaskError: no segment is left; the message says what to change.
        OptionError: ``keep`` names a number that is not there, or ``at`` lies outside or on no segment.
    """
    selection = selection or ObjectSelection()
    merged = merge_fragments(without_void(segments), selection.min_area)
    objects = _objects_in_order(merged, selection)
    if selection.keep or selection.at:
        objects = [*_kept(objects, selection.keep), *_under(merged, selection.at)]
    if not objects:
        count = len(_present(merged))
        raise EmptyMaskError(
            f"no object among {count} segments: all look like background (larger than {selection.max_area:.0%} of the "
            f"frame, or on more than {selection.max_border:.0%} of its border).\n"
            "Name one with --at x,y, or raise --max-area and --max-border."
        )
    return _renumbered(merged, objects)


def choose_objects(found: LabelMap, selection: ObjectSelection, *, segments: bool) -> LabelMap:
    """Choose among what an initializer found, by the numbers that a picture of it shows.

    Args:
        found: uint8 (H, W): 0 and ids from 1.
        selection: what to keep.
        segments: whether ``found`` are segments of the whole frame, of which objects are made first. Of anything else,
            ``keep`` and ``at`` alone choose among the ids as they are; other rules make objects first, too.
    Returns:
        uint8 (H, W): 0, and ids from 1 in the selection's order.
    Raises:
        EmptyMaskError: as ``select_objects``.
        OptionError: as ``select_objects``.
    """
    chosen = replace(ObjectSelection(), keep=selection.keep, at=selection.at)
    if segments or selection != chosen or chosen == ObjectSelection():
        return select_objects(found, selection)
    there = object_ids(found)
    for number in selection.keep:
        if number not in there:
            listed = ", ".join(map(str, there))
            raise OptionError(f"keep names object {number}, the objects are {listed}. See them with --preview.")
    return _renumbered(found, [*selection.keep, *_under(found, selection.at)])


def merge_fragments(segments: LabelMap, min_area: float) -> LabelMap:
    """Assign small connected components to the segment, or background, with which they share the longest edge.

    Args:
        segments: uint8 (H, W): 0 and ids.
        min_area: share of the frame below which a piece is a fragment.
    Returns:
        uint8 (H, W); pieces that touch only fragments become background.
    """
    pieces, owners, areas = _pieces(segments)
    small = areas < min_area * segments.size
    if not small.any():
        return segments
    first, second, lengths = _shared_edges(pieces, len(owners))
    owners = owners.copy()
    while small.any():
        usable = small[first] & ~small[second]
        if not usable.any():
            owners[small] = BACKGROUND
            break
        order = np.lexsort((second[usable], -lengths[usable], first[usable]))
        fragments, index = np.unique(first[usable][order], return_index=True)
        owners[fragments] = owners[second[usable][order][index]]
        small[fragments] = False
    merged: LabelMap = owners[pieces]
    return merged


def _renumbered(segments: LabelMap, chosen: Iterable[int]) -> LabelMap:
    """Number the chosen ids from 1, each once; all others become background."""
    ids = np.zeros(256, dtype=np.uint8)
    for number, segment in enumerate(dict.fromkeys(chosen), start=1):
        ids[segment] = number
    return ids[segments]


def _pieces(segments: LabelMap) -> tuple[AnyArray, LabelMap, IntArray]:
    """Number the connected pieces of all segments, background too: (H, W) numbers, owners, areas."""
    import cv2  # here, so that `import vos` stays quick

    pieces = np.zeros(segments.shape, dtype=np.int32)
    owners: list[int] = []
    areas: list[int] = []
    for segment in np.flatnonzero(np.bincount(segments.ravel(), minlength=256)):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            np.asarray(segments == segment, dtype=np.uint8), connectivity=4
        )
        np.add(labels, len(owners) - 1, out=pieces, where=labels > 0)
        owners += [int(segment)] * (count - 1)
        areas += stats[1:, cv2.CC_STAT_AREA].tolist()
    return pieces, np.array(owners, dtype=np.uint8), np.array(areas, dtype=np.int64)


def _shared_edges(pieces: AnyArray, count: int) -> tuple[IntArray, IntArray, IntArray]:
    """Every ordered pair of touching pieces, and how many pixel edges they share."""
    keys = []
    for a, b in ((pieces[:, 1:], pieces[:, :-1]), (pieces[1:], pieces[:-1])):
        differ = a != b
        one, other = a[differ].astype(np.int64), b[differ].astype(np.int64)
        keys += [one * count + other, other * count + one]
    pairs, lengths = np.unique(np.concatenate(keys), return_counts=True)
    return pairs // count, pairs % count, lengths


def _present(segments: LabelMap) -> IntArray:
    counts = np.bincount(segments.ravel(), minlength=256)
    counts[BACKGROUND] = 0
    return np.flatnonzero(counts)


def _objects_in_order(segments: LabelMap, selection: ObjectSelection) -> list[int]:
    """Ids of the segments that do not look like background, in the selection's order."""
    areas = np.bincount(segments.ravel(), minlength=256) / segments.size
    border = np.concatenate([segments[0], segments[-1], segments[1:-1, 0], segments[1:-1, -1]])
    on_border = np.bincount(border, minlength=256) / border.size
    candidates = [
        int(i) for i in _present(segments) if areas[i] <= selection.max_area and on_border[i] <= selection.max_border
    ]
    if selection.order == "area":
        candidates.sort(key=lambda i: -areas[i])
    else:
        candidates.sort(key=lambda i: _distance_to_centre(segments == i))
    return candidates[: selection.max_objects]


def _distance_to_centre(mask: AnyArray) -> float:
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    return float(np.hypot(rows.mean() - (height - 1) / 2, columns.mean() - (width - 1) / 2))


def _kept(objects: list[int], keep: tuple[int, ...]) -> list[int]:
    for number in keep:
        if not 1 <= number <= len(objects):
            there = f"objects 1 to {len(objects)}" if objects else "no objects"
            raise OptionError(f"keep names object {number}, there are {there}. See them with --preview.")
    return [objects[number - 1] for number in keep]


def _under(segments: LabelMap, at: tuple[tuple[int, int], ...]) -> list[int]:
    height, width = segments.shape
    found = []
    for x, y in at:
        if not (0 <= x < width and 0 <= y < height):
            raise OptionError(f"at {x},{y} lies outside the frame of {width}x{height} pixels.")
        if segments[y, x] == BACKGROUND:
            raise OptionError(f"at {x},{y} there is no segment. See the segments with --all --preview.")
        found.append(int(segments[y, x]))
    return found
