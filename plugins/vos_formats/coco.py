"""COCO instances: one JSON file with an image entry a frame and an annotation an object and frame."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vos.plugin import AnnotationError, BoolArray, Frame, ImportedFrame, ImportedMasks, LabelMap, Prediction, object_ids
from vos_formats.importing import (
    Instance,
    ObjectIds,
    described_sequence,
    label_map_of,
    number_instances,
    read_json,
    reading,
    sequence_of,
    stem_of,
    tell_left_out,
)
from vos_formats.output import FormatWriter, as_json, write_list
from vos_formats.polygons import filled, outlines
from vos_formats.run_lengths import from_coco, to_coco


class CocoWriter(FormatWriter):
    """Streams images and annotations to disk and joins them at the end, so that memory stays flat.

    An annotation's ``track_id`` is the object id. Masks are compressed run-length codes; polygons, where asked for,
    follow the pixels' borders, and a mask with holes stays a run-length code, since COCO's polygons have none.
    """

    default_name = "coco.json"

    def begin(self) -> None:
        """Begin; see the base class."""
        self._ids: set[int] = set()
        self._count = 0

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Add one image and an annotation for each object in it."""
        height, width = label_map.shape
        entry = {"id": frame.index, "file_name": self.image_name(frame), "width": width, "height": height}
        self.spool("images", json.dumps(entry))
        scores: dict[int, float] = {}
        if prediction.scores is not None:
            scores = dict(zip(prediction.object_ids, prediction.scores.tolist(), strict=True))
        for object_id in object_ids(label_map):
            mask = label_map == object_id
            self._ids.add(object_id)
            self._count += 1
            annotation = {
                "id": self._count,
                "image_id": frame.index,
                "category_id": self.category_of(object_id),
                "track_id": object_id,
                "segmentation": self._segmentation(mask),
                **extent(mask),
                "iscrowd": 0,
            }
            if object_id in scores:
                annotation["score"] = round(scores[object_id], 6)
            self.spool("annotations", as_json(annotation))

    def finish(self) -> None:
        """Join the parts into one JSON file."""
        with self.text_file() as whole:
            whole.write('{"info": ' + json.dumps({"description": f"vos: {self.run.sequence}"}))
            for part in ("images", "annotations"):
                whole.write(f',\n"{part}": ')
                write_list(whole, self.spooled(part))
            whole.write(f',\n"categories": {json.dumps(self.categories(self._ids))}}}\n')

    def _segmentation(self, mask: BoolArray) -> Any:
        if getattr(self.options, "polygons", False):
            parts = outlines(mask, self.options.simplify)
            if all(len(part) == 1 for part in parts):
                return [ring.reshape(-1).tolist() for (ring,) in parts]
        return to_coco(mask)


class CocoRleWriter(CocoWriter):
    """The same, as the writer ``coco-rle``: to ``masks.json`` by default."""

    default_name = "masks.json"


def extent(mask: BoolArray) -> dict[str, Any]:
    """COCO's ``area`` and ``bbox`` (x, y, width, height) of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return {"area": 0, "bbox": [0.0, 0.0, 0.0, 0.0]}
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return {"area": int(mask.sum()), "bbox": [float(v) for v in (columns[0], rows[0], width, height)]}


def mask_of(segmentation: Any, size: tuple[int, int]) -> BoolArray:
    """Decode COCO's ``segmentation``: run-length code or polygons."""
    if isinstance(segmentation, Mapping):
        return from_coco(segmentation, size)
    return filled([np.asarray(points, dtype=np.float64).reshape(-1, 2) for points in segmentation], size)


def read_coco(path: Path) -> list[ImportedMasks] | None:
    """Read COCO instances; ``track_id``, also as an attribute, identifies an object, else its category and place do."""
    content = read_json(path, "images", "annotations", "file_name")
    if not isinstance(content, dict) or "videos" in content:
        return None
    annotations = [a for a in content["annotations"] if a.get("segmentation")]
    tell_left_out(path, ["box"] * (len(content["annotations"]) - len(annotations)))
    images = {image["id"] for image in content["images"]}
    lost = [a["image_id"] for a in annotations if a["image_id"] not in images]
    if lost:
        raise AnnotationError(
            f"{path}: {len(lost)} of {len(annotations)} masks are of images that are not in the list of images, first "
            f"image_id {lost[0]!r:.60}. Export it again."
        )
    names = {c["id"]: c["name"] for c in content.get("categories", [])}
    objects, unclear = number_instances([(a["image_id"], _object_of(a, names)) for a in annotations], path)
    ids = ObjectIds(objects, path)
    by_image: dict[Any, list[tuple[int, Any]]] = {}
    for annotation, name in zip(annotations, objects, strict=True):
        by_image.setdefault(annotation["image_id"], []).append((ids[name], annotation["segmentation"]))

    @reading(path, "COCO instances")
    def frames() -> Iterator[ImportedFrame]:
        for image in content["images"]:
            name, size = stem_of(image["file_name"]), (image["height"], image["width"])
            masks = ((object_id, mask_of(coded, size)) for object_id, coded in by_image.get(image["id"], []))
            yield ImportedFrame(name, label_map_of(masks, size, f"{path}: {name}"))

    sequence = described_sequence(content, sequence_of(path, CocoWriter.default_name))
    return [ImportedMasks(sequence, frames, ids.labels(), unclear)]


def _object_of(annotation: dict[str, Any], names: dict[Any, str]) -> Any:
    for holder in (annotation, annotation.get("attributes", {})):
        for key in ("track_id", "instance_id"):
            if holder.get(key) is not None:
                return int(holder[key])
    return Instance(names.get(annotation["category_id"], annotation["category_id"]))
