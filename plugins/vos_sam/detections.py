"""Boxes that another program detected, from a COCO JSON file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vos.plugin import AnyArray, Frame, InputError, split_phrases

logger = logging.getLogger("vos.sam")

MAX_ID = 254
MAX_NAMED = 5
"""How many images or categories a message names."""


def read_detections(path: Path, frame: Frame, *, min_score: float = 0.0, categories: str = "") -> dict[int, AnyArray]:
    """Read the boxes of one frame.

    The file is a list of results (``image_id``, ``category_id``, ``bbox``, ``score``) or a data set with ``images``,
    ``annotations`` and ``categories``. Its image is the one with the frame's name, else the one whose id is the frame's
    index, else the only one.

    Args:
        path: the JSON file.
        frame: the boxes are cut off at its border; one outside is left out.
        min_score: boxes with a lower score are left out; a box without a score has 1.
        categories: names or numbers with ``;`` between them, to keep those alone; empty keeps all.
    Returns:
        float64 (4,) ``box_xyxy`` by object id, the highest score first, at most 254. Ids are the ``track_id`` of the
        boxes where each has its own, else 1, 2, ...
    Raises:
        InputError: the file cannot be read, or has no such boxes.
    """
    data = _read(path)
    entries = _entries_of(data, frame, path)
    if not entries:
        raise InputError(f"{path}: no box of frame {frame.name} in it.")
    wanted = _category_ids(data, categories, path)
    found = []
    for entry in entries:
        box, score = _box(entry, path), _score(entry, path)
        other = wanted is not None and str(entry.get("category_id")) not in wanted
        last = np.array(frame.size[::-1]) - 1
        outside = (box[2:] < 0).any() or (box[:2] > last).any()
        if not (score < min_score or entry.get("iscrowd") or other or outside):
            found.append((score, np.clip(box, 0, [*last, *last]), entry.get("track_id")))
    if not found:
        raise InputError(
            f"{path}: none of the {len(entries)} boxes of frame {frame.name} is in the frame, of these categories and "
            f"has a score of {min_score:g} or more. Lower min_score."
        )
    found.sort(key=lambda item: -item[0])
    if len(found) > MAX_ID:
        logger.warning("%s: %d boxes; the %d with the highest scores are taken.", path, len(found), MAX_ID)
    found = found[:MAX_ID]
    given: list[Any] = [track_id for *_, track_id in found]
    own = len(set(given)) == len(given) and all(isinstance(i, int) and 1 <= i <= MAX_ID for i in given)
    ids: Sequence[Any] = given if own else range(1, len(found) + 1)
    return {object_id: box for object_id, (_, box, _) in zip(ids, found, strict=True)}


def _read(path: Path) -> Any:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({' '.join(str(error).split())[:120]}).") from None
    results = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(results, list) or not all(isinstance(one, dict) and "bbox" in one for one in results):
        raise InputError(
            f'{path}: not COCO detections: expected a list of objects with "image_id" and "bbox", or one under '
            '"annotations".'
        )
    return data


def _entries_of(data: Any, frame: Frame, path: Path) -> list[Mapping[str, Any]]:
    """The annotations of the frame's image."""
    results: list[Mapping[str, Any]] = data["annotations"] if isinstance(data, dict) else data
    images = {str(entry.get("image_id")): str(entry.get("image_id")) for entry in results}
    listed: Sequence[Any] = (data.get("images") or []) if isinstance(data, dict) else []
    described = {str(image.get("id")): image for image in listed if isinstance(image, dict)}
    images |= {i: Path(str(image.get("file_name", i))).stem for i, image in described.items()}
    by_name = [image_id for image_id, name in images.items() if name == frame.name]
    by_index = [str(frame.index)] if str(frame.index) in images else []
    chosen = (by_name or by_index or (list(images) if len(images) == 1 else []))[:1]
    if not chosen:
        shown = ", ".join(list(images.values())[:MAX_NAMED]) + (", ..." if len(images) > MAX_NAMED else "") or "none"
        raise InputError(f"{path}: no image {frame.name} in it, nor one with the id {frame.index} (it has {shown}).")
    height, width = frame.size
    image = described.get(chosen[0], {})
    stated = image.get("width") or width, image.get("height") or height
    if stated != (width, height):
        raise InputError(
            f"{path}: image {images[chosen[0]]} is {stated[0]}x{stated[1]} in it, the frame is {width}x{height}. "
            "Detect on frames of the video's size."
        )
    return [entry for entry in results if str(entry.get("image_id")) == chosen[0]]


def _category_ids(data: Any, categories: str, path: Path) -> set[str] | None:
    asked = split_phrases(categories)
    if not asked:
        return None
    table: Sequence[Any] = (data.get("categories") or []) if isinstance(data, dict) else []
    known = {str(one.get("name")).lower(): str(one.get("id")) for one in table if isinstance(one, dict)}
    ids = set()
    for phrase in asked:
        if phrase.lower() not in known and not phrase.isdecimal():
            there = ", ".join(list(known)[:MAX_NAMED]) or "no names, so give numbers"
            raise InputError(f'{path}: no category "{phrase}" (it has {there}).')
        ids.add(known.get(phrase.lower(), phrase))
    return ids


def _box(entry: Mapping[str, Any], path: Path) -> AnyArray:
    """COCO's x, y, width, height as x0, y0 and the last pixel x1, y1."""
    try:
        x, y, width, height = (float(value) for value in entry["bbox"])
        if not np.isfinite([x, y, width, height]).all() or width <= 0 or height <= 0:
            raise ValueError
    except (TypeError, ValueError):
        raise InputError(
            f"{path}: bbox {str(entry['bbox'])[:60]} is not x, y, width, height in pixels, with a width and a height."
        ) from None
    return np.array([x, y, max(x, x + width - 1), max(y, y + height - 1)])


def _score(entry: Mapping[str, Any], path: Path) -> float:
    """The entry's score; 1 where it has none, as in a data set."""
    score = entry.get("score")
    try:
        value = 1.0 if score is None else float(score)
    except (TypeError, ValueError):
        value = float("nan")
    if np.isnan(value):
        raise InputError(f"{path}: score {str(score)[:60]} is not a number.")
    return value
