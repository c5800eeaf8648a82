"""``vos export``: a finished run in another tool's format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from vos.cli_options.executor_options import ExecutorArgs, executor_options
from vos.cli_options.option_groups import option_group
from vos.cli_options.settings import command_plugins, settings
from vos.cli_options.shared_options import general_options, option_assignments, progress_option
from vos.host.jobs.job_progress import JobProgress
from vos.host.progress import ProgressForm, show_progress
from vos.registry.options import parse_assignments


@click.command()
@click.argument("results", type=click.Path(path_type=Path), metavar="RESULT...", nargs=-1, required=True)
@click.option("--to", "to", required=True, metavar="FORMAT", help="A format or a writer (`vos plugins`).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="File or folder to write; by default beside the masks. With several sequences, a folder.",
)  # fmt: skip
@click.option("--source", metavar="VIDEO", help="The tracked video, if it has moved.")
@option_assignments
@click.option("--polygons", is_flag=True, help="Short for -O polygons=true (coco, cvat).")
@click.option("--images", is_flag=True, help="Short for -O images=true: also write the frames as JPEG.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@executor_options
@progress_option
@general_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Write the masks of a finished run in another tool's format.

    RESULT is the run's folder, or a folder of several; -j exports several at a time. A sequence that fails leaves the
    others to be written. Writers of `vos track` work too, so that an overlay
    can be drawn again without tracking.

    \b
      vos export vos-out/dog --to cvat -o dog.xml --polygons
      vos export vos-out --to coco --images -o coco
      vos export vos-out/dog --to overlay -o dog.webm
      vos export monday tuesday --to cvat -o cvat -j 4
    """
    from vos.conversion.export_worker import run_exports_on
    from vos.conversion.exporting import ExportSettings, plan_exports, run_exports

    args = option_group(_Args, given)
    flags = [f"{name}=true" for name in ("polygons", "images") if given[name]]
    options = parse_assignments((*args.assignments, *flags))
    jobs = plan_exports(
        args.results,
        ExportSettings(args.to, options, args.overwrite, command_plugins(ctx)),
        args.output,
        args.source,
    )
    what = f"export {jobs[0].result.sequence if len(jobs) == 1 else args.to}"
    if args.in_this_process:
        with show_progress(what, None, "frame", args.progress) as progress:
            written = run_exports(jobs, lambda done, total: progress.update(done, total=total))
    else:
        executor = args.make_executor(command_plugins(ctx))
        with show_progress(what, len(jobs), "sequence", args.progress) as progress:
            written = run_exports_on(executor, jobs, args.worker(ctx), JobProgress(progress))
    for path in written:
        click.echo(str(path))


@dataclass(frozen=True, kw_only=True)
class _Args(ExecutorArgs):
    """The command's options, by the names of their parameters."""

    results: tuple[Path, ...]
    to: str
    output: Path | None
    source: str | None
    assignments: tuple[str, ...]
    overwrite: bool
    progress: ProgressForm

    def worker(self, ctx: click.Context) -> dict[str, Any]:
        """Keyword arguments of the worker's factory."""
        known = settings(ctx)
        return {
            "to": self.to,
            "overwrite": self.overwrite,
            "plugin_modules": list(known.plugin_modules),
            "blocked": list(known.blocked),
        }
