"""Folders of images with a class for each pixel: where the files are, and which value means which class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from natsort import natsorted
from PIL import Image as PillowImage

from vos.errors import AnnotationError, InputError
from vos.evaluation.datasets.davis_layout import read_names
from vos.io.masks.mask_file import read_stored_label_map

IGNORED = -1
"""The class of pixels that are not scored."""

ClassMap = npt.NDArray[np.int16]
"""int16 (H, W): a class from 0, or IGNORED."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "table", "dog",
    "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
CONTEXT_CLASSES = (
    "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle", "building", "bus",
    "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow", "cup", "curtain", "dog", "door", "fence",
    "floor", "flower", "food", "grass", "ground", "horse", "keyboard", "light", "motorbike", "mountain", "mouse",
    "person", "plate", "platform", "potted plant", "road", "rock", "sheep", "shelves", "sidewalk", "sign", "sky",
    "snow", "sofa", "table", "track", "train", "tree", "truck", "tv monitor", "wall", "water", "window", "wood",
)  # fmt: skip
CITYSCAPES_CLASSES = (
    "road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole",
    "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck",
    "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
COCO_STUFF_27 = (
    ("electronic", "71-76"),
    ("appliance", "77-82"),
    ("food", "51-60"),
    ("furniture", "61-70"),
    ("indoor thing", "83-90"),
    ("kitchen thing", "43-50"),
    ("accessory", "25-32"),
    ("animal", "15-24"),
    ("outdoor thing", "9-14"),
    ("person", "0"),
    ("sports thing", "33-42"),
    ("vehicle", "1-8"),
    ("ceiling", "101-102"),
    ("floor", "100 113-117"),
    ("food stuff", "120-121 152 169"),
    ("furniture stuff", "97 106-107 109 111 122 129 132 155 160 164"),
    ("raw material", "99 131 138 142"),
    ("textile", "91-92 103-104 108 130 136 140 151 166-167"),
    ("wall", "170-176"),
    ("window", "179-180"),
    ("building", "94-95 127 150 157 165"),
    ("ground", "110 124-125 135 139 143-144 146 148 153 158"),
    ("plant", "93 96 118 123 128 133 141 162 168"),
    ("sky", "105 156"),
    ("solid", "126 134 149 159 161 181"),
    ("structural", "98 112 137 145 163"),
    ("water", "119 147 154 177-178"),
)
"""COCO-Stuff's 27 coarse classes, and the values of its 182 fine ones that belong to each."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and their labels.

    Attributes:
        name: of the layout.
        pairs: (image file, label file), in order.
        classes: names of the C classes.
        class_of: int16 (256,), the class of each value in a label file, or IGNORED.
        has_background: True if class 0 is what no other class is.
    """

    name: str
    pairs: tuple[tuple[Path, Path], ...]
    classes: tuple[str, ...]
    class_of: ClassMap
    has_background: bool = False

    def read_labels(self, path: Path) -> ClassMap:
        """Read one label file.

        Args:
            path: an 8-bit greyscale or palette file.
        Returns:
            int16 (H, W): classes and IGNORED.
        Raises:
            InputError: unreadable, or not 8 bits a pixel.
        """
        try:
            with PillowImage.open(path) as image:
                mode = image.mode
            if mode not in ("L", "P"):
                raise InputError(f"{path}: labels have mode {mode}, expected 8-bit greyscale or palette.")
            values = read_stored_label_map(path, by_index=True).label_map
        except (OSError, AnnotationError) as error:
            raise InputError(f"{path}: cannot be read as labels ({error}).") from error
        classes: ClassMap = self.class_of[values]
        return classes


def labelled_images(root: Path, layout: str, split: str = "val") -> LabelledImages:
    """Find the images and labels of a data set.

    Args:
        root: its folder.
        layout: a key of ``LAYOUTS``.
        split: part of the data set (``"val"``), where the layout has parts.
    Returns:
        Files in order, and what their values mean.
    Raises:
        InputError: an unknown layout, folders that are not there, or images without labels.
    """
    if layout not in LAYOUTS:
        raise InputError(f'no layout named "{layout}". There are: {", ".join(LAYOUTS)}.')
    return LAYOUTS[layout](root, split)


def folders(root: Path, labels: Path, class_count: int) -> LabelledImages:
    """Pair two folders by the files' names; values from ``class_count`` on are ignored.

    Args:
        root: folder of images.
        labels: folder of label files (PNG) named as the images.
        class_count: number of classes, from 1 to 256.
    Returns:
        As ``labelled_images``.
    Raises:
        InputError: a folder is not there, or labels without images.
    """
    class_of = np.where(np.arange(256) < class_count, np.arange(256), IGNORED).astype(np.int16)
    names = tuple(str(index) for index in range(class_count))
    return LabelledImages("folders", _pairs(root, labels), names, class_of)


def _coco_stuff(root: Path, split: str) -> LabelledImages:
    class_of = np.full(256, IGNORED, dtype=np.int16)
    for index, (_, values) in enumerate(COCO_STUFF_27):
        for part in values.split():
            first, _, last = part.partition("-")
            class_of[int(first) : int(last or first) + 1] = index
    images = _first_folder(root, f"{split}2017", f"images/{split}2017")
    labels = _first_folder(root, f"annotation_{split}2017", f"annotations/{split}2017", f"stuffthingmaps/{split}2017")
    chosen = _names(root, "Coco164kFull_Stuff_Coarse_7.txt", f"curated/{split}2017/Coco164kFull_Stuff_Coarse_7.txt")
    return LabelledImages(
        "coco-stuff-27", _pairs(images, labels, chosen), tuple(name for name, _ in COCO_STUFF_27), class_of
    )


def _cityscapes(root: Path, split: str) -> LabelledImages:
    images, labels = _first_folder(root, f"leftImg8bit/{split}"), _first_folder(root, f"gtFine/{split}")
    pairs = []
    for image in natsorted(images.glob("*/*_leftImg8bit.png")):
        name = image.name.removesuffix("_leftImg8bit.png")
        pairs.append((image, labels / image.parent.name / f"{name}_gtFine_labelIds.png"))
    class_of = np.full(256, IGNORED, dtype=np.int16)
    class_of[7:34] = np.arange(27)
    return LabelledImages("cityscapes", _existing(pairs, images), CITYSCAPES_CLASSES, class_of)


def _voc(root: Path, split: str) -> LabelledImages:
    images, labels = _first_folder(root, "JPEGImages"), _first_folder(root, "SegmentationClass")
    chosen = _names(root, f"ImageSets/Segmentation/{split}.txt")
    class_of = np.full(256, IGNORED, dtype=np.int16)
    class_of[:21] = np.arange(21)
    return LabelledImages("voc", _pairs(images, labels, chosen), VOC_CLASSES, class_of, has_background=True)


def _context(root: Path, split: str) -> LabelledImages:
    images, labels = _first_folder(root, "JPEGImages"), _first_folder(root, "SegmentationClassContext")
    chosen = _names(root, f"ImageSets/SegmentationContext/{split}.txt")
    class_of = np.full(256, IGNORED, dtype=np.int16)
    class_of[1:60] = np.arange(59)
    return LabelledImages("context", _pairs(images, labels, chosen), CONTEXT_CLASSES, class_of)


LAYOUTS: dict[str, Callable[[Path, str], LabelledImages]] = {
    "coco-stuff-27": _coco_stuff,
    "cityscapes": _cityscapes,
    "voc": _voc,
    "context": _context,
}
"""Data sets that are known by name.

Sources: COCO-Stuff-27's grouping is that of PiCIE (arXiv:2103.17070), as tabulated in STEGO, src/data.py at
009bc45; Cityscapes' 27 are its label ids 7 to 33, as in google/diffseg, cityscapes_data.py at 77ea596; VOC
2012 has 20 and the background; PASCAL Context the 59 of its MMSegmentation conversion.
"""


def _first_folder(root: Path, *candidates: str) -> Path:
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    raise InputError(f"{root}: no folder {' or '.join(candidates)} in it.")


def _names(root: Path, *candidates: str) -> list[str] | None:
    """The names that a list file holds, or None if there is no such file."""
    for candidate in candidates:
        if (root / candidate).is_file():
            return [name for line in read_names(root / candidate) for name in line.split()]
    return None


def _pairs(images: Path, labels: Path, chosen: list[str] | None = None) -> tuple[tuple[Path, Path], ...]:
    """Pair images with the label files of the same stem; all label files, or those chosen."""
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder.")
    by_stem = {path.stem: path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
    stems = chosen if chosen is not None else natsorted(path.stem for path in labels.glob("*.png"))
    return _existing([(by_stem.get(stem, images / f"{stem}.jpg"), labels / f"{stem}.png") for stem in stems], labels)


def _existing(pairs: list[tuple[Path, Path]], folder: Path) -> tuple[tuple[Path, Path], ...]:
    if not pairs:
        raise InputError(f"{folder}: no images with labels in it.")
    for pair in pairs:
        for path in pair:
            if not path.is_file():
                raise InputError(f"{path}: no such file; its partner is {pair[0] if path == pair[1] else pair[1]}.")
    return tuple(pairs)
