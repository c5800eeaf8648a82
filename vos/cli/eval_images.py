"""``vos eval semantic`` and ``vos eval perseg``: scores of single images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from vos.cli.labelled_data import LabelledData
from vos.cli_options.option_groups import option_group


@click.command("semantic")
@click.argument("root", type=click.Path(path_type=Path), metavar="DATA")
@click.option("--pred", "predictions", type=click.Path(path_type=Path), required=True, help="PNG files, one an image.")
@click.option("--layout", help="Layout of DATA: coco-stuff-27, cityscapes, voc or context.")
@click.option("--split", default="val", show_default=True, help="Part of the data set.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Without --layout: folder of label files; DATA holds the images."
)
@click.option("--classes", type=click.IntRange(1, 256), help="Without --layout: number of classes.")
@click.option("--hungarian", is_flag=True, help="Values are segments without a class: match them in each image.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all numbers.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def semantic(**values: Any) -> None:
    """Score class maps of single images: pixel accuracy and mean IoU, times 100.

    Predictions are PNG files named as the images; values are classes from 0, 255 is nothing.

    \b
      vos eval semantic VOC2012 --layout voc --pred out
      vos eval semantic coco --layout coco-stuff-27 --pred out --hungarian
    """
    from vos.evaluation.images.class_maps import evaluate_semantic
    from vos.evaluation.reports.tables import percent, table, write_text
    from vos.evaluation.video.scores import without_nan
    from vos.host.outputs.input_protection import files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing_files

    data, options = option_group(LabelledData, values), option_group(_SemanticOptions, values)
    outputs = [options.json_path] if options.json_path else []
    refuse_replacing(outputs, files_of_tree([*data.folders, options.predictions], outputs))
    refuse_existing_files(outputs, overwrite=options.overwrite)
    images = data.images()
    scorer = evaluate_semantic(images, options.predictions, hungarian=options.hungarian)
    rows = [["Class", "IoU"], *([name, percent(iou)] for name, iou in zip(images.classes, scorer.iou, strict=True))]
    click.echo(table([*rows, ["Mean IoU", percent(scorer.mean_iou)], ["Pixel accuracy", percent(scorer.accuracy)]]))
    if options.json_path is not None:
        by_class = dict(zip(images.classes, scorer.iou.tolist(), strict=True))
        numbers = {"pixel_accuracy": scorer.accuracy, "mean_iou": scorer.mean_iou, "iou": by_class}
        content = without_nan({**numbers, "images": len(images.pairs)})
        write_text(options.json_path, json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True)
class _SemanticOptions:
    """The other options of ``vos eval semantic``, by the names of their parameters."""

    predictions: Path
    hungarian: bool
    json_path: Path | None
    overwrite: bool


@click.command("perseg")
@click.option("--gt", "truth", type=click.Path(path_type=Path), required=True, help="PerSeg's root or Annotations.")
@click.option("--pred", "predictions", type=click.Path(path_type=Path), required=True, help="A folder a category.")
@click.option("--reference", default="00", show_default=True, help="Stem of the image that was given: not scored.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all numbers.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def perseg(truth: Path, predictions: Path, reference: str, json_path: Path | None, overwrite: bool) -> None:
    """Score personalised segmentation in PerSeg's layout: mean IoU and boundary IoU, times 100."""
    from dataclasses import asdict

    from vos.evaluation.images.perseg import evaluate_perseg, mean_over_categories
    from vos.evaluation.reports.tables import percent, table, write_text
    from vos.host.outputs.input_protection import files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing_files

    outputs = [json_path] if json_path else []
    refuse_replacing(outputs, files_of_tree([truth, predictions], outputs))
    refuse_existing_files(outputs, overwrite=overwrite)
    scores = evaluate_perseg(truth, predictions, reference=reference)
    rows = [["Category", "IoU", "bIoU", "Accuracy"]]
    for one in [*scores, mean_over_categories(scores)]:
        rows.append([one.category, percent(one.iou), percent(one.boundary_iou), percent(one.accuracy)])
    click.echo(table(rows))
    if json_path is not None:
        content = {"mean": asdict(mean_over_categories(scores)), "categories": [asdict(one) for one in scores]}
        write_text(json_path, json.dumps(content, indent=1) + "\n")
