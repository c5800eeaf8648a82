"""Shared by the importers: object ids from names, label maps from masks, JSON and lists of files."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vos.plugin import AnnotationError, BoolArray, LabelMap, VosError
from vos_formats.run_lengths import checked_size

logger = logging.getLogger("vos.formats")

MAX_ID = 254


@dataclass(frozen=True)
class Instance:
    """An annotation whose file does not say which object it is.

    Attributes:
        label: its class.
        group: annotations of one image with this label and group are one object; None for an object of its own.
        number: its place among the image's objects of this class, from 1; 0 before ``number_instances``.
    """

    label: Hashable
    group: Hashable = None
    number: int = 0

    def __str__(self) -> str:
        return f"{self.label} {self.number}"


def number_instances(found: Sequence[tuple[Hashable, Hashable]], path: Path) -> tuple[list[Hashable], str]:
    """Name the objects of annotations: several of one class in an image are numbered in the order of the file.

    Args:
        found: the image of each annotation, and what identifies its object: a track id, or an ``Instance``.
        path: the file, for the message.
    Returns:
        The name of each annotation's object: its track id; its class, where no image has two of that class; else a
        numbered ``Instance``. And why these names may not hold from image to image, or an empty text.
    """
    groups: dict[Hashable, dict[Hashable, dict[Hashable, int]]] = {}  # by class and image: numbers by group
    numbers = []
    for place, (image, one) in enumerate(found):
        if isinstance(one, Instance):
            of_image = groups.setdefault(one.label, {}).setdefault(image, {})
            numbers.append(of_image.setdefault(place if one.group is None else (one.group,), len(of_image) + 1))
        else:
            numbers.append(0)
    several = {label for label, images in groups.items() if any(len(held) > 1 for held in images.values())}
    names: list[Hashable] = []
    for (_, one), number in zip(found, numbers, strict=True):
        if not isinstance(one, Instance):
            names.append(one)
        else:
            names.append(Instance(one.label, None, number) if one.label in several else one.label)
    unclear = next((label for label in groups if label in several and len(groups[label]) > 1), None)
    if unclear is None:
        return names, ""
    reason = (
        f'{len(groups[unclear])} images have "{unclear}", some of them several, and no track ids say which is which'
    )
    logger.info("%s: %s: in each image they are numbered in the order of the file.", path, reason)
    return names, reason


def tell_left_out(path: Path, kinds: Iterable[str]) -> None:
    """Log how many shapes of each kind a reader leaves out, since they are no masks."""
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(kinds).items()))
    if counts:
        logger.warning("%s: shapes that are no masks are left out: %s.", path, counts)


class ObjectIds:
    """Object ids for what a file calls its objects: the number at the end of their names, else the next free id."""

    def __init__(self, names: Iterable[Hashable], path: Path) -> None:
        """Assign an id to every name.

        Args:
            names: labels or numbers, in the order of the file; repeated ones count once.
            path: the file, for messages.
        Raises:
            AnnotationError: more than 254 objects.
        """
        ordered = list(dict.fromkeys(names))
        if len(ordered) > MAX_ID:
            raise AnnotationError(f"{path}: {len(ordered)} objects, a label map holds {MAX_ID}. Import fewer.")
        numbers = [_number(name) for name in ordered]
        if all(number is not None and 1 <= number <= MAX_ID for number in numbers) and len(set(numbers)) == len(
            numbers
        ):
            self.ids: dict[Hashable, int] = {n: int(i) for n, i in zip(ordered, numbers, strict=True) if i is not None}
        elif all(isinstance(name, int) and 0 <= name < MAX_ID for name in ordered):
            self.ids = {name: int(name) + 1 for name in ordered if isinstance(name, int)}
        else:
            self.ids = {name: number for number, name in enumerate(ordered, 1)}
        if any(str(i) != str(name) and f"object {i}" != name for name, i in self.ids.items()):
            shown = ", ".join(f"{i} {name}" for name, i in list(self.ids.items())[:8])
            logger.info("%s: object ids %s.", path, shown + (", ..." if len(self.ids) > 8 else ""))

    def __getitem__(self, name: Hashable) -> int:
        return self.ids[name]

    def labels(self) -> dict[int, str]:
        """The file's names of the objects, by id."""
        return {i: str(name) for name, i in self.ids.items()}


def label_map_of(masks: Iterable[tuple[int, BoolArray]], size: tuple[int, int], where: str) -> LabelMap:
    """Lay masks over one another, the later ones in front.

    Args:
        masks: object ids and bool (H, W).
        size: (H, W).
        where: file and frame, for the message.
    Returns:
        uint8 (H, W).
    Raises:
        AnnotationError: a mask of another size.
        ValueError: no picture has that size.
    """
    label_map = np.zeros(checked_size(size), dtype=np.uint8)
    for object_id, mask in masks:
        if mask.shape != size:
            raise AnnotationError(
                f"{where}: a mask of {mask.shape[1]}x{mask.shape[0]} in a frame of {size[1]}x{size[0]}."
            )
        label_map[mask] = object_id
    return label_map


def read_json(path: Path, *marks: str) -> Any:
    """Read a JSON file that has all the marks of a format.

    Args:
        path: any path.
        marks: keys that the file has somewhere.
    Returns:
        Its content; None where it is no file of this format.
    Raises:
        AnnotationError: it is one and cannot be read.
    """
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}).") from error
    if not all(f'"{mark}"' in text for mark in marks):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise AnnotationError(f"{path}: not whole JSON ({error}). Export it again.") from error


def reading(path: Path, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Report what a damaged file makes fail, as bad input that names the file."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def read(*arguments: Any) -> Any:
            try:
                yield from function(*arguments)
            except VosError:
                raise
            except Exception as error:  # zip, NumPy, Pillow and XML have errors of their own
                reason = " ".join(str(error).split())[:200]
                raise AnnotationError(f"{path}: not {what} as expected ({type(error).__name__}: {reason}).") from error

        return read

    return decorate


def stem_of(name: str) -> str:
    """A frame's name without folder and suffix, whatever system wrote the path."""
    last = re.split(r"[\\/]", name)[-1]
    return last[: last.rindex(".")] if "." in last[1:] else last


def sequence_of(path: Path, default_name: str) -> str:
    """A sequence's name by that of its file or folder; what has the format's own name lies in the sequence's folder."""
    path = path.resolve()
    return path.parent.name if path.name == default_name else path.stem if path.is_file() else path.name


def described_sequence(content: dict[str, Any], otherwise: str) -> str:
    """The sequence that a COCO file of this toolkit names in its description."""
    info = content.get("info")
    description = str(info.get("description", "")) if isinstance(info, dict) else ""
    return description.removeprefix("vos: ") if description.startswith("vos: ") else otherwise


def natural(path: Path) -> list[str | int]:
    """Sort key by which frame 10 comes after frame 9."""
    return [int(part) if at % 2 else part for at, part in enumerate(re.split(r"([0-9]+)", path.name))]


def _number(name: Hashable) -> int | None:
    if isinstance(name, int):
        return name
    found = re.fullmatch(r"(?:.*[^0-9])?0*([0-9]{1,3})", str(name))
    return int(found[1]) if found else None
