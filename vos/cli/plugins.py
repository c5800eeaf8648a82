"""``vos plugins``."""

from __future__ import annotations

import json
from typing import Any

import click

from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options
from vos.errors import PluginError
from vos.registry.discovery import Plugins
from vos.registry.options import NoOptions, describe_options

KINDS = ("trackers", "initializers", "writers", "formats", "executors", "commands")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--short", is_flag=True, help="Leave out the options.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@general_options
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], short: bool, as_json: bool) -> None:
    """List what the installed plugins offer, with options; NAMEs limit the list.

    A plugin that could not be loaded is listed last, with its error.
    """
    plugins = command_plugins(ctx)
    listed = describe_plugins(plugins, names)
    found = {offer["name"] for kind in KINDS for offer in listed[kind]}
    for name in names:
        if name not in found:
            raise PluginError(f'no plugin offers anything named "{name}". `vos plugins --short` lists all names.')
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    for kind in KINDS:
        if listed[kind]:
            click.secho(f"{kind}", bold=True)
        for offer in listed[kind]:
            click.echo(f"  {offer['name']:<16} {offer['summary']}")
            where = f"{offer['distribution']} {offer['version']}".strip()
            click.secho(f"  {'':<16} from {offer['plugin']} ({where})", dim=True)
            for entry in [] if short else offer["options"]:
                default = "" if entry["default"] is None else f" [{entry['default']}]"
                click.echo(f"      -O {entry['name']}={entry['type']}{default}  {entry['help']}")
    for blocked in listed["blocked"]:
        click.echo(f"blocked: {blocked}")
    for broken in listed["broken"]:
        click.secho(f"broken: {broken['plugin']} ({broken['distribution']}): {broken['error']}", fg="red")


def describe_plugins(plugins: Plugins, names: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """Everything that is loaded, as plain data.

    Args:
        plugins: the loaded plugins.
        names: only these; empty for all.
    Returns:
        Lists of offers by kind, and of plugins under ``plugins``, ``blocked`` and ``broken``.
    """
    listed: dict[str, list[Any]] = {}
    formats = [(spec.name, origin) for spec, origin in plugins.formats.all()]
    for kind in KINDS:
        listed[kind] = [
            {
                "name": spec.name,
                "summary": spec.summary,
                "plugin": origin.plugin,
                "module": origin.module,
                "distribution": origin.distribution,
                "version": origin.version or "",
                "options": [
                    {"name": o.name, "type": o.type_name, "default": o.default, "help": o.help}
                    for o in describe_options(getattr(spec, "options", NoOptions))
                ],
            }
            for spec, origin in getattr(plugins, kind).all()
            if (not names or spec.name in names) and not (kind == "writers" and (spec.name, origin) in formats)
        ]
    listed["plugins"] = [
        {"plugin": o.plugin, "module": o.module, "distribution": o.distribution, "version": o.version or ""}
        for o in plugins.origins
    ]
    listed["blocked"] = list(plugins.blocked)
    listed["broken"] = [
        {"plugin": b.origin.plugin, "distribution": b.origin.distribution, "error": b.error} for b in plugins.broken
    ]
    return listed
