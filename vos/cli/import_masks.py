"""``vos import``: masks of another tool as a folder of DAVIS masks."""

from __future__ import annotations

from pathlib import Path

import click

from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True,
    help="Folder; masks go to OUTPUT/<sequence>/<frame>.png.",
)  # fmt: skip
@click.option("--sequence", metavar="NAME", help="Name of the sequence's folder; by default the name in FILE.")
@click.option("--overwrite", is_flag=True, help="Write into a folder that already holds masks.")
@general_options
@click.pass_context
def command(ctx: click.Context, file: Path, output: Path, sequence: str | None, overwrite: bool) -> None:
    """Write the masks in FILE, of another tool, as DAVIS masks.

    FILE is a file or folder of any format that `vos plugins` lists. `vos track --mask` and
    `vos eval --pred` take such files as they are.

    \b
      vos import annotations.xml -o masks
    """
    from vos.conversion.importing import import_masks

    plugins = command_plugins(ctx)
    for folder in import_masks(file, output, sequence=sequence, overwrite=overwrite, plugins=plugins):
        click.echo(str(folder))
