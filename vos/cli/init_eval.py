"""``vos init-eval``."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import click

from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options, option_assignments, runtime_options
from vos.errors import InputError, OptionError
from vos.registry.options import parse_assignments
from vos.types.runtime import Runtime


@click.command("init-eval")
@click.argument("root", type=click.Path(path_type=Path), metavar="IMAGES")
@click.option("--with", "initializer", required=True, metavar="NAME", help="The initializer; -O sets its options.")
@option_assignments
@click.option(
    "--layout",
    type=click.Choice(["coco-stuff-27", "cityscapes", "voc", "context"]),
    help="IMAGES is the root of this data set.",
)
@click.option("--split", default="val", show_default=True, help="Part of the data set.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Without --layout: folder of PNG labels named as IMAGES."
)
@click.option(
    "--classes", type=click.IntRange(1, 255), help="With --labels: number of classes; values above are ignored."
)
@click.option(
    "--protocol",
    type=click.Choice(["hungarian", "semantic"]),
    default="hungarian",
    show_default=True,
    help="Match segments to classes image by image, or take ids as classes.",
)
@click.option("--square", type=click.IntRange(min=16), metavar="SIDE", help="Score the central square, scaled to SIDE.")
@click.option("--true-clusters", is_flag=True, help="Give the initializer each image's number of classes (K-Means-S).")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@click.option("--per-class", is_flag=True, help="Also print each class's IoU.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the scores.")
@click.option("--overwrite", is_flag=True, help="Replace scores that are there.")
@runtime_options
@general_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    root: Path,
    initializer: str,
    assignments: tuple[str, ...],
    layout: str | None,
    split: str,
    labels: Path | None,
    classes: int | None,
    protocol: str,
    square: int | None,
    true_clusters: bool,
    limit: int | None,
    per_class: bool,
    json_path: Path | None,
    overwrite: bool,
    runtime: Runtime,
) -> None:
    """Score an initializer over a folder of images and their labels: pixel accuracy and mean IoU, times 100.

    \b
      vos init-eval coco --layout coco-stuff-27 --with diffseg --square 512
      vos init-eval VOC2012 --layout voc --with groupvit --protocol semantic -O background= -O likeliest=5
      vos init-eval images --labels labels --classes 5 --with diffseg

    With --protocol semantic and a layout, an initializer that takes a text gets the classes' names.
    """
    from tqdm import tqdm

    from vos.evaluation.images.initializer_scores import score_images
    from vos.evaluation.images.segmentation_scores import HungarianScorer, SemanticScorer
    from vos.host.outputs.input_protection import files_in_options, files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing
    from vos.initialization.initialize import make_initializer

    images = _images(root, layout, split, labels, classes)
    plugins = command_plugins(ctx)
    spec = plugins.initializers.get(initializer)
    semantic = protocol == "semantic"
    if semantic and spec.segments:
        raise OptionError(f"{initializer} names no classes, so it has no semantic score. Use --protocol hungarian.")
    options: dict[str, Any] = parse_assignments(assignments)
    outputs = [json_path] if json_path else []
    trees = [root, *([labels] if labels else [])]
    refuse_replacing(outputs, [*files_of_tree(trees, outputs), *files_in_options(options)])
    refuse_existing(outputs, overwrite=overwrite)
    takes_text = "text" in {field.name for field in dataclasses.fields(spec.options)}
    if semantic and layout is not None and takes_text:
        options.setdefault("text", "; ".join(images.classes[images.has_background :]))
    made, _ = make_initializer(initializer, options, runtime, plugins)
    scorer = SemanticScorer(len(images.classes)) if semantic else HungarianScorer(len(images.classes))
    done = score_images(
        made, images, scorer, square=square, semantic=semantic, true_clusters=true_clusters, limit=limit
    )
    count = sum(1 for _ in tqdm(done, total=len(images.pairs[:limit]), unit="image", delay=1.0, disable=None))
    scores = {
        "initializer": initializer,
        "options": options,
        "layout": images.name,
        "protocol": protocol,
        "square": square,
        "images": count,
        "pixel_accuracy": scorer.accuracy,
        "mean_iou": scorer.mean_iou,
        "iou": {
            name: None if math.isnan(iou) else float(iou) for name, iou in zip(images.classes, scorer.iou, strict=True)
        },
    }
    click.echo(
        f"{initializer}, {images.name}, {protocol}: {count} images, pixel accuracy {scorer.accuracy * 100:.1f}, "
        f"mean IoU {scorer.mean_iou * 100:.1f}"
    )
    if per_class:
        for name, iou in scores["iou"].items():
            click.echo(f"  {name:20s} {'-' if iou is None else f'{iou * 100:5.1f}'}")
    if json_path is not None:
        from vos.evaluation.video.scores import without_nan
        from vos.io.atomic_files import atomic_write

        atomic_write(json_path, json.dumps(without_nan(scores), indent=2) + "\n")


def _images(root: Path, layout: str | None, split: str, labels: Path | None, classes: int | None) -> Any:
    from vos.evaluation.images.labelled_images import folders, labelled_images

    if layout is not None:
        if labels is not None or classes is not None:
            raise OptionError("--layout knows its labels and classes; leave out --labels and --classes.")
        return labelled_images(root, layout, split)
    if labels is None or classes is None:
        raise InputError("say where the labels are: --layout NAME, or --labels FOLDER with --classes N.")
    return folders(root, labels, classes)
