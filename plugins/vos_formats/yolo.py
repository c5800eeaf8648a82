"""YOLO segments: a text file a frame with a line an object (class, then x and y as shares of the frame's size)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vos.plugin import (
    AnnotationError,
    Frame,
    ImportedFrame,
    ImportedMasks,
    LabelMap,
    Prediction,
    atomic_write,
    object_ids,
    read_image,
    safe_name,
)
from vos_formats.importing import (
    Instance,
    ObjectIds,
    label_map_of,
    logger,
    natural,
    number_instances,
    reading,
    sequence_of,
)
from vos_formats.output import FormatWriter
from vos_formats.polygons import bridged, filled, outlines

ROUNDING = 0.01
"""A point may lie so far outside the image, as a share of its size; ultralytics takes as much."""

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class YoloWriter(FormatWriter):
    """Writes ``labels/<frame>.txt``, ``images/<frame>.jpg`` where asked for, and ``data.yaml``.

    A line is one polygon, so parts and holes of an object are joined by bridges of no width.
    """

    default_name = "yolo"
    is_folder = True

    def begin(self) -> None:
        """Begin; see the base class."""
        self._ids: set[int] = set()
        self._size = (0, 0)
        self._bridged = False

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one frame's text file; a frame without objects has an empty one."""
        self._size = height, width = label_map.shape
        lines = []
        for object_id in object_ids(label_map):
            mask = label_map == object_id
            parts = outlines(mask, self.options.simplify)
            if not self._bridged and (len(parts) > 1 or len(parts[0]) > 1):
                self._bridged = True
                logger.info(
                    "%s: frame %s: object %d has holes or several parts; they are joined to one polygon by bridges.",
                    self.path, frame.name, object_id,
                )  # fmt: skip
            points = bridged(parts) / [width, height]
            self._ids.add(object_id)
            numbers = " ".join(f"{value:.7g}" for value in points.reshape(-1).tolist())
            lines.append(f"{self._class_of(object_id)} {numbers}\n")
        self.folder.write(f"{safe_name(frame.name)}.txt", "".join(lines), "labels")

    def finish(self) -> None:
        """Write ``data.yaml``."""
        names = {self._class_of(i): self.label_of(i) for i in sorted(self._ids)}
        count = max(names, default=-1) + 1
        rows = "".join(f"  {number}: {json.dumps(names.get(number, f'unused {number}'))}\n" for number in range(count))
        height, width = self._size
        head = f"# vos: {self.run.sequence}\nheight: {height}\nwidth: {width}\n"
        atomic_write(self.path / "data.yaml", f"{head}path: .\ntrain: images\nval: images\nnames:\n{rows}")

    def _class_of(self, object_id: int) -> int:
        return self.category_of(object_id) - 1


def read_yolo(path: Path) -> list[ImportedMasks] | None:
    """Read a folder with ``labels`` and ``data.yaml``, or its ``data.yaml``; a class is one object, or several."""
    folder = path.parent if path.name == "data.yaml" else path
    labels = folder / "labels"
    if not labels.is_dir() or not (folder / "data.yaml").is_file():
        return None
    files = sorted(labels.rglob("*.txt"), key=natural)
    text = (folder / "data.yaml").read_text(encoding="utf-8", errors="replace")
    names = _names(text)
    used = [(file, int(line.split()[0])) for file in files for line in file.read_text().splitlines() if line.strip()]
    objects, unclear = number_instances([(file, Instance(names.get(number, number))) for file, number in used], path)
    by_class = sorted(zip((number for _, number in used), objects, strict=True), key=lambda one: one[0])
    ids = ObjectIds((name for _, name in by_class), path)
    described = re.search(r"^height: (\d+)\nwidth: (\d+)$", text, re.MULTILINE)

    @reading(path, "YOLO segments")
    def frames() -> Iterator[ImportedFrame]:
        size = (int(described[1]), int(described[2])) if described else None
        remaining = iter(objects)
        for file in files:
            size = size if described else _size(folder, file)
            assert size is not None, "described, or the image's"
            masks = []
            for line in file.read_text().splitlines():
                _, *values = line.split()
                if len(values) < 6:
                    raise AnnotationError(f"{file}: a line of {len(values)} numbers is a box, expected a polygon.")
                points = np.asarray(values, dtype=np.float64).reshape(-1, 2)
                if (np.abs(points - 0.5) > 0.5 + ROUNDING).any():
                    raise AnnotationError(f"{file}: a point outside the image. Points are shares of its size, 0 to 1.")
                masks.append((ids[next(remaining)], filled([points * [size[1], size[0]]], size)))
            yield ImportedFrame(file.stem, label_map_of(masks, size, str(file)))

    written = re.search(r"^# vos: (.+)$", text, re.MULTILINE)
    sequence = written[1] if written else sequence_of(folder, YoloWriter.default_name)
    return [ImportedMasks(sequence, frames, ids.labels(), unclear)]


def _names(text: str) -> dict[int, str]:
    """The classes in ``data.yaml``: ``names:`` with a line each, or a list in brackets."""
    listed = re.search(r"^names:\s*\[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    if listed:
        return dict(enumerate(name.strip(" '\"\n") for name in listed[1].split(",")))
    numbered = re.findall(r"^\s+(\d+):\s*(.+?)\s*$", text, re.MULTILINE)
    return {int(number): name.strip("'\"") for number, name in numbered}


def _size(folder: Path, labels: Path) -> tuple[int, int]:
    """The size of the image that a text file is for; its shares of the size say nothing without it."""
    inside = labels.relative_to(folder / "labels").with_suffix("")
    for suffix in _IMAGE_SUFFIXES:
        image = (folder / "images" / inside).with_suffix(suffix)
        if image.is_file():
            height, width = read_image(image).shape[:2]
            return height, width
    raise AnnotationError(f"{labels}: the size of its image is not known. Put the image into {folder / 'images'}.")
