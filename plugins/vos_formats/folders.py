"""Formats that are folders of pictures: a folder an object (SA-V), a picture a frame and object, and MOTS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from vos.plugin import (
    AnnotationError,
    AnyArray,
    BoolArray,
    Frame,
    ImportedFrame,
    ImportedMasks,
    LabelMap,
    Prediction,
    object_ids,
    safe_name,
)
from vos_formats.importing import ObjectIds, label_map_of, natural, reading, sequence_of
from vos_formats.output import FormatWriter, png_of

MOTS_STEP = 1000
MOTS_IGNORED = 10000
"""MOTS: a pixel is the class times 1000 plus the object; 10000 is a region that is not scored."""


class SavWriter(FormatWriter):
    """SA-V: ``<object id, 3 digits>/<frame>.png``, a binary palette PNG (0 and 1) for every frame of every object."""

    default_name = "sa-v"
    is_folder = True

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one PNG for each object that the tracker knows; an absent object's is empty."""
        for object_id in sorted({*prediction.object_ids, *object_ids(label_map)}):
            mask = (label_map == object_id).astype(np.uint8)
            self.folder.write_label_map(f"{safe_name(frame.name)}.png", mask, f"{object_id:03d}")


class PngWriter(FormatWriter):
    """``<frame>_<object id, 3 digits>.png``, black and white, for each object in the frame."""

    default_name = "png"
    is_folder = True

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one PNG for each object in the frame."""
        for object_id in object_ids(label_map):
            pixels = np.where(label_map == object_id, np.uint8(255), np.uint8(0))
            self.folder.write(f"{safe_name(frame.name)}_{object_id:03d}.png", png_of(pixels))


class MotsWriter(FormatWriter):
    """KITTI MOTS and MOTSChallenge: ``<frame>.png``, 16 bits, class x 1000 + object id."""

    default_name = "mots"
    is_folder = True

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one PNG."""
        values = np.where(label_map > 0, label_map + np.uint16(self.options.category * MOTS_STEP), 0)
        self.folder.write(f"{safe_name(frame.name)}.png", png_of(values.astype(np.uint16)))


def read_sav(path: Path) -> list[ImportedMasks] | None:
    """Read a folder of one folder of binary PNG files for each object."""
    if not path.is_dir() or any(path.glob("[!.]*.png")):
        return None
    folders = sorted((f for f in path.iterdir() if f.is_dir() and not f.name.startswith(".")), key=natural)
    if not folders or not all(re.fullmatch("[0-9]{3}", f.name) and any(f.glob("[!.]*.png")) for f in folders):
        return None
    ids = ObjectIds((int(f.name) for f in folders), path)
    names = sorted({file.name for f in folders for file in f.glob("[!.]*.png")}, key=lambda name: natural(Path(name)))

    @reading(path, "SA-V masks")
    def frames() -> Iterator[ImportedFrame]:
        for name in names:
            files = [f / name for f in folders if (f / name).is_file()]
            masks = [(ids[int(file.parent.name)], _binary(file)) for file in files]
            yield ImportedFrame(Path(name).stem, label_map_of(masks, masks[0][1].shape, f"{path}: {name}"))

    return [ImportedMasks(sequence_of(path, SavWriter.default_name), frames)]


def read_png(path: Path) -> list[ImportedMasks] | None:
    """Read a folder of ``<frame>_<object id>.png``; label maps of frames that are named so are none."""
    files = sorted(path.glob("[!.]*.png"), key=natural) if path.is_dir() else []
    parsed = [re.fullmatch(r"(.+)_([0-9]{3})", file.stem) for file in files]
    if not files or not all(parsed):
        return None
    by_frame: dict[str, list[tuple[int, Path]]] = {}
    for file, found in zip(files, parsed, strict=True):
        assert found is not None, "checked above"
        by_frame.setdefault(found[1], []).append((int(found[2]), file))
    if len(by_frame) == 1 and not _are_objects(files, *by_frame):
        return None
    ids = ObjectIds(sorted({i for held in by_frame.values() for i, _ in held}), path)

    @reading(path, "black and white masks")
    def frames() -> Iterator[ImportedFrame]:
        for name, held in by_frame.items():
            masks = [(ids[i], _binary(file)) for i, file in held]
            yield ImportedFrame(name, label_map_of(masks, masks[0][1].shape, f"{path}: {name}"))

    return [ImportedMasks(sequence_of(path, PngWriter.default_name), frames)]


def _are_objects(files: list[Path], frame: str) -> bool:
    """Test whether ``<frame>_<number>.png`` are objects of one frame, and not frames of one video (``frame_000.png``).

    Masks of objects have one value besides 0, share no pixel and are not empty. Where the frame's name is a number,
    they may be empty, and share up to half of their pixels. A single mask is that of an object if the frame's name has
    a digit.
    """
    if len(files) == 1:
        return any(map(str.isdecimal, frame))
    numbered = frame.isdecimal()
    covered: BoolArray | None = None
    for file in files:
        try:
            mask = _binary(file)
        except AnnotationError:
            return False
        if not (numbered or mask.any()) or (covered is not None and covered.shape != mask.shape):
            return False
        if covered is not None and np.count_nonzero(covered & mask) > numbered * np.count_nonzero(covered | mask) / 2:
            return False
        covered = mask if covered is None else covered | mask
    return True


def read_mots(path: Path) -> list[ImportedMasks] | None:
    """Read a folder of 16-bit PNG files; ignored regions are void (255)."""
    files = sorted(path.glob("[!.]*.png"), key=natural) if path.is_dir() else []
    if not files or not _is_16_bit(files[0]):
        return None
    values = sorted({int(v) for file in files for v in np.unique(_pixels(file))} - {0, MOTS_IGNORED})
    if not values or values[0] < MOTS_STEP:
        return None
    instances = [value % MOTS_STEP for value in values]
    distinct = len(set(instances)) == len(instances)
    ids = ObjectIds(instances if distinct else values, path)

    @reading(path, "MOTS masks")
    def frames() -> Iterator[ImportedFrame]:
        for file in files:
            pixels = _pixels(file)
            label_map = np.zeros(pixels.shape, dtype=np.uint8)
            label_map[pixels == MOTS_IGNORED] = 255
            for value in np.unique(pixels).tolist():
                if value not in (0, MOTS_IGNORED):
                    label_map[pixels == value] = ids[value % MOTS_STEP if distinct else value]
            yield ImportedFrame(file.stem, label_map)

    return [ImportedMasks(sequence_of(path, MotsWriter.default_name), frames)]


def _is_16_bit(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:26] == b"\x10\x00"


def _whole(path: Path) -> Image.Image:
    """Open a picture whose checksums hold; they are not compared when its pixels are read."""
    with Image.open(path) as image:
        image.verify()
    return Image.open(path)


def _pixels(path: Path) -> AnyArray:
    try:
        with _whole(path) as image:
            pixels = np.asarray(image)
    except Exception as error:  # Pillow's formats raise errors of any kind on damaged files
        raise AnnotationError(f"{path}: cannot be read as a mask ({error}).") from error
    if pixels.ndim != 2:
        raise AnnotationError(f"{path}: not a grey PNG.")
    return pixels


def _binary(path: Path) -> BoolArray:
    """Read a binary mask: True where the pixel is not 0; in palette images the index counts, not its colour.

    Of a picture with transparent parts, the opaque part is the mask.
    """
    try:
        with _whole(path) as image:
            is_grey = image.mode in ("P", "L", "1") or image.mode.startswith("I")
            pixels = np.atleast_3d(np.asarray(image if is_grey else image.convert("RGBA")))
    except Exception as error:  # as above
        raise AnnotationError(f"{path}: cannot be read as a mask ({error}).") from error
    is_layer = pixels.shape[2] == 4 and not pixels[..., 3].all()
    mask = np.asarray((pixels[..., 3:] if is_layer else pixels[..., :3]).any(axis=2))
    held = pixels[mask]
    if (held != held[:1]).any():
        raise AnnotationError(
            f"{path}: several values besides 0, expected the mask of one object. "
            "Save it with hard edges, and each object in a file of its own."
        )
    return mask
