"""``vos plugin``: start a plugin of your own, and read what each kind promises."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from vos.errors import OptionError
from vos.scaffold.kinds import KINDS


@click.group("plugin")
def command() -> None:
    """Start a plugin of your own, and read what it promises to the host."""


@command.command("new")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="tracker",
    show_default=True,
    help="What the plugin offers.",
)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for the new one; here by default.",
)
def new(name: str, kind: str, into: Path) -> None:
    """Write a distribution with a plugin that works: put your own code in its place.

    NAME is what users will type, after --tracker for a tracker: lower case letters, digits and hyphens.

    \b
      vos plugin new my-tracker
      vos plugin new my-writer --kind writer
    """
    from vos.host.outputs.output_protection import refuse_existing
    from vos.scaffold import plugin_files, try_it, write_plugin

    refuse_existing([into], overwrite=True)  # an address, which a path would make a folder of
    folder = write_plugin(name, into, kind)
    for path in plugin_files(name, kind):
        click.echo(folder / path)
    click.echo(f'\nNext:\n  cd {folder}\n  pip install -e ".[test]"\n  pytest\n  {try_it(name, kind)}', err=True)


@command.command("contract")
@click.argument("names", nargs=-1, metavar="[KIND|CLAUSE]...")
def contract(names: tuple[str, ...]) -> None:
    """Print the clauses of the contract between the toolkit and its plugins.

    All of them, or those of a kind of plugin, or one.

    \b
      vos plugin contract writer
      vos plugin contract writer-abort
    """
    from vos.testing.clauses import CLAUSES, CLAUSES_BY_KIND

    for name in names:
        if name not in CLAUSES and name not in CLAUSES_BY_KIND:
            raise OptionError(f'no clause or kind of plugin is named "{name}". Kinds: {", ".join(CLAUSES_BY_KIND)}.')
    for kind, clauses in CLAUSES_BY_KIND.items():
        for clause, text in clauses.items():
            if not names or kind in names or clause in names:
                click.echo(click.style(f"{kind}: {clause}", bold=True))
                click.echo(textwrap.indent(textwrap.fill(text, 96), "  "))
