"""``vos eval``: score existing masks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from vos.cli_options.settings import command_plugins
from vos.errors import InputError

if TYPE_CHECKING:
    from vos.evaluation.reports.tables import Style


class _Group(click.Group):
    """A verb that scores masks by itself, and has verbs of its own for other kinds of scores."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "--gt DIR --pred [NAME=]DIR [OPTIONS]")
        formatter.write_usage(ctx.command_path, "semantic|perseg|submission ...")


@click.group("eval", cls=_Group, invoke_without_command=True)
@click.option(
    "--gt", "truth", type=click.Path(path_type=Path), help="The truth: a DAVIS root, or a folder of sequences."
)
@click.option(
    "--pred",
    "predictions",
    multiple=True,
    metavar="[NAME=]DIR",
    help="Predicted masks, or a file of another tool (`vos plugins`: formats); several are compared.",
)
@click.option("--protocol", metavar="NAME", help="Rules, see above; by default those of the set, else davis-2017.")
@click.option("--set", "sequences", metavar="SET|FILE", help="A set of a DAVIS root (2017/val), or a file of names.")
@click.option("-j", "workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--missing", type=click.Choice(["error", "zero"]), default="error", show_default=True,
              help="Score frames without a prediction as empty, or refuse.")  # fmt: skip
@click.option("--all-frames", is_flag=True, help="Score the first and last frames too.")
@click.option("--official", is_flag=True, help="Reproduce the faults of the official tool.")
@click.option("--tolerance", type=float, default=0.008, show_default=True,
              help="Of the boundary: a share of the diagonal, or pixels from 1 on.")  # fmt: skip
@click.option("--meta", type=click.Path(path_type=Path), help="YouTube-VOS meta.json: scores by seen and unseen.")
@click.option("--seen-meta", type=click.Path(path_type=Path), help="The training set's meta.json: the seen categories.")
@click.option("--per-sequence", is_flag=True, help="Also print a row for each sequence.")
@click.option("--sequence", "only", multiple=True, metavar="NAME", help="Only this one. May be given several times.")
@click.option("--digits", type=click.IntRange(0, 6), default=1, show_default=True, help="Digits after the point.")
@click.option("--table", "style", type=click.Choice(["text", "md", "latex"]), default="text", show_default=True,
              help="How the table is written.")  # fmt: skip
@click.option("--intervals", is_flag=True, help="Print 95 % bootstrap intervals and, for several --pred, paired tests.")
@click.option("--slices", "by_attribute", is_flag=True, help="Print scores by attribute: size, speed, occlusion, ...")
@click.option("--frames-csv", type=click.Path(path_type=Path), help="Write J and F of every object and frame.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, allow_dash=True),
              help="Write all numbers, frame by frame; - for stdout, in place of the table.")  # fmt: skip
@click.option(
    "--csv", "csv_path", type=click.Path(path_type=Path), help="Write the official tables: a folder or X.csv."
)
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a report to open in a browser.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.pass_context
def command(
    ctx: click.Context,
    truth: Path | None,
    predictions: tuple[str, ...],
    protocol: str | None,
    sequences: str | None,
    workers: int,
    missing: Literal["error", "zero"],
    all_frames: bool,
    official: bool,
    tolerance: float,
    meta: Path | None,
    seen_meta: Path | None,
    per_sequence: bool,
    only: tuple[str, ...],
    digits: int,
    style: Style,
    intervals: bool,
    by_attribute: bool,
    frames_csv: Path | None,
    json_path: Path | None,
    csv_path: Path | None,
    html_path: Path | None,
    overwrite: bool,
) -> None:
    """Score existing masks: J, F and J&F, times 100.

    Masks are PNG files with ids, one folder for each sequence, named as the truth's files.
    Several --pred NAME=DIR are compared side by side.

    \b
    Protocols:
      davis-2017               each object of the first frame; first and last frame left out
      davis-2016               the same, objects merged to one
      davis-2017-unsupervised  up to 20 proposals matched to the objects; void ignored; all frames
      youtube-vos              each object from the annotated frame after its first
      sparse                   every annotated frame but the first
      sa-v                     a folder of binary masks for each object
      lvos                     as youtube-vos without the last frame; V besides
      vost                     J, and J of the last quarter (J_tr)
      mose                     all objects; F also with the adaptive tolerance of MOSEv2
    """
    if ctx.invoked_subcommand is not None:
        return
    from vos.conversion.importing import prediction_folder
    from vos.evaluation.datasets.mask_folders import evaluate
    from vos.evaluation.reports.environment import environment
    from vos.evaluation.reports.tables import (
        csv_files,
        interval_lines,
        per_frame_csv,
        sequence_table,
        slice_table,
        summary_table,
        write_csv,
        write_text,
    )
    from vos.host.outputs.input_protection import files_in_options, files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing

    if truth is None or not predictions:
        raise click.UsageError("vos eval takes --gt DIR and at least one --pred DIR. Try vos eval --help.")
    plugins = command_plugins(ctx)
    named = [(name, ctx.with_resource(prediction_folder(path, truth, plugins))) for name, path in _named(predictions)]
    set_name = (sequences or "val").rsplit("/", 1)[-1].removesuffix(".txt")
    tables = {name: csv_path / name if len(named) > 1 else csv_path for name, _ in named} if csv_path else {}
    to_stdout = json_path == Path("-")
    outputs = [path for path in (json_path, html_path, frames_csv) if path is not None and path != Path("-")]
    outputs += [file for path in tables.values() for file in csv_files(path, set_name)]
    read = files_of_tree([truth, *(folder for _, folder in named)], outputs)
    refuse_replacing(outputs, [*read, *files_in_options(meta, seen_meta, sequences)])
    refuse_existing(outputs, overwrite=overwrite)
    results = [
        evaluate(
            truth,
            folder,
            name=name,
            protocol=protocol,
            sequences=list(only) or sequences,
            workers=workers,
            missing=missing,
            all_frames=all_frames,
            official=official,
            tolerance=tolerance,
            meta=meta,
            seen_meta=seen_meta,
            progress=_progress(name),
        )
        for name, folder in named
    ]
    for note in dict.fromkeys(note for scores in results for note in scores.notes):
        click.echo(f"vos: {note}.", err=True)
    if not to_stdout:
        click.echo(summary_table(results, style, digits))
        if per_sequence or len(results) > 1:
            click.echo("\n" + sequence_table(results, style, digits))
        if intervals:
            click.echo("\n" + interval_lines(results, digits))
        if by_attribute:
            click.echo("\n" + slice_table(results, style, digits))
    if json_path is not None:
        text = json.dumps({**environment(), "results": [scores.to_json() for scores in results]}, indent=1)
        if to_stdout:
            click.echo(text)
        else:
            write_text(json_path, text + "\n")
    if frames_csv is not None:
        write_text(frames_csv, per_frame_csv(results))
    for scores in results if tables else []:
        write_csv(tables[scores.name], scores, set_name)
    if html_path is not None:
        from vos.evaluation.reports.html import html_report

        write_text(html_path, html_report(results))


@command.command("semantic")
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
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def semantic(
    root: Path,
    predictions: Path,
    layout: str | None,
    split: str,
    labels: Path | None,
    classes: int | None,
    hungarian: bool,
    json_path: Path | None,
    overwrite: bool,
) -> None:
    """Score class maps of single images: pixel accuracy and mean IoU, times 100.

    Predictions are PNG files named as the images; values are classes from 0, 255 is nothing.

    \b
      vos eval semantic VOC2012 --layout voc --pred out
      vos eval semantic coco --layout coco-stuff-27 --pred out --hungarian
    """
    from vos.evaluation.images.class_maps import evaluate_semantic
    from vos.evaluation.images.labelled_images import folders, labelled_images
    from vos.evaluation.reports.tables import percent, table, write_text
    from vos.evaluation.video.scores import without_nan
    from vos.host.outputs.input_protection import files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing

    outputs = [json_path] if json_path else []
    refuse_replacing(outputs, files_of_tree([root, predictions, *([labels] if labels else [])], outputs))
    refuse_existing(outputs, overwrite=overwrite)
    if layout is not None:
        images = labelled_images(root, layout, split)
    elif labels is None or classes is None:
        raise click.UsageError("say where the labels are: --layout NAME, or --labels DIR with --classes N.")
    else:
        images = folders(root, labels, classes)
    scorer = evaluate_semantic(images, predictions, hungarian=hungarian)
    rows = [["Class", "IoU"], *([name, percent(iou)] for name, iou in zip(images.classes, scorer.iou, strict=True))]
    click.echo(table([*rows, ["Mean IoU", percent(scorer.mean_iou)], ["Pixel accuracy", percent(scorer.accuracy)]]))
    if json_path is not None:
        by_class = dict(zip(images.classes, scorer.iou.tolist(), strict=True))
        numbers = {"pixel_accuracy": scorer.accuracy, "mean_iou": scorer.mean_iou, "iou": by_class}
        write_text(json_path, json.dumps(without_nan({**numbers, "images": len(images.pairs)}), indent=1) + "\n")


@command.command("submission")
@click.argument("results", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The zip file.")
@click.option("--names", type=click.Path(path_type=Path), help="Text file of the sequences; by default all.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def submission(results: Path, output: Path, names: Path | None, overwrite: bool) -> None:
    """Pack a folder of masks for a benchmark's server: a zip of SEQUENCE/FRAME.png.

    \b
      vos eval submission out/mose -o submission.zip
    """
    from vos.evaluation.datasets.davis_layout import read_names
    from vos.evaluation.datasets.submission import write_submission
    from vos.host.outputs.input_protection import files_in_options, files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing

    refuse_replacing([output], [*files_of_tree([results], [output]), *files_in_options(names)])
    refuse_existing([output], overwrite=overwrite)
    count = write_submission(results, output, None if names is None else read_names(names))
    click.echo(f"{output}: {count} masks")


@command.command("perseg")
@click.option("--gt", "truth", type=click.Path(path_type=Path), required=True, help="PerSeg's root or Annotations.")
@click.option("--pred", "predictions", type=click.Path(path_type=Path), required=True, help="A folder a category.")
@click.option("--reference", default="00", show_default=True, help="Stem of the image that was given: not scored.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all numbers.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def perseg(truth: Path, predictions: Path, reference: str, json_path: Path | None, overwrite: bool) -> None:
    """Score personalised segmentation in PerSeg's layout: mean IoU and boundary IoU, times 100."""
    from dataclasses import asdict

    from vos.evaluation.images.perseg import evaluate_perseg, mean_over_categories
    from vos.evaluation.reports.tables import percent, table, write_text
    from vos.host.outputs.input_protection import files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing

    outputs = [json_path] if json_path else []
    refuse_replacing(outputs, files_of_tree([truth, predictions], outputs))
    refuse_existing(outputs, overwrite=overwrite)
    scores = evaluate_perseg(truth, predictions, reference=reference)
    rows = [["Category", "IoU", "bIoU", "Accuracy"]]
    for one in [*scores, mean_over_categories(scores)]:
        rows.append([one.category, percent(one.iou), percent(one.boundary_iou), percent(one.accuracy)])
    click.echo(table(rows))
    if json_path is not None:
        content = {"mean": asdict(mean_over_categories(scores)), "categories": [asdict(one) for one in scores]}
        write_text(json_path, json.dumps(content, indent=1) + "\n")


def _named(predictions: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Split ``NAME=DIR``; a folder that exists is taken as it is, whatever its name."""
    named = []
    for text in predictions:
        name, equals, folder = text.partition("=")
        path = Path(folder) if equals and not Path(text).exists() else Path(text)
        named.append((name if path == Path(folder) and equals else path.resolve().name, path))
    names = [name for name, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'two --pred are called "{name}". Name them: --pred NAME=DIR.')
    return named


def _progress(name: str) -> Any:
    """A progress bar on a terminal, after the first second; nothing elsewhere."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar = tqdm(desc=name, unit=" frames", delay=1, leave=False)

    def tell(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return tell
