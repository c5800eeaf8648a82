"""YouTube-VIS (COCO for videos): one JSON file with a track an object and a run-length code a frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vos.plugin import Frame, ImportedFrame, ImportedMasks, LabelMap, Prediction, object_ids
from vos_formats.coco import extent, mask_of
from vos_formats.importing import ObjectIds, label_map_of, read_json, reading, stem_of
from vos_formats.output import FormatWriter, as_json, write_list
from vos_formats.run_lengths import to_coco_counts


class YoutubeVisWriter(FormatWriter):
    """Spools each object's masks to disk, and writes one annotation an object at the end.

    Run-length codes are uncompressed, as in the data set's annotations: TrackEval reads no others there.
    """

    default_name = "youtube-vis.json"

    def begin(self) -> None:
        """Begin; see the base class."""
        self._ids: set[int] = set()
        self._length = 0
        self._size = (0, 0)

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Add one frame to every object's masks."""
        self._size = label_map.shape
        self.spool("file_names", json.dumps(f"{self.run.sequence}/{self.image_name(frame)}"))
        for object_id in object_ids(label_map):
            mask = label_map == object_id
            self._ids.add(object_id)
            box = extent(mask)
            entry = [self._length, as_json(to_coco_counts(mask)), as_json(box["bbox"]), str(box["area"])]
            self.spool(str(object_id), as_json(entry))
        self._length += 1

    def finish(self) -> None:
        """Write the tracks one after another."""
        height, width = self._size
        with self.text_file() as whole:
            whole.write('{"info": ' + json.dumps({"description": f"vos: {self.run.sequence}"}))
            video = {"id": 1, "width": width, "height": height, "length": self._length}
            whole.write(',\n"videos": [' + json.dumps(video)[:-1] + ', "file_names": ')
            write_list(whole, self.spooled("file_names"))
            whole.write('}],\n"categories": ' + json.dumps(self.categories(self._ids)) + ',\n"annotations": ')
            write_list(whole, (self._track(object_id) for object_id in sorted(self._ids)))
            whole.write("}\n")

    def _track(self, object_id: int) -> str:
        """One object's annotation; its masks are the only ones in memory."""
        columns = [["null"] * self._length for _ in range(3)]
        for line in self.spooled(str(object_id)):
            index, *values = json.loads(line)
            for column, value in zip(columns, values, strict=True):
                column[index] = value
        height, width = self._size
        head = {
            "id": object_id, "video_id": 1, "category_id": self.category_of(object_id), "iscrowd": 0,
            "width": width, "height": height, "length": self._length,
        }  # fmt: skip
        lists = zip(("segmentations", "bboxes", "areas"), columns, strict=True)
        return as_json(head)[:-1] + "".join(f',"{name}":[{",".join(values)}]' for name, values in lists) + "}"


def read_youtube_vis(path: Path) -> list[ImportedMasks] | None:
    """Read YouTube-VIS annotations; an annotation's ``id`` numbers the objects of its video."""
    content = read_json(path, "videos", "annotations", "segmentations")
    if not isinstance(content, dict):
        return None
    return [_video(path, video, content["annotations"]) for video in content["videos"]]


def _video(path: Path, video: dict[str, Any], annotations: list[dict[str, Any]]) -> ImportedMasks:
    tracks = [a for a in annotations if a["video_id"] == video["id"]]
    ids = ObjectIds((a["id"] for a in tracks), path)
    names, size = video["file_names"], (video["height"], video["width"])

    @reading(path, "YouTube-VIS annotations")
    def frames() -> Iterator[ImportedFrame]:
        for index, file_name in enumerate(names):
            masks = (
                (ids[a["id"]], mask_of(a["segmentations"][index], size))
                for a in tracks
                if a["segmentations"][index] is not None
            )
            yield ImportedFrame(stem_of(file_name), label_map_of(masks, size, f"{path}: {file_name}"))

    folder = Path(names[0]).parent.name if names else ""
    return ImportedMasks(folder or path.stem, frames, ids.labels())
