"""``vos davis``: a tracker over a DAVIS tree, then its scores."""

from __future__ import annotations

from pathlib import Path

import click

from vos.cli_options.settings import settings
from vos.cli_options.shared_options import general_options, option_assignments, runtime_options
from vos.cli_options.shorthands import ShorthandCommand, takes_shorthands, tracker_assignments
from vos.host.run_config import DEFAULT_TRACKER
from vos.registry.options import parse_assignments
from vos.types.runtime import Runtime


@click.command("davis", cls=ShorthandCommand)
@click.option("--root", type=click.Path(path_type=Path), required=True, help="Root of the tree: it holds JPEGImages.")
@click.option("--set", "set_name", metavar="SET", help="Sequences: 2016/val, 2017/val, ...; by default all.")
@click.option("-t", "--tracker", default=DEFAULT_TRACKER, show_default=True, help="Who tracks (`vos plugins`).")
@option_assignments
@takes_shorthands("trackers")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for masks and results.")
@click.option("-j", "workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--protocol", metavar="NAME", help="Rules of scoring, as in vos eval; by default those of the set.")
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
@runtime_options
@general_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    root: Path,
    set_name: str | None,
    tracker: str,
    assignments: tuple[str, ...],
    output: Path,
    workers: int,
    protocol: str | None,
    resolution: str | None,
    sequences: tuple[str, ...],
    max_side: int | None,
    overwrite: bool,
    html_path: Path | None,
    runtime: Runtime,
) -> None:
    """Run a tracker over a DAVIS tree and score it.

    A second run takes up where the first was stopped: finished sequences of the same tracker, options
    and versions are skipped. Masks go to OUTPUT/<sequence>/, results to OUTPUT/results.json, results.txt
    and the official tool's CSV tables.

    \b
      vos davis --root DAVIS --set 2016/val -o out/davis16
      vos davis --root DAVIS --set 2017/val --tracker persam -O model=vit_b -j 4 -o out/persam
    """
    from vos.evaluation.benchmark.davis_benchmark import benchmark
    from vos.evaluation.benchmark.results import BenchmarkJob, SequenceResult
    from vos.evaluation.reports.html import html_report, is_html_report
    from vos.evaluation.reports.tables import write_text
    from vos.host.outputs.input_protection import files_in_options, files_of_tree, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing
    from vos.host.progress import ProgressBar

    known = settings(ctx)
    job = BenchmarkJob(
        root=root,
        output=output,
        set_name=set_name,
        tracker=tracker,
        options=parse_assignments(assignments) | tracker_assignments(ctx),
        protocol=protocol,
        resolution=resolution,
        sequences=sequences,
        max_side=max_side,
        runtime=runtime,
        overwrite=overwrite,
        plugin_modules=known.plugin_modules,
        blocked=known.blocked,
    )

    reports = [html_path] if html_path else []
    refuse_replacing(reports, [*files_of_tree([root], reports), *files_in_options(tracker, job.options)])
    # A second run goes on with the first one's results, and so with its report.
    continued = html_path is not None and (output / "results.json").is_file() and is_html_report(html_path)
    refuse_existing(reports, overwrite=overwrite or continued)

    def told(result: SequenceResult) -> None:
        click.echo(result.line())

    result = benchmark(job, workers, told=told, observers=[ProgressBar()])
    if html_path is not None:
        write_text(html_path, html_report([result.scores]))
    click.echo(f"\n{result.table()}\n\nresults: {output / 'results.json'}")
