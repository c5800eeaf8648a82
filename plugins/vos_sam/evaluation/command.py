"""``vos sam-eval``: parse, call, print a table's row."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from vos.plugin import (
    IMAGE_SUFFIXES,
    Frame,
    InputError,
    Runtime,
    general_options,
    natural_order,
    read_image,
    runtime_options,
)

MODELS = ("vit_b", "vit_l", "vit_h", "vit_t")


@click.group()
def command() -> None:
    """Score Segment Anything as its paper does: masks from a single point, or edges."""


def _model_options(function: Any) -> Any:
    checkpoint = click.option(
        "--checkpoint", type=click.Path(path_type=Path), help="Segment Anything or MobileSAM file."
    )
    model = click.option(
        "--model",
        type=click.Choice(MODELS),
        default="vit_h",
        show_default=True,
        help="Known model to take from the cache folder if no checkpoint is given.",
    )
    return checkpoint(model(runtime_options(general_options(function))))


@command.command("points")
@click.argument("images", type=click.Path(path_type=Path), metavar="IMAGES")
@click.argument("masks", type=click.Path(path_type=Path), metavar="MASKS")
@_model_options
def points(images: Path, masks: Path, checkpoint: Path | None, model: str, runtime: Runtime) -> None:
    """Prompt each object with its most central point; MASKS holds a label map for each of IMAGES, of the same name.

    Printed are the mean IoU of the mask that the model rates highest, and of the best of its three (oracle).
    """
    from vos_sam.evaluation.points import evaluate_points
    from vos_sam.model import SegmentAnything

    pairs = _pairs(images, masks, (".png",))
    sam = SegmentAnything.load(runtime, checkpoint=checkpoint, model=model)
    scores = list(
        tqdm(
            evaluate_points(sam, [image for image, _ in pairs], [mask for _, mask in pairs]),
            unit="object",
            disable=not sys.stderr.isatty(),
        )
    )
    if not scores:
        raise InputError(f"{masks}: no label map has an object.")
    click.echo("images  objects  mIoU  mIoU, oracle of three")
    confident, oracle = (float(np.mean([getattr(one, name) for one in scores])) for name in ("confident", "oracle"))
    click.echo(f"{len(pairs):6d}  {len(scores):7d}  {100 * confident:4.1f}  {100 * oracle:4.1f}")


@command.command("edges")
@click.argument("images", type=click.Path(path_type=Path), metavar="IMAGES")
@click.argument("truth", type=click.Path(path_type=Path), metavar="TRUTH")
@click.option("--maps", is_flag=True, help="IMAGES are edge maps of another program: grey, thin, 255 the strongest.")
@_model_options
def edges(images: Path, truth: Path, maps: bool, checkpoint: Path | None, model: str, runtime: Runtime) -> None:
    """Find edges (sam-edges) and score them: ODS, OIS, AP and R50, as BSDS500 does.

    TRUTH holds a .mat of BSDS500, or a picture with white edges, for each of IMAGES, of the same name.
    """
    from vos_sam.edges import EdgesInitializer
    from vos_sam.evaluation.edges import count_image, edge_scores, read_truths
    from vos_sam.model import SegmentAnything
    from vos_sam.options import EdgesOptions

    pairs = _pairs(images, truth, (".mat", ".png"))
    finder = None
    if not maps:
        finder = EdgesInitializer(EdgesOptions(), SegmentAnything.load(runtime, checkpoint=checkpoint, model=model))
    counts = []
    for index, (image, human) in enumerate(tqdm(pairs, unit="image", disable=not sys.stderr.isatty())):
        pixels, truths = read_image(image), read_truths(human)
        if any(one.shape != pixels.shape[:2] for one in truths):
            raise InputError(f"{human}: {truths[0].shape[::-1]} pixels, {image} has {pixels.shape[1::-1]}.")
        strength = (
            pixels.max(axis=2) / np.float32(255) if finder is None else finder.edges(Frame(index, pixels, image.stem))
        )
        counts.append(count_image(strength, truths))
    scores = edge_scores(np.stack(counts))
    click.echo("images    ODS    OIS     AP    R50")
    click.echo(f"{len(pairs):6d}  {scores.ods:.3f}  {scores.ois:.3f}  {scores.ap:.3f}  {scores.r50:.3f}")


def _pairs(images: Path, others: Path, suffixes: Sequence[str]) -> list[tuple[Path, Path]]:
    """Images in natural order, each with the file of its name in the other folder."""
    files = [path for path in images.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES] if images.is_dir() else []
    if not files:
        raise InputError(f"{images}: no images in it.")
    pairs = []
    for image in natural_order(files):
        named = [others / f"{image.stem}{suffix}" for suffix in suffixes]
        there = [path for path in named if path.is_file()]
        if not there:
            raise InputError(f"{others}: no {' or '.join(path.name for path in named)} for {image}.")
        pairs.append((image, there[0]))
    return pairs
