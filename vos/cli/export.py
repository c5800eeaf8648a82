"""``vos export``: a finished run in another tool's format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from vos.cli_options.option_groups import option_group
from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options, option_assignments, progress_option
from vos.host.progress import ProgressForm, show_progress
from vos.registry.options import parse_assignments


@click.command()
@click.argument("result", type=click.Path(path_type=Path), metavar="RESULT")
@click.option("--to", "to", required=True, metavar="FORMAT", help="A format or a writer (`vos plugins`).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="File or folder to write; by default beside the masks. With several sequences, a folder.",
)  # fmt: skip
@click.option("--source", metavar="VIDEO", help="What was tracked, if it is not where it was.")
@option_assignments
@click.option("--polygons", is_flag=True, help="Short for -O polygons=true (coco, cvat).")
@click.option("--images", is_flag=True, help="Short for -O images=true: also write the frames as JPEG.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@progress_option
@general_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Write the masks of a finished run in another tool's format.

    RESULT is the run's folder, or a folder of several. Writers of `vos track` work too, so that an overlay
    can be drawn again without tracking.

    \b
      vos export vos-out/dog --to cvat -o dog.xml --polygons
      vos export vos-out --to coco --images -o coco
      vos export vos-out/dog --to overlay -o dog.webm
    """
    from vos.conversion.exporting import export

    asked = option_group(_Asked, given)
    flags = [f"{name}=true" for name in ("polygons", "images") if given[name]]
    with show_progress(f"export {asked.result.name}", None, "frame", asked.progress) as progress:
        written = export(
            asked.result,
            asked.to,
            asked.output,
            options=parse_assignments((*asked.assignments, *flags)),
            source=asked.source,
            overwrite=asked.overwrite,
            plugins=command_plugins(ctx),
            progress=lambda done, total: progress.update(done, total=total),
        )
    for path in written:
        click.echo(str(path))


@dataclass(frozen=True)
class _Asked:
    """What the command line says, by the names of its options."""

    result: Path
    to: str
    output: Path | None
    source: str | None
    assignments: tuple[str, ...]
    overwrite: bool
    progress: ProgressForm
