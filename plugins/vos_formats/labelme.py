"""LabelMe: a JSON file an image, with polygons and other shapes."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vos.plugin import BoolArray, ImportedFrame, ImportedMasks
from vos_formats.importing import (
    Instance,
    ObjectIds,
    label_map_of,
    natural,
    number_instances,
    read_json,
    reading,
    stem_of,
    tell_left_out,
)
from vos_formats.polygons import filled

KINDS = ("polygon", "rectangle", "circle", "mask")
"""Shapes that cover pixels; lines and points do not."""


def read_labelme(path: Path) -> list[ImportedMasks] | None:
    """Read one file, or a folder of files; shapes of the same label and group are one object, others one each."""
    files = sorted(path.glob("*.json"), key=natural) if path.is_dir() else [path]
    contents = [read_json(file, "shapes", "imageHeight") for file in files[:1]]
    if not contents or not isinstance(contents[0], dict):
        return None
    contents = [read_json(file, "shapes", "imageHeight") for file in files]
    documents = [(file, content) for file, content in zip(files, contents, strict=True) if content is not None]
    for _, content in documents:
        content.pop("imageData", None)  # the picture itself, as text
    kinds = [_kind(shape) for _, content in documents for shape in content["shapes"]]
    tell_left_out(path, (kind for kind in kinds if kind not in KINDS))
    for _, content in documents:
        content["shapes"] = [shape for shape in content["shapes"] if _kind(shape) in KINDS]
    objects, unclear = number_instances(
        [(file, _object(shape)) for file, content in documents for shape in content["shapes"]], path
    )
    ids = ObjectIds(objects, path)

    @reading(path, "LabelMe shapes")
    def frames() -> Iterator[ImportedFrame]:
        names = iter(objects)
        for file, content in documents:
            size = int(content["imageHeight"]), int(content["imageWidth"])
            masks = [(ids[next(names)], _mask(shape, size)) for shape in content["shapes"]]
            name = stem_of(content.get("imagePath") or file.name)
            yield ImportedFrame(name, label_map_of(masks, size, f"{file}"))

    return [ImportedMasks(path.resolve().name if path.is_dir() else path.stem, frames, ids.labels(), unclear)]


def _object(shape: dict[str, Any]) -> Hashable:
    group = shape.get("group_id")
    return Instance(str(shape["label"])) if group is None else f"{shape['label']} {group}"


def _kind(shape: dict[str, Any]) -> str:
    return str(shape.get("shape_type") or "polygon")  # null is the default in LabelMe too


def _mask(shape: dict[str, Any], size: tuple[int, int]) -> BoolArray:
    points = np.asarray(shape["points"], dtype=np.float64)
    kind = _kind(shape)
    if kind == "polygon":
        return filled([points], size)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        return filled([np.asarray([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])], size)
    if kind == "circle":
        rows, columns = np.indices(size) + 0.5
        (x, y), radius = points[0], np.hypot(*(points[1] - points[0]))
        return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)
    with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
        held = np.asarray(image.convert("L")) > 0
    left, top = points.min(axis=0).astype(int)
    mask = np.zeros(size, dtype=np.bool_)
    view = mask[top : top + held.shape[0], left : left + held.shape[1]]
    view[:] = held[: view.shape[0], : view.shape[1]]
    return mask
