"""``vos weights``: list, fetch and verify model weights."""

from __future__ import annotations

import sys

import click
from tqdm import tqdm

from vos import weights
from vos.errors import WeightsError
from vos.types.runtime import cache_folder


@click.group()
def command() -> None:
    """List, fetch and verify model weights.

    They lie in the platform's cache folder, or in VOS_CACHE.
    """


@command.command("list")
def list_weights() -> None:
    """List the known weights, and which of them are here."""
    click.echo(f"{'name':8}{'size':>10}  {'licence':12}{'here':6}model")
    for known in weights.CHECKPOINTS.values():
        size = "unknown" if known.size is None else f"{known.size / 1e6:.0f} MB"
        click.echo(f"{known.name:8}{size:>10}  {known.licence:12}{_state(known.name):6}{known.model}")
    click.echo(f"folder: {cache_folder()}")


@command.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def fetch_weights(names: tuple[str, ...]) -> None:
    """Fetch weights by name, and verify them."""
    for name in names:
        known = weights.checkpoint(name)
        with tqdm(
            total=known.size, unit="B", unit_scale=True, desc=known.file_name, disable=not sys.stderr.isatty()
        ) as bar:
            click.echo(weights.fetch(name, progress=lambda done, _: bar.update(done - bar.n)))


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
def verify_weights(names: tuple[str, ...]) -> None:
    """Check files against the published SHA-256; without names, all that are here."""
    here = [known.name for known in weights.CHECKPOINTS.values() if _state(known.name) != "no"]
    if not (names or here):
        raise WeightsError(f"{cache_folder()}: no weights to verify. `vos weights fetch NAME` gets them.")
    for name in names or here:
        click.echo(f"{weights.verify(name)}: ok")


def _state(name: str) -> str:
    """``yes``, ``no`` or ``part``: whether a checkpoint's file is here."""
    try:
        weights.local_path(name)
    except WeightsError:
        known = weights.checkpoint(name)
        here = [(cache_folder() / f"{known.file_name}{ending}").exists() for ending in ("", ".part")]
        return "part" if any(here) else "no"
    return "yes"
