"""``vos eval``: score existing masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from vos.cli.eval_images import perseg, semantic
from vos.cli_options.option_groups import option_group
from vos.cli_options.settings import command_plugins, settings
from vos.cli_options.shared_options import progress_option
from vos.errors import InputError
from vos.host.progress import ProgressForm, show_progress

if TYPE_CHECKING:
    from vos.evaluation.reports.tables import Style
    from vos.evaluation.video.scores import Scores

STDOUT = Path("-")


class _Group(click.Group):
    """``vos eval`` scores masks without a subcommand; subcommands score other results."""

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
@click.option("--official", is_flag=True, help="Reproduce the faults of the official tool of DAVIS (davis-*).")
@click.option("--tolerance", type=float, default=0.008, show_default=True,
              help="Of the boundary: a share of the diagonal, or pixels from 1 on.")  # fmt: skip
@click.option("--meta", type=click.Path(path_type=Path), help="YouTube-VOS meta.json: scores by seen and unseen.")
@click.option("--seen-meta", type=click.Path(path_type=Path), help="The training set's meta.json: the seen categories.")
@click.option("--boundary-iou", is_flag=True, help="Also measure the boundary IoU: B-Mean, and B-Tube of whole videos.")
@click.option("--per-sequence", is_flag=True, help="Also print a row for each sequence.")
@click.option(
    "--sequence",
    "only",
    multiple=True,
    metavar="NAME",
    help="Only this one, of the set if one is named. May be given several times.",
)
@click.option("--digits", type=click.IntRange(0, 6), default=1, show_default=True, help="Digits after the point.")
@click.option("--table", "style", type=click.Choice(["text", "md", "latex"]), default="text", show_default=True,
              help="Format of the table.")  # fmt: skip
@click.option("--intervals", is_flag=True, help="Print 95 % bootstrap intervals and, for several --pred, paired tests.")
@click.option("--slices", "by_attribute", is_flag=True, help="Print scores by attribute: size, speed, occlusion, ...")
@click.option("--frames-csv", type=click.Path(path_type=Path), help="Write the scores of every object and frame.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, allow_dash=True),
              help="Write all numbers, frame by frame; - for stdout, in place of the table.")  # fmt: skip
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    help="Write the official tables: a folder, or X.csv for one --pred.",
)
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a report to open in a browser.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@progress_option
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
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
    if given["truth"] is None or not given["predictions"]:
        raise click.UsageError("vos eval takes --gt DIR and at least one --pred DIR. Try vos eval --help.")
    masks, rules = option_group(_Inputs, given), option_group(_Rules, given)
    tables, files = option_group(_Tables, given), option_group(_Reports, given)
    given_paths = _named(masks.predictions)
    named = [(name, _mask_folder(ctx, path, masks.truth)) for name, path in given_paths]
    files.check(masks, rules, named)
    results = [
        _score(name, folder, path, masks, rules) for (name, folder), (_, path) in zip(named, given_paths, strict=True)
    ]
    for note in dict.fromkeys(note for scores in results for note in scores.notes):
        click.echo(f"vos: {note}.", err=True)
    if files.json_path != STDOUT:
        click.echo("\n\n".join(tables.format(results)))
    files.write(results, masks)


@dataclass(frozen=True)
class _Inputs:
    """Inputs of the scoring and its worker processes."""

    truth: Path
    predictions: tuple[str, ...]
    sequences: str | None
    only: tuple[str, ...]
    workers: int
    progress: ProgressForm

    @property
    def set_name(self) -> str:
        """The set's name, for the official tables."""
        return (self.sequences or "val").rsplit("/", 1)[-1].removesuffix(".txt")


@dataclass(frozen=True)
class _Rules:
    """Arguments of ``evaluate``."""

    protocol: str | None
    missing: Literal["error", "zero"]
    all_frames: bool
    official: bool
    tolerance: float
    meta: Path | None
    seen_meta: Path | None
    boundary_iou: bool


@dataclass(frozen=True)
class _Tables:
    """Tables on stdout and their format."""

    per_sequence: bool
    digits: int
    style: Style
    intervals: bool
    by_attribute: bool

    def format(self, results: list[Scores]) -> list[str]:
        """Format the tables that the options ask for."""
        from vos.evaluation.reports.tables import interval_lines, sequence_table, slice_table, summary_table

        texts = [summary_table(results, self.style, self.digits)]
        if self.per_sequence or len(results) > 1:
            texts.append(sequence_table(results, self.style, self.digits))
        if self.intervals:
            texts.append(interval_lines(results, self.style, self.digits))
        if self.by_attribute:
            texts.append(slice_table(results, self.style, self.digits))
        return texts


@dataclass(frozen=True)
class _Reports:
    """Report files to write."""

    frames_csv: Path | None
    json_path: Path | None
    csv_path: Path | None
    html_path: Path | None
    overwrite: bool

    def check(self, masks: _Inputs, rules: _Rules, named: list[tuple[str, Path]]) -> None:
        """Refuse outputs that would replace an input or an existing file."""
        from vos.evaluation.reports.tables import tables_at
        from vos.host.outputs.input_protection import files_in_options, files_of_tree, refuse_replacing
        from vos.host.outputs.output_protection import refuse_existing_files

        paths = (self.json_path, self.html_path, self.frames_csv)
        outputs = [path for path in paths if path is not None and path != STDOUT]
        for table in self._csv_tables([name for name, _ in named]).values():
            outputs += tables_at(table, masks.set_name)
        read = files_of_tree([masks.truth, *(folder for _, folder in named)], outputs)
        refuse_replacing(outputs, [*read, *files_in_options(rules.meta, rules.seen_meta, masks.sequences)])
        refuse_existing_files(outputs, overwrite=self.overwrite)

    def write(self, results: list[Scores], masks: _Inputs) -> None:
        """Write the report files that the options name."""
        from vos.evaluation.reports.results_json import results_json
        from vos.evaluation.reports.tables import per_frame_csv, tables_at, write_csv, write_text

        if self.json_path is not None:
            text = results_json([(scores, None) for scores in results], masks.workers)
            if self.json_path == STDOUT:
                click.echo(text, nl=False)
            else:
                write_text(self.json_path, text)
        if self.frames_csv is not None:
            write_text(self.frames_csv, per_frame_csv(results))
        tables = self._csv_tables([scores.name for scores in results])
        for scores in results if tables else []:
            write_csv(tables_at(tables[scores.name], masks.set_name), scores)
        if self.html_path is not None:
            from vos.evaluation.reports.html import html_report

            write_text(self.html_path, html_report(results))

    def _csv_tables(self, names: list[str]) -> dict[str, Path]:
        """File or folder of each result's official CSV tables; several results get a subfolder each, by name."""
        from vos.evaluation.reports.tables import is_table_file
        from vos.io.atomic_files import safe_name

        if self.csv_path is None or len(names) == 1:
            return {} if self.csv_path is None else {names[0]: self.csv_path}
        if is_table_file(self.csv_path):
            raise InputError(
                f"{self.csv_path}: a file for the tables of one --pred, and there are {len(names)}. Give a folder, in "
                "which each gets a folder of its name."
            )
        for name in names:
            if safe_name(name) != name:
                raise InputError(
                    f'--pred "{name}": no name for a folder of tables in {self.csv_path}. Name it otherwise: '
                    "--pred NAME=DIR."
                )
        return {name: self.csv_path / name for name in names}


def _mask_folder(ctx: click.Context, path: Path, truth: Path) -> Path:
    """A folder of masks itself, else a temporary folder with the masks of another tool's file or folder."""
    from vos.evaluation.datasets.sequence_folders import is_folder_of_label_maps

    if is_folder_of_label_maps(path, truth):
        if settings(ctx).plugin_modules or settings(ctx).blocked:
            command_plugins(ctx)  # the names may be wrong
        return path  # loading all plugins takes longer than reading masks of a short sequence
    from vos.conversion.importing import prediction_folder

    return ctx.with_resource(prediction_folder(path, truth, command_plugins(ctx)))


def _score(name: str, folder: Path, path: Path, masks: _Inputs, rules: _Rules) -> Scores:
    """Score a folder; errors name ``path``, what the user gave, also where the folder is a temporary one."""
    from vos.evaluation.datasets.mask_folders import evaluate

    with show_progress(name, None, "frame", masks.progress) as progress:
        try:
            return evaluate(
                masks.truth,
                folder,
                name=name,
                sequences=masks.sequences or list(masks.only) or None,
                only=masks.only if masks.sequences else (),
                workers=masks.workers,
                progress=lambda done, total: progress.update(done, total=total),
                **vars(rules),
            )
        except InputError as error:
            error.args = (str(error).replace(str(folder), str(path)),)
            raise


command.add_command(semantic)
command.add_command(perseg)


@command.command("submission")
@click.argument("results", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The zip file.")
@click.option("--names", type=click.Path(path_type=Path), help="Text file of the sequences; by default all.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def submission(results: Path, output: Path, names: Path | None, overwrite: bool) -> None:
    """Pack a folder of masks for a benchmark's server: a zip of SEQUENCE/FRAME.png.

    \b
      vos eval submission out/mose -o submission.zip
    """
    from vos.evaluation.datasets.davis_layout import read_names
    from vos.evaluation.datasets.submission import write_submission
    from vos.host.outputs.input_protection import files_in_options, files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing_files

    refuse_replacing([output], [*files_of_tree([results], [output]), *files_in_options(names)])
    refuse_existing_files([output], overwrite=overwrite)
    count = write_submission(results, output, None if names is None else read_names(names))
    click.echo(f"{output}: {count} masks")


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
