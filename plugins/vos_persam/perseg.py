"""``vos perseg``: PerSeg's table, with the reference's mask as it is, shrunk or enlarged."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import cv2
import numpy as np
from tqdm import tqdm

from vos.evaluation.images.perseg import evaluate_perseg, mean_over_categories
from vos.plugin import (
    EmptyMaskError,
    InputError,
    LabelMap,
    Runtime,
    general_options,
    natural_order,
    read_image,
    read_label_map,
    runtime_options,
    write_label_map,
)
from vos_persam.personal import PersonalOptions, PersonalSegmenter
from vos_sam.model import SegmentAnything

REFERENCE = "00"
"""Stem of each category's reference image."""


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
    folder are not made again.
    """
    categories = natural_order([path for path in (root / "Annotations").glob("*") if path.is_dir()])
    if not categories:
        raise InputError(f"{root}: no Annotations/CATEGORY in it, so it is not PerSeg.")
    sam = SegmentAnything.load(runtime, checkpoint=checkpoint, model=model)
    click.echo("grow  images   mIoU   bIoU")
    for radius in radii:
        folder = output / f"grow{radius:+d}"
        for category in tqdm(categories, unit="category", disable=not sys.stderr.isatty()):
            segment_category(sam, root, category.name, folder / category.name, radius, learnt=learnt)
        mean = mean_over_categories(evaluate_perseg(root, folder, reference=REFERENCE))
        click.echo(f"{radius:+4d}  {mean.images:6d}  {100 * mean.iou:5.1f}  {100 * mean.boundary_iou:5.1f}")


def segment_category(
    sam: SegmentAnything, root: Path, category: str, output: Path, radius: int, *, learnt: bool
) -> None:
    """Segment a category's images, and write the masks that are not there yet.

    Args:
        sam: the model.
        root: PerSeg's root.
        category: the folder's name.
        output: the folder for its masks.
        radius: pixels by which the reference's mask is enlarged, or shrunk where negative.
        learnt: PerSAM-F.
    """
    images = {path.stem: path for path in (root / "Images" / category).glob("*")}
    names = [path.stem for path in natural_order(list((root / "Annotations" / category).glob("*.png")))]
    missing = [name for name in names if name not in images]
    if REFERENCE not in names or missing:
        raise InputError(f"{root}: no image or mask {category}/{missing[0] if missing else REFERENCE}.")
    waiting = [name for name in names if name != REFERENCE and not (output / f"{name}.png").exists()]
    if not waiting:
        return
    reference = read_image(images[REFERENCE])
    size = (reference.shape[0], reference.shape[1])
    label_map = read_label_map(root / "Annotations" / category / f"{REFERENCE}.png", size)
    grown = grow((label_map > 0).astype(np.uint8), radius)
    if not grown.any():
        raise EmptyMaskError(f"{category}: nothing is left of the reference's mask, shrunk by {-radius} pixels.")
    segmenter = PersonalSegmenter(sam, reference, grown, PersonalOptions(learnt=learnt))
    output.mkdir(parents=True, exist_ok=True)
    for name in waiting:
        write_label_map(output / f"{name}.png", segmenter.segment(read_image(images[name])))


def grow(mask: LabelMap, radius: int) -> LabelMap:
    """Enlarge a mask by a disc of that radius, or shrink it by one where negative: uint8 (H, W)."""
    if not radius:
        return mask
    side = 2 * abs(radius) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    changed = cv2.dilate(mask, disc) if radius > 0 else cv2.erode(mask, disc)
    return np.asarray(changed, np.uint8)
