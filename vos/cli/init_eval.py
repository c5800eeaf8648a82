"""``vos init-eval``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vos.cli.labelled_data import LabelledData
from vos.cli_options.option_groups import option_group
from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options, option_assignments, progress_option, runtime_options
from vos.errors import OptionError
from vos.host.progress import ProgressForm, show_progress
from vos.registry.options import parse_assignments
from vos.types.runtime import Runtime

if TYPE_CHECKING:
    from vos.evaluation.images.labelled_images import LabelledImages
    from vos.evaluation.images.segmentation_scores import HungarianScorer, SemanticScorer


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
@click.option("--overwrite", is_flag=True, help="Replace an existing file of scores.")
@progress_option
@runtime_options
@general_options
@click.pass_context
def command(ctx: click.Context, /, runtime: Runtime, **given: Any) -> None:
    """Score an initializer over a folder of images and their labels: pixel accuracy and mean IoU, times 100.

    \b
      vos init-eval coco --layout coco-stuff-27 --with diffseg --square 512
      vos init-eval VOC2012 --layout voc --with groupvit --protocol semantic -O background= -O likeliest=5
      vos init-eval images --labels labels --classes 5 --with diffseg

    With --protocol semantic and a layout, an initializer that takes a text gets the classes' names.
    """
    from vos.evaluation.images.initializer_scores import score_images
    from vos.evaluation.images.segmentation_scores import HungarianScorer, SemanticScorer
    from vos.initialization.initialize import make_initializer

    args, data = option_group(_Args, given), option_group(LabelledData, given)
    images = data.images()
    plugins = command_plugins(ctx)
    spec = plugins.initializers.get(args.initializer)
    semantic = args.protocol == "semantic"
    if semantic and spec.segments:
        raise OptionError(
            f"{args.initializer} names no classes, so it has no semantic score. Use --protocol hungarian."
        )
    options: dict[str, Any] = parse_assignments(args.assignments)
    _check_output(args, data, options)
    takes_text = "text" in {field.name for field in dataclasses.fields(spec.options)}
    if semantic and data.layout is not None and takes_text:
        options.setdefault("text", "; ".join(images.classes[images.has_background :]))
    made, _ = make_initializer(args.initializer, options, runtime, plugins)
    scorer = SemanticScorer(len(images.classes)) if semantic else HungarianScorer(len(images.classes))
    done = score_images(
        made,
        images,
        scorer,
        square=args.square,
        semantic=semantic,
        true_clusters=args.true_clusters,
        limit=args.limit,
    )
    with show_progress(f"init-eval {images.name}", len(images.pairs[: args.limit]), "image", args.progress) as progress:
        count = 0
        for count, _ in enumerate(done, 1):
            progress.update(count)
    _report(args, images, options, scorer, count)


@dataclass(frozen=True)
class _Args:
    """The options of the initializer and of the results, by the names of their parameters."""

    initializer: str
    assignments: tuple[str, ...]
    protocol: str
    square: int | None
    true_clusters: bool
    limit: int | None
    per_class: bool
    json_path: Path | None
    overwrite: bool
    progress: ProgressForm


def _check_output(args: _Args, data: LabelledData, options: dict[str, Any]) -> None:
    """Refuse an output that would replace an input or an existing file."""
    from vos.host.outputs.input_protection import files_in_options, files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing_files

    outputs = [args.json_path] if args.json_path else []
    refuse_replacing(outputs, [*files_of_tree(data.folders, outputs), *files_in_options(options)])
    refuse_existing_files(outputs, overwrite=args.overwrite)


def _report(
    args: _Args, images: LabelledImages, options: dict[str, Any], scorer: SemanticScorer | HungarianScorer, count: int
) -> None:
    """Print the scores, and write them to the files that options name."""
    from vos.evaluation.reports.tables import percent, write_text
    from vos.evaluation.video.scores import without_nan

    by_class = {name: float(iou) for name, iou in zip(images.classes, scorer.iou, strict=True)}
    click.echo(
        f"{args.initializer}, {images.name}, {args.protocol}: {count} images, pixel accuracy "
        f"{percent(scorer.accuracy)}, mean IoU {percent(scorer.mean_iou)}"
    )
    if args.per_class:
        for name, iou in by_class.items():
            click.echo(f"  {name:20s} {percent(iou):>5}")
    if args.json_path is not None:
        scores = {
            "initializer": args.initializer,
            "options": options,
            "layout": images.name,
            "protocol": args.protocol,
            "square": args.square,
            "images": count,
            "pixel_accuracy": scorer.accuracy,
            "mean_iou": scorer.mean_iou,
            "iou": by_class,
        }
        write_text(args.json_path, json.dumps(without_nan(scores), indent=2) + "\n")
