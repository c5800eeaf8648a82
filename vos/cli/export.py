"""``vos export``: a finished run in another tool's format."""

from __future__ import annotations

from pathlib import Path

import click

from vos.cli import common
from vos.registry.options import parse_assignments


@click.command()
@click.argument("result", type=click.Path(path_type=Path), metavar="RESULT")
@click.option("--to", "to", required=True, metavar="FORMAT", help="A format or a writer (`vos plugins`).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="File or folder to write; by default beside the masks. With several sequences, a folder.",
)  # fmt: skip
@click.option("--source", metavar="VIDEO", help="What was tracked, if it is not where it was.")
@common.option_assignments
@click.option("--polygons", is_flag=True, help="Short for -O polygons=true (coco, cvat).")
@click.option("--images", is_flag=True, help="Short for -O images=true: also write the frames as JPEG.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@common.general_options
@click.pass_context
def command(
    ctx: click.Context,
    result: Path,
    to: str,
    output: Path | None,
    source: str | None,
    assignments: tuple[str, ...],
    polygons: bool,
    images: bool,
    overwrite: bool,
) -> None:
    """Write the masks of a finished run in another tool's format.

    RESULT is the run's folder, or a folder of several. Writers of `vos track` work too, so that an overlay
    can be drawn again without tracking.

    \b
      vos export vos-out/dog --to cvat -o dog.xml --polygons
      vos export vos-out --to coco --images -o coco
      vos export vos-out/dog --to overlay -o dog.webm
    """
    from vos.cli.eval import _progress
    from vos.conversion.exporting import export

    chosen = [*(["polygons=true"] if polygons else []), *(["images=true"] if images else [])]
    written = export(
        result,
        to,
        output,
        options=parse_assignments((*assignments, *chosen)),
        source=source,
        overwrite=overwrite,
        plugins=common.settings(ctx).plugins,
        progress=_progress("export"),
    )
    for path in written:
        click.echo(str(path))
