"""Label Studio: a JSON list of tasks, one a frame, with brush masks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vos.plugin import BoolArray, Frame, ImportedFrame, ImportedMasks, LabelMap, Prediction, object_ids
from vos_formats.importing import (
    Instance,
    ObjectIds,
    label_map_of,
    number_instances,
    read_json,
    reading,
    sequence_of,
    stem_of,
    tell_left_out,
)
from vos_formats.output import FormatWriter, as_json, write_list
from vos_formats.polygons import filled
from vos_formats.run_lengths import from_label_studio, to_label_studio

CONTROL, IMAGE = "tag", "image"
"""Names in the labelling set-up: ``<Image name="image" .../>`` and ``<BrushLabels name="tag" toName="image">``."""


class LabelStudioWriter(FormatWriter):
    """Spools a task a frame to disk, and writes the list at the end."""

    default_name = "label-studio.json"

    def begin(self) -> None:
        """Begin; see the base class."""
        self._count = 0

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Add one task."""
        height, width = label_map.shape
        results = []
        for object_id in object_ids(label_map):
            value = {"format": "rle", "rle": to_label_studio(label_map == object_id)}
            results.append(
                {
                    "id": f"{frame.index}-{object_id}",
                    "type": "brushlabels",
                    "from_name": CONTROL,
                    "to_name": IMAGE,
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "value": {**value, "brushlabels": [self.label_of(object_id)]},
                }
            )
        self._count += 1
        task = {"id": self._count, "data": {"image": self.image_name(frame)}, "annotations": [{"result": results}]}
        self.spool("tasks", as_json(task))

    def finish(self) -> None:
        """Write the list of tasks."""
        with self.text_file() as whole:
            write_list(whole, self.spooled("tasks"))
            whole.write("\n")


def read_label_studio(path: Path) -> list[ImportedMasks] | None:
    """Read exported tasks with brush masks or polygons; a label is one object, or several where a task has several."""
    content = read_json(path, "annotations", "result", "data")
    if not isinstance(content, list):
        return None
    held = [[result for result in _results(task) if _labels(result)] for task in content]
    types = (str(result.get("type", "")) for task in content for result in _results(task) if not _labels(result))
    tell_left_out(path, (kind.removesuffix("labels") for kind in types if kind.endswith("labels")))
    found = [(number, Instance(_labels(result)[0])) for number, results in enumerate(held) for result in results]
    objects, unclear = number_instances(found, path)
    ids = ObjectIds(objects, path)

    @reading(path, "Label Studio tasks")
    def frames() -> Iterator[ImportedFrame]:
        names = iter(objects)
        size = next((_size(results[0]) for results in held if results), None)
        for task, results in zip(content, held, strict=True):
            if size is None or not (results or _is_annotated(task)):
                continue
            name = _frame_name(task)
            size = _size(results[0]) if results else size
            masks = [(ids[next(names)], _mask(result["value"], size)) for result in results]
            yield ImportedFrame(name, label_map_of(masks, size, f"{path}: {name}"))

    return [ImportedMasks(sequence_of(path, LabelStudioWriter.default_name), frames, ids.labels(), unclear)]


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    annotations = task.get("annotations") or task.get("predictions") or []
    return list(annotations[-1].get("result", [])) if annotations else []


def _is_annotated(task: dict[str, Any]) -> bool:
    """True if someone has annotated a task, also where nothing was found in its image; False if it was skipped."""
    annotations = task.get("annotations") or []
    return bool(annotations) and not annotations[-1].get("was_cancelled")


def _size(result: dict[str, Any]) -> tuple[int, int]:
    return int(result["original_height"]), int(result["original_width"])


def _labels(result: dict[str, Any]) -> list[str]:
    value = result.get("value", {})
    return list(value.get("brushlabels") or value.get("polygonlabels") or [])


def _mask(value: dict[str, Any], size: tuple[int, int]) -> BoolArray:
    if "rle" in value:
        return from_label_studio(value["rle"], size)
    points = np.asarray(value["points"], dtype=np.float64) / 100 * [size[1], size[0]]
    return filled([points], size)


def _frame_name(task: dict[str, Any]) -> str:
    """The image's name, without what Label Studio puts before the name of an uploaded file."""
    name = task.get("file_upload") or next(iter(task["data"].values()))
    return re.sub(r"^[0-9a-f]{8}-", "", stem_of(json.dumps(name)[1:-1] if not isinstance(name, str) else name))
