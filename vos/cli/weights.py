"""``vos weights``: list, fetch and verify model weights."""

from __future__ import annotations

import sys

import click
from tqdm import tqdm

from vos import weights
from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options
from vos.errors import WeightsError
from vos.types.checkpoint import Checkpoint
from vos.types.runtime import cache_folder


@click.group()
def command() -> None:
    """List, fetch and verify model weights.

    They lie in the platform's cache folder, or in VOS_CACHE.
    """


@command.command("list")
@general_options
@click.pass_context
def list_weights(ctx: click.Context) -> None:
    """List the weights that plugins know, and which of them are here."""
    known = weights.known_checkpoints(command_plugins(ctx)).values()
    width = max((len(one.name) for one in known), default=0) + 3
    click.echo(f"{'name':{width}}{'size':>10}  {'licence':12}{'here':6}model")
    for one in known:
        size = "unknown" if one.size is None else f"{one.size / 1e6:.0f} MB"
        click.echo(f"{one.name:{width}}{size:>10}  {one.licence:12}{_state(one):6}{one.model}")
    click.echo(f"folder: {cache_folder()}")


@command.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@general_options
@click.pass_context
def fetch_weights(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Fetch weights by name, and verify them."""
    plugins = command_plugins(ctx)
    for known in [weights.checkpoint(name, plugins) for name in names]:
        with tqdm(
            total=known.size, unit="B", unit_scale=True, desc=known.file_name, disable=not sys.stderr.isatty()
        ) as bar:
            path = weights.fetch(known, progress=lambda done, _, bar=bar: bar.update(done - bar.n))  # type: ignore[misc]
        click.echo(path)


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@general_options
@click.pass_context
def verify_weights(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Check files against the published SHA-256; without names, all that are here."""
    plugins = command_plugins(ctx)
    named = [weights.checkpoint(name, plugins) for name in names]
    here = [known for known in weights.known_checkpoints(plugins).values() if _state(known) != "no"]
    if not (named or here):
        raise WeightsError(f"{cache_folder()}: no weights to verify. `vos weights fetch NAME` gets them.")
    for known in named or here:
        click.echo(f"{weights.verify(known)}: ok")


def _state(known: Checkpoint) -> str:
    """``yes``, ``no`` or ``part``: whether a checkpoint's file is here."""
    try:
        weights.local_path(known)
    except WeightsError:
        here = [(cache_folder() / f"{known.file_name}{ending}").exists() for ending in ("", ".part")]
        return "part" if any(here) else "no"
    return "yes"
