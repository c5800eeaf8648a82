"""``vos perseg``: PerSeg's table, with the reference's mask as it is, shrunk or enlarged."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from tqdm import tqdm

from vos.evaluation.images.perseg import evaluate_perseg, mean_over_categories
from vos.plugin import (
    EmptyMaskError,
    InputError,
    LabelMap,
    OutputExistsError,
    Runtime,
    atomic_write,
    general_options,
    natural_order,
    read_image,
    read_label_map,
    refuse_existing,
    runtime_options,
    write_label_map,
)
from vos.weights import sha256_of
from vos_persam.personal import PersonalOptions, PersonalSegmenter
from vos_sam.model import SegmentAnything

REFERENCE = "00"
"""Stem of each category's reference image."""

RECORD = "perseg.json"
"""File beside a category's masks: how they were made."""


@click.command()
@click.argument("root", type=click.Path(path_type=Path), metavar="PERSEG")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for the masks.")
@click.option("--f", "learnt", is_flag=True, help="Learn two mask weights from the reference (PerSAM-F).")
@click.option(
    "--grow",
    "radii",
    type=int,
    multiple=True,
    default=(0,),
    metavar="PIXELS",
    help="Enlarge the reference's mask by so many pixels, or shrink it where negative; may be given several times.",
)
@click.option("--checkpoint", type=click.Path(path_type=Path), default=None, help="Segment Anything or MobileSAM file.")
@click.option(
    "--model",
    type=click.Choice(["vit_b", "vit_l", "vit_h", "vit_t"]),
    default="vit_h",
    show_default=True,
    help="Known model to take from the cache folder if no checkpoint is given.",
)
@runtime_options
@general_options
def command(
    root: Path,
    output: Path,
    learnt: bool,
    radii: tuple[int, ...],
    checkpoint: Path | None,
    model: str,
    runtime: Runtime,
) -> None:
    """Segment PerSeg (Images/CATEGORY/NN.jpg, Annotations/CATEGORY/NN.png) from each category's image 00, and score it.

    A row is printed for each --grow: mean IoU and mean boundary IoU over the categories. Masks that are in the output
    folder are not made again; those of another method, checkpoint, precision, seed or image are refused.
    """
    names = natural_order([path for path in (root / "Annotations").glob("*") if path.is_dir()])
    if not names:
        raise InputError(f"{root}: no Annotations/CATEGORY in it, so it is not PerSeg.")
    sam = SegmentAnything.load(runtime, checkpoint=checkpoint, model=model)
    precision = "fp32" if runtime.precision == "auto" else runtime.precision
    method = "PerSAM-F" if learnt else "PerSAM"
    rows = [MaskSettings(method, radius, sam.details["sha256"], precision, runtime.seed) for radius in radii]
    refuse_existing([settings.folder(output) for settings in rows], overwrite=True)  # what is above them
    categories = [Category.read(root, path.name) for path in names]
    for settings in rows:
        for category in categories:
            refuse_other_masks(settings.folder(output) / category.name, category, settings)
    click.echo("grow  images   mIoU   bIoU")
    for settings in rows:
        folder = settings.folder(output)
        for category in tqdm(categories, unit="category", disable=not sys.stderr.isatty()):
            segment_category(sam, category, folder / category.name, settings)
        mean = mean_over_categories(evaluate_perseg(root, folder, reference=REFERENCE))
        click.echo(f"{settings.grow:+4d}  {mean.images:6d}  {100 * mean.iou:5.1f}  {100 * mean.boundary_iou:5.1f}")


@dataclass(frozen=True)
class MaskSettings:
    """Settings that masks depend on, besides their category's files.

    Attributes:
        method: "PerSAM" or "PerSAM-F".
        grow: pixels by which the reference's mask is enlarged, or shrunk where negative.
        checkpoint: the model's SHA-256.
        precision: arithmetic of the model.
        seed: of everything random.
    """

    method: str
    grow: int
    checkpoint: str
    precision: str
    seed: int

    def folder(self, output: Path) -> Path:
        """The folder of a row's masks in the output folder."""
        return output / f"grow{self.grow:+d}"


@dataclass(frozen=True)
class Category:
    """One category of PerSeg.

    Attributes:
        name: its folder's name.
        images: image files by stem, of those that have a mask; the reference is among them.
        reference_mask: the reference's mask file.
    """

    name: str
    images: dict[str, Path]
    reference_mask: Path

    @classmethod
    def read(cls, root: Path, name: str) -> Category:
        """List a category's files.

        Args:
            root: PerSeg's root.
            name: the folder's name.
        Raises:
            InputError: the reference's mask is missing, or the image of some mask.
        """
        images = {path.stem: path for path in (root / "Images" / name).glob("*")}
        masks = {path.stem: path for path in natural_order(list((root / "Annotations" / name).glob("*.png")))}
        missing = [stem for stem in masks if stem not in images]
        if REFERENCE not in masks or missing:
            raise InputError(f"{root}: no image or mask {name}/{missing[0] if missing else REFERENCE}.")
        return cls(name, {stem: images[stem] for stem in masks}, masks[REFERENCE])

    def made(self, output: Path) -> set[str]:
        """Stems of the images whose mask is in a folder."""
        return {stem for stem in self.images if stem != REFERENCE and (output / f"{stem}.png").exists()}

    def digests(self, stems: Collection[str]) -> dict[str, str]:
        """SHA-256 of the reference's mask and image, and of other images, by file name."""
        files = [self.reference_mask, *(path for stem, path in self.images.items() if stem in {REFERENCE, *stems})]
        try:
            return {f"{path.parent.parent.name}/{path.name}": sha256_of(path) for path in files}
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror}).") from error


def refuse_other_masks(output: Path, category: Category, settings: MaskSettings) -> None:
    """Refuse a folder whose masks were made in another way, or without a record of it.

    Args:
        output: the folder for the category's masks.
        category: its files.
        settings: how masks are made now.
    Raises:
        OutputExistsError: there are such masks; the message names the first difference.
    """
    made = category.made(output)
    if not made:
        return
    record = read_record(output)
    if record is None:
        found = f"without a {RECORD} that says how they were made"
    else:
        wanted = {**asdict(settings), **category.digests(made)}
        other = next((key for key in wanted if record.get(key) != wanted[key]), None)
        if other is None:
            return
        found = f"of another {other} ({shortened(record.get(other))}, now {shortened(wanted[other])})"
    raise OutputExistsError(f"{output}: holds masks {found}. Give another folder with -o, or remove these masks.")


def read_record(output: Path) -> dict[str, Any] | None:
    """Read how a folder's masks were made; None where that is not known."""
    try:
        record = json.loads((output / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def shortened(value: object) -> str:
    """Show a record's value in a message: a digest by its first 12 digits."""
    text = str(value)
    return f"{text[:12]}..." if len(text) > 20 else text


def segment_category(sam: SegmentAnything, category: Category, output: Path, settings: MaskSettings) -> None:
    """Segment a category's images, and write the masks that are not there yet, with a record of how they were made.

    Args:
        sam: the model.
        category: its files.
        output: the folder for its masks; those in it were made with the same settings.
        settings: how to make them.
    """
    made = category.made(output)
    waiting = [stem for stem in category.images if stem != REFERENCE and stem not in made]
    if not waiting:
        return
    reference = read_image(category.images[REFERENCE])
    size = (reference.shape[0], reference.shape[1])
    grown = grow((read_label_map(category.reference_mask, size) > 0).astype(np.uint8), settings.grow)
    if not grown.any():
        raise EmptyMaskError(
            f"{category.name}: nothing is left of the reference's mask, shrunk by {-settings.grow} pixels."
        )
    segmenter = PersonalSegmenter(sam, reference, grown, PersonalOptions(learnt=settings.method == "PerSAM-F"))
    output.mkdir(parents=True, exist_ok=True)
    record = {**asdict(settings), **category.digests(category.images)}
    atomic_write(output / RECORD, json.dumps(record, indent=1) + "\n")
    for stem in waiting:
        write_label_map(output / f"{stem}.png", segmenter.segment(read_image(category.images[stem])))


def grow(mask: LabelMap, radius: int) -> LabelMap:
    """Enlarge a mask by a disc of that radius, or shrink it by one where negative: uint8 (H, W)."""
    if not radius:
        return mask
    side = 2 * abs(radius) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    changed = cv2.dilate(mask, disc) if radius > 0 else cv2.erode(mask, disc)
    return np.asarray(changed, np.uint8)
