"""``vos davis``: a tracker over a DAVIS tree, then its scores."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vos.cli_options.executor_options import ExecutorArgs, executor_options
from vos.cli_options.settings import command_plugins, settings
from vos.cli_options.shared_options import general_options, option_assignments, progress_option, runtime_options
from vos.cli_options.shorthands import ShorthandCommand, takes_shorthands, tracker_assignments
from vos.errors import InputError, OptionError
from vos.host.progress import ProgressForm
from vos.host.run_config import DEFAULT_TRACKER
from vos.io.atomic_files import safe_name
from vos.protocols.executor import Executor
from vos.registry.options import parse_assignments
from vos.types.runtime import Runtime

if TYPE_CHECKING:
    from vos.evaluation.benchmark.results import BenchmarkJob


@click.command("davis", cls=ShorthandCommand)
@click.option("--root", type=click.Path(path_type=Path), required=True, help="Root of the tree: it holds JPEGImages.")
@click.option("--set", "set_name", metavar="SET", help="Sequences: 2016/val, 2017/val, ...; by default all.")
@click.option("--init", "initializer", metavar="NAME", help="Initializer that finds the objects (unsupervised).")
@click.option("-I", "init_assignments", multiple=True, metavar="KEY=VALUE", help="An option of the initializer.")
@click.option("-t", "--tracker", default=DEFAULT_TRACKER, show_default=True, help="Who tracks (`vos plugins`).")
@option_assignments
@takes_shorthands("trackers")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for masks and results.")
@executor_options
@click.option(
    "--protocol",
    metavar="NAME",
    help="Rules of scoring, as in vos eval; by default those of the set, or youtube-vos for a tree without sets.",
)
@click.option("--resolution", metavar="NAME", help="Folder of the tree, such as 480p.")
@click.option(
    "--sequence",
    "sequences",
    multiple=True,
    metavar="NAME",
    help="Only this one; the results keep those finished before.",
)
@click.option("--max-side", type=click.IntRange(min=16), help="Track at a smaller size; masks have full size.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run's masks and report.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a report to open in a browser.")
@progress_option
@runtime_options
@general_options
@click.pass_context
def command(ctx: click.Context, /, runtime: Runtime, **given: Any) -> None:
    """Run a tracker over a DAVIS tree and score it.

    A second run takes up where the first was stopped: finished sequences of the same tracker, options
    and versions are skipped. Masks go to OUTPUT/<sequence>/, results to OUTPUT/results.json, results.txt
    and the official tool's CSV tables.

    -j tracks several sequences at a time, each in a process of its own; --executor ray or slurm on a cluster. A
    sequence whose worker dies is tried again.

    With --init, no mask is given: an initializer finds the objects in each first frame, and the masks are scored
    as proposals (davis-2017-unsupervised; for a set of 2016 all objects as one).

    \b
      vos davis --root DAVIS --set 2016/val -o out/davis16
      vos davis --root DAVIS --set 2017/val --tracker persam -O model=vit_b -j 4 -o out/persam
      vos davis --root DAVIS --set 2017/val --init diffseg -o out/unsupervised
    """
    from vos.evaluation.benchmark.davis_benchmark import BenchmarkCallbacks, benchmark, sequences_of
    from vos.evaluation.reports.html import html_report
    from vos.evaluation.reports.tables import write_text
    from vos.host.jobs.job_progress import JobProgress
    from vos.host.progress import RunProgress, show_progress

    args = _Args(**given)
    job = _job(ctx, args, runtime)
    _check_report(args, job)
    executor, workers = _executor(ctx, args), args.workers or 1
    # This process shows the frames of each sequence; workers show the sequences, and so does JSON.
    form = args.progress if executor is not None or workers > 1 or args.progress == "json" else "off"
    with show_progress(job.set_name or job.root.name, len(sequences_of(job)), "sequence", form) as progress:
        callbacks = BenchmarkCallbacks(
            on_result=lambda result: click.echo(result.line()),
            on_event=JobProgress(progress),
            observers=[RunProgress(args.progress)],
        )
        result = benchmark(job, workers, executor=executor, callbacks=callbacks)
    if args.html_path is not None:
        write_text(args.html_path, html_report([result.scores]))
    click.echo(f"\n{result.table()}\n\nresults: {job.output / 'results.json'}")


@dataclass(frozen=True, kw_only=True)
class _Args(ExecutorArgs):
    """The command's options, by the names of their parameters."""

    root: Path
    set_name: str | None
    initializer: str | None
    init_assignments: tuple[str, ...]
    tracker: str
    assignments: tuple[str, ...]
    output: Path
    protocol: str | None
    resolution: str | None
    sequences: tuple[str, ...]
    max_side: int | None
    overwrite: bool
    html_path: Path | None
    progress: ProgressForm


def _executor(ctx: click.Context, args: _Args) -> Executor | None:
    """Return the executor that an option names; None for processes of this machine, with a share of its cores each."""
    return args.make_executor(command_plugins(ctx)) if args.names_executor else None


def _job(ctx: click.Context, args: _Args, runtime: Runtime) -> BenchmarkJob:
    from vos.evaluation.benchmark.results import BenchmarkJob

    if args.init_assignments and args.initializer is None:
        raise OptionError("-I sets an initializer's option, and there is none. Name it: --init NAME.")
    known = settings(ctx)
    return BenchmarkJob(
        root=args.root,
        output=args.output,
        set_name=args.set_name,
        tracker=args.tracker,
        options=parse_assignments(args.assignments) | tracker_assignments(ctx),
        protocol=args.protocol,
        resolution=args.resolution,
        sequences=args.sequences,
        max_side=args.max_side,
        runtime=runtime,
        overwrite=args.overwrite,
        plugin_modules=known.plugin_modules,
        blocked=known.blocked,
        initializer=args.initializer,
        init_options=parse_assignments(args.init_assignments, "-I"),
    )


def _check_report(args: _Args, job: BenchmarkJob) -> None:
    """Refuse a report path that holds an input, or a file that is not an earlier report of this run.

    Nor may it be one of the run's other outputs: a file of results, or one in the folder of a sequence's masks.
    """
    from vos.evaluation.benchmark.davis_benchmark import sequences_of
    from vos.evaluation.benchmark.result_files import RESULTS_JSON, result_files
    from vos.evaluation.reports.html import is_html_report
    from vos.host.outputs.input_protection import files_in_options, files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing_files

    if args.html_path is None:
        return
    reports = [args.html_path]
    options = [*files_in_options(job.tracker, job.options), *files_in_options(job.init_options)]
    masks = [job.output / safe_name(name) for name in sequences_of(job)]
    refuse_replacing([*reports, *result_files(job), *masks], [*files_of_tree([job.root], reports), *options])
    folders_above = Path(os.path.realpath(args.html_path)).parents
    for folder in masks:
        if Path(os.path.realpath(folder)) in folders_above:
            raise InputError(f"{args.html_path}: the masks of a sequence go into {folder}. Choose another --html.")
    # A second run adds to the first one's results and replaces its report.
    continued = (job.output / RESULTS_JSON).is_file() and is_html_report(args.html_path)
    refuse_existing_files(reports, overwrite=job.overwrite or continued)
