"""CVAT for video 1.1: an XML file of tracks, with masks or with polygons."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import cv2
import numpy as np

from vos.plugin import AnnotationError, BoolArray, Frame, ImportedFrame, ImportedMasks, LabelMap, Prediction, object_ids
from vos_formats.importing import Instance, ObjectIds, label_map_of, number_instances, reading, stem_of, tell_left_out
from vos_formats.output import FormatWriter
from vos_formats.polygons import bridged, filled, outlines
from vos_formats.run_lengths import from_runs, runs_of

_NO_MASKS = frozenset({"box", "ellipse", "polyline", "points", "cuboid", "skeleton"})


class CvatWriter(FormatWriter):
    """Spools each object's shapes to disk, and writes the tracks at the end.

    Polygons: one track for each object, with one polygon per frame; bridges of zero width join parts and holes. A shape
    marked ``outside`` ends the track in the first frame without the object.

    Masks: one track for each object and frame, with the object id as ``group_id``, as CVAT itself exports masks. CVAT
    has no mask tracks: it reads only the first mask of a track.
    Source: cvat/apps/dataset_manager/formats/cvat.py, ``load_anno`` ("mask track are not supported").
    """

    default_name = "cvat.xml"

    def begin(self) -> None:
        """Begin; see the base class."""
        self._last: dict[int, str] = {}
        self._shown: set[int] = set()
        self._stop = 0
        self._size = (0, 0)

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Add one shape for each object in the frame, and end the polygon tracks of the others."""
        self._size = (label_map.shape[0], label_map.shape[1])
        self._stop = max(self._stop, frame.index)
        present = set(object_ids(label_map))
        for object_id in sorted(present):
            self._last[object_id] = self._shape(label_map == object_id)
            self.spool(str(object_id), self._line(frame.index, object_id, outside=False))
        if self.options.polygons:
            for object_id in sorted(self._shown - present):
                self.spool(str(object_id), self._line(frame.index, object_id, outside=True))
        self._shown = present

    def finish(self) -> None:
        """Write the tracks one after another."""
        polygons = self.options.polygons
        number = 0
        with self.text_file() as xml:
            xml.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
            xml.write(self._meta("polygon" if polygons else "mask"))
            for object_id in sorted(self._last):
                label = quoteattr(self.label_of(object_id))
                shapes = self.spooled(str(object_id))
                for track in [shapes] if polygons else ([shape] for shape in shapes):
                    group = "" if polygons else f' group_id="{object_id}"'
                    track_id = object_id if polygons else number
                    xml.write(f'<track id="{track_id}" label={label}{group} source="auto">\n')
                    xml.writelines(shape + "\n" for shape in track)
                    xml.write("</track>\n")
                    number += 1
            xml.write("</annotations>\n")

    def _line(self, index: int, object_id: int, *, outside: bool) -> str:
        tag = "polygon" if self.options.polygons else "mask"
        state = f'frame="{index}" keyframe="1" outside="{int(outside)}" occluded="0" z_order="0"'
        return f"<{tag} {state} {self._last[object_id]}></{tag}>"

    def _shape(self, mask: BoolArray) -> str:
        if self.options.polygons:
            points = bridged(outlines(mask, self.options.simplify))
            return f'points="{";".join(f"{x:g},{y:g}" for x, y in points.tolist())}"'
        left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
        runs = ", ".join(map(str, runs_of(mask[top : top + height, left : left + width]).tolist()))
        return f'rle="{runs}" left="{left}" top="{top}" width="{width}" height="{height}"'

    def _meta(self, tag: str) -> str:
        height, width = self._size
        stop = self._stop
        labels = "".join(
            f"<label><name>{escape(name)}</name><type>{tag}</type><attributes></attributes></label>"
            for name in dict.fromkeys(self.label_of(i) for i in sorted(self._last))
        )
        return (
            f"<meta><task><name>{escape(self.run.sequence)}</name><size>{stop + 1}</size><mode>interpolation</mode>"
            f"<start_frame>0</start_frame><stop_frame>{stop}</stop_frame><labels>{labels}</labels>"
            f"<original_size><width>{width}</width><height>{height}</height></original_size></task></meta>\n"
        )


def read_cvat(path: Path) -> list[ImportedMasks] | None:
    """Read ``annotations.xml`` of CVAT 1.1, for video or for images, also inside the zip file that CVAT exports.

    Returns:
        The masks of the file; None if it is no CVAT file.
    Raises:
        AnnotationError: the XML is not complete.
    """
    opened = _open(path)
    if opened is None:
        return None
    with opened as stream:
        try:
            root = ElementTree.parse(stream).getroot()
        except ElementTree.ParseError as error:
            raise AnnotationError(f"{path}: not whole XML ({error}). Export it again.") from error
    if root.tag != "annotations":
        return None
    tell_left_out(path, (shape.tag for shape in root.iter() if shape.tag in _NO_MASKS and shape.get("outside") != "1"))
    return [_of_tracks(path, root) if root.find("track") is not None else _of_images(path, root)]


def _of_tracks(path: Path, root: ElementTree.Element) -> ImportedMasks:
    size = _size(path, root)
    tracks = list(root.iter("track"))
    keys = _track_keys(tracks)
    ids = ObjectIds(keys, path)
    shapes: dict[int, list[tuple[int, ElementTree.Element]]] = {}
    for key, track in zip(keys, tracks, strict=True):
        for shape in track:
            if shape.tag in ("mask", "polygon") and shape.get("outside") != "1":
                shapes.setdefault(int(shape.get("frame", "0")), []).append((ids[key], shape))

    @reading(path, "CVAT annotations")
    def frames() -> Iterator[ImportedFrame]:
        for index, held in sorted(shapes.items()):
            masks = ((i, _mask(shape, size)) for i, shape in sorted(held, key=_depth))
            yield ImportedFrame(f"{index:05d}", label_map_of(masks, size, f"{path}: frame {index}"), index)

    name = root.findtext("meta/task/name") or root.findtext("meta/job/name") or path.stem
    return ImportedMasks(name, frames, {ids[k]: t.get("label", "") for k, t in zip(keys, tracks, strict=True)})


def _track_keys(tracks: list[ElementTree.Element]) -> list[str | int]:
    """Return the key of each track's object; tracks with equal keys are one object.

    A mask track is one frame of an object: its key is the label, with the group id if the label has several groups. A
    polygon track is an object: its key is the label if no other track has this label, else the track's id.
    """
    groups: dict[str, set[str]] = {}
    polygons: list[str] = []
    for track in tracks:
        label = track.get("label", "")
        if track.find("mask") is not None:
            groups.setdefault(label, set()).add(track.get("group_id", "0"))
        else:
            polygons.append(label)
    keys: list[str | int] = []
    for track in tracks:
        label = track.get("label", "")
        if track.find("mask") is not None:
            keys.append(label if len(groups[label]) == 1 else f"{label} {track.get('group_id', '0')}")
        else:
            keys.append(label if polygons.count(label) == 1 else int(track.get("id", "0")))
    return keys


def _of_images(path: Path, root: ElementTree.Element) -> ImportedMasks:
    images = list(root.iter("image"))
    shapes = [(number, s) for number, image in enumerate(images) for s in image if s.tag in ("mask", "polygon")]
    objects, unclear = number_instances([(number, _instance(s)) for number, s in shapes], path)
    ids = ObjectIds(objects, path)
    by_image: dict[int, list[tuple[int, ElementTree.Element]]] = {}
    for (number, shape), name in zip(shapes, objects, strict=True):
        by_image.setdefault(number, []).append((ids[name], shape))

    @reading(path, "CVAT annotations")
    def frames() -> Iterator[ImportedFrame]:
        for place, image in enumerate(images):
            size = int(image.attrib["height"]), int(image.attrib["width"])
            masks = ((object_id, _mask(s, size)) for object_id, s in sorted(by_image.get(place, []), key=_depth))
            name, number = stem_of(image.attrib["name"]), image.get("id", "")
            # So CVAT names the frames of a video.
            index = int(number) if number and name == f"frame_{number:0>6}" else None
            yield ImportedFrame(name, label_map_of(masks, size, f"{path}: {name}"), index)

    return ImportedMasks(root.findtext("meta/task/name") or path.stem, frames, ids.labels(), unclear)


def _depth(held: tuple[int, ElementTree.Element]) -> int:
    """The layer of an object's shape; higher ones are in front."""
    return int(held[1].get("z_order", "0"))


def _instance(shape: ElementTree.Element) -> Instance:
    """A shape of an image; CVAT groups shapes within an image, and 0 is no group."""
    group = shape.get("group_id", "0")
    return Instance(shape.get("label", ""), None if group == "0" else group)


def _mask(shape: ElementTree.Element, size: tuple[int, int]) -> BoolArray:
    if shape.tag == "polygon":
        points = [[float(v) for v in point.split(",")] for point in shape.attrib["points"].split(";")]
        return filled([np.asarray(points)], size)
    left, top, width, height = (int(float(shape.attrib[key])) for key in ("left", "top", "width", "height"))
    mask = np.zeros(size, dtype=np.bool_)
    runs = [int(count) for count in shape.attrib["rle"].split(",")]
    mask[top : top + height, left : left + width] = from_runs(runs, (height, width))
    return mask


def _size(path: Path, root: ElementTree.Element) -> tuple[int, int]:
    for place in root.iter("original_size"):
        return int(place.findtext("height") or 0), int(place.findtext("width") or 0)
    raise AnnotationError(f"{path}: the frames' size (original_size) is not in it. Export it as CVAT for video 1.1.")


def _open(path: Path) -> IO[Any] | None:
    """Open the XML of a file or zip file; None if it does not begin as CVAT's does."""
    if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "annotations.xml" in archive.namelist():
                return io.BytesIO(archive.read("annotations.xml"))
    elif path.suffix.lower() == ".xml" and path.is_file():
        with path.open("rb") as stream:
            if b"<annotations>" in stream.read(1 << 12):
                return path.open("rb")
    return None
