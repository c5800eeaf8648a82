"""``vos plugin``: start a plugin of your own."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("plugin")
def command() -> None:
    """Start a plugin of your own."""


@command.command("new")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for the new one; here by default.",
)
def new(name: str, into: Path) -> None:
    r"""Write a distribution with a tracker that works: put your model in its place.

    NAME is what users will type after --tracker: lower case letters, digits and hyphens.

    \b
      vos plugin new my-tracker
    """
    from vos.scaffold import plugin_files, write_plugin

    folder = write_plugin(name, into)
    for path in plugin_files(name):
        click.echo(folder / path)
    click.echo(
        f'\nNext:\n  cd {folder}\n  pip install -e ".[test]"\n  pytest\n'
        f"  vos track VIDEO --mask FIRST.png --tracker {name} -o out",
        err=True,
    )
