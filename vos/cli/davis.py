"""``vos davis``: a tracker over a DAVIS tree, then its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vos.cli import common
from vos.registry.options import parse_assignments


@click.command()
@click.option("--root", type=click.Path(path_type=Path), required=True, help="Root of the tree: it holds JPEGImages.")
@click.option("--set", "set_name", metavar="SET", help="Sequences: 2016/val, 2017/val, ...; by default all.")
@click.option("-t", "--tracker", default="propagation", show_default=True, help="Who tracks (`vos plugins`).")
@common.option_assignments
@common.quality_option
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
@click.option("--overwrite", is_flag=True, help="Replace an earlier run's masks.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a report to open in a browser.")
@common.runtime_options
@common.general_options
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
    **runtime: Any,
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
    from vos.evaluation.reports.tables import write_text
    from vos.host.input_protection import files_in_options, files_of_tree, refuse_replacing
    from vos.host.progress import ProgressBar

    known = common.settings(ctx)
    job = BenchmarkJob(
        root=root,
        output=output,
        set_name=set_name,
        tracker=tracker,
        options=parse_assignments(assignments),
        protocol=protocol,
        resolution=resolution,
        sequences=sequences,
        max_side=max_side,
        runtime=common.make_runtime(**runtime),
        overwrite=overwrite,
        plugin_modules=known.plugin_modules,
        blocked=known.blocked,
    )

    reports = [html_path] if html_path else []
    refuse_replacing(reports, [*files_of_tree([root], reports), *files_in_options(tracker, job.options)])

    def told(result: SequenceResult) -> None:
        click.echo(result.line())

    result = benchmark(job, workers, told=told, observers=[ProgressBar()])
    if html_path is not None:
        from vos.evaluation.reports.html import html_report

        write_text(html_path, html_report([result.scores]))
    click.echo(f"\n{result.table()}\n\nresults: {output / 'results.json'}")
