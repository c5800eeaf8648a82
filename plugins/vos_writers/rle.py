"""COCO JSON with compressed run-length masks, as ``pycocotools`` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

import numpy as np
from pycocotools import mask as coco_mask

from vos.plugin import Frame, LabelMap, Prediction, Run, discard_partial, object_ids, replacing
from vos_writers.options import RleOptions, begin_file, chosen_path, output_path


class RleWriter:
    """Streams images and annotations to two files and joins them at the end, so that memory stays flat."""

    def __init__(self, options: RleOptions) -> None:
        self._options = options
        self._path = Path()
        self._parts: dict[str, IO[str]] = {}
        self._part_paths: dict[str, Path] = {}
        self._ids: set[int] = set()
        self._annotation_count = 0
        self._sequence = ""
        self._frame_files: tuple[str, ...] | None = None

    def outputs(self, folder: Path | None) -> list[Path]:
        """Name the file; see ``vos.NamingWriter``."""
        return chosen_path(self._options.path, folder, "masks.json")

    def open(self, run: Run) -> None:
        """Begin; see ``vos.Writer``."""
        self._path = output_path(self._options.path, run, "masks.json", "coco-rle")
        self._sequence = run.sequence
        self._frame_files = run.source.frame_files
        for part in ("images", "annotations"):
            self._parts[part], self._part_paths[part] = begin_file(self._path)

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one image entry and an annotation for each object in it."""
        height, width = label_map.shape
        self._add("images", {"id": frame.index, "file_name": self._file_name(frame), "width": width, "height": height})
        scores = {}
        if prediction.scores is not None:
            scores = dict(zip(prediction.object_ids, prediction.scores.tolist(), strict=True))
        for object_id in object_ids(label_map):
            encoded = coco_mask.encode(np.asfortranarray(label_map == object_id, dtype=np.uint8))
            self._ids.add(object_id)
            self._annotation_count += 1
            entry = {
                "id": self._annotation_count,
                "image_id": frame.index,
                "category_id": object_id,
                "track_id": object_id,
                "segmentation": {"size": [height, width], "counts": encoded["counts"].decode("ascii")},
                "area": int(coco_mask.area(encoded)),
                "bbox": [float(v) for v in coco_mask.toBbox(encoded)],
                "iscrowd": 0,
            }
            if object_id in scores:
                entry["score"] = round(scores[object_id], 6)
            self._add("annotations", entry)

    def close(self) -> None:
        """Join the parts into one JSON file."""
        for stream in self._parts.values():
            stream.close()
        categories = [{"id": i, "name": f"object {i}", "supercategory": "object"} for i in sorted(self._ids)]
        with replacing(self._path) as partial, partial.open("w") as whole:
            whole.write('{"info": ' + json.dumps({"description": f"vos: {self._sequence}"}))
            for part, path in self._part_paths.items():
                whole.write(f',\n"{part}": [\n')
                with path.open() as lines:
                    for number, line in enumerate(lines):
                        whole.write((",\n" if number else "") + line.rstrip("\n"))
                whole.write("\n]")
            whole.write(f',\n"categories": {json.dumps(categories)}}}\n')
        self._remove_parts()

    def abort(self, error: BaseException) -> None:
        """Remove the unfinished parts."""
        for stream in self._parts.values():
            stream.close()
        self._remove_parts()

    def _file_name(self, frame: Frame) -> str:
        """Name the frame's image file; a frame of a video has none, and gets the name that an extractor would use."""
        return f"{frame.name}.jpg" if self._frame_files is None else self._frame_files[frame.index]

    def _add(self, part: str, entry: dict[str, Any]) -> None:
        self._parts[part].write(json.dumps(entry) + "\n")

    def _remove_parts(self) -> None:
        for path in self._part_paths.values():
            discard_partial(path)
