"""``vos batch``: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vos.plugin import (
    JobProgress,
    JobSummary,
    Runtime,
    chosen_executor,
    executor_options,
    load_plugins,
    parse_assignments,
    progress_option,
    show_progress,
)
from vos_batch.batch import check_summary, run_batch, summary_line, write_summary
from vos_batch.jobs import TrackJob, find_jobs, runtime_arguments


@click.command()
@click.argument("jobs", metavar="JOBS")
@click.option("--set", "set_name", metavar="NAME", help="With a tree: the set, such as 2017/val.")
@click.option("-t", "--tracker", default="propagation", show_default=True, help="The tracker of jobs that name none.")
@click.option("-O", "assignments", multiple=True, metavar="KEY=VALUE", help="An option of the tracker.")
@click.option("-o", "--output", default="vos-out", show_default=True, help="Folder of jobs that name none.")
@executor_options
@click.option(
    "--writer",
    "writers",
    multiple=True,
    default=("davis",),
    show_default=True,
    help="Writer of each job (`vos plugins`). May be given several times.",
)
@click.option("--max-side", type=click.IntRange(min=16), help="Track at a smaller size; masks have full size.")
@click.option("--both-ways", is_flag=True, help="Also track backward: each object from its masks.")
@click.option("--overwrite", is_flag=True, help="Replace earlier runs; without it, finished jobs are skipped.")
@click.option("--summary", metavar="FILE", help="JSON file; by default batch.json in the output folder.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@progress_option
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Track the videos of JOBS, several at a time; a second run goes on where the first stopped.

    JOBS is a manifest (.jsonl or .csv; fields video, masks, tracker, options, output, sequence, start, stop, step,
    max_side, both_ways), a pattern such as "clips/*.mp4" with masks beside the videos (dog.png, dog-mask.png or a
    folder dog/), or the root of a DAVIS or YouTube-VOS tree.

    \b
      vos batch jobs.jsonl -j 4
      vos batch "clips/*.mp4" -o out
      vos batch DAVIS --set 2017/val --executor slurm -E partition=gpu
    """
    modules, blocked = ctx.obj.plugin_modules, ctx.obj.blocked
    plugins = load_plugins(modules, blocked)
    executor = chosen_executor(plugins, given["executor"], given["executor_assignments"], given["workers"])
    jobs = find_jobs(given["jobs"], _defaults(given), given["set_name"])
    for tracker in {job.tracker.partition(":")[0] for job in jobs}:
        plugins.trackers.get(tracker)  # a typing mistake ends the batch before it begins
    for writer in given["writers"]:
        plugins.writers.get(writer)
    where = given["summary"] or _summary_in(given["output"])
    check_summary(where, jobs, given["jobs"], overwrite=given["overwrite"], own=given["summary"] is None)
    with show_progress("batch", len(jobs), "job", given["progress"]) as progress:
        summary = run_batch(executor, jobs, modules, blocked, JobProgress(progress))
    _finish(summary, where)
    ctx.exit(summary.exit_code)


def _summary_in(output: str) -> str:
    """The summary's place in the output folder, or at its address."""
    return f"{output.rstrip('/')}/batch.json" if "://" in output else str(Path(output) / "batch.json")


def _defaults(given: dict[str, Any]) -> TrackJob:
    selection = {"max_side": given["max_side"], "both_ways": given["both_ways"] or None}
    return TrackJob(
        source="",
        masks=None,
        output=given["output"],
        sequence="",
        writers=tuple((writer, {}) for writer in given["writers"]),
        tracker=given["tracker"],
        options=parse_assignments(given["assignments"]),
        selection={name: value for name, value in selection.items() if value is not None},
        runtime=runtime_arguments(Runtime(given["device"], given["precision"], None, given["seed"])),
        overwrite=given["overwrite"],
    )


def _finish(summary: JobSummary, where: str) -> None:
    try:
        for line in summary.failures:  # first: the disk may be full
            click.echo(f"vos: {line}", err=True)
    finally:  # the reader of stderr may be gone
        write_summary(summary, where)
    click.echo(f"{summary_line(summary)} -> {where}")
