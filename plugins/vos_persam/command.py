"""``vos personalize``: parse, call, print."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from vos.plugin import Runtime, general_options, runtime_options
from vos_persam.images import PersonalizeSettings, personalize


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGES...")
@click.option("--reference", required=True, type=click.Path(path_type=Path), help="Image that shows the objects.")
@click.option("--mask", required=True, type=click.Path(path_type=Path), help="Label map of the reference image.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for the label maps.")
@click.option("--f", "learnt", is_flag=True, help="Learn two mask weights from the reference (PerSAM-F).")
@click.option("--checkpoint", type=click.Path(path_type=Path), default=None, help="Segment Anything or MobileSAM file.")
@click.option(
    "--model",
    type=click.Choice(["vit_b", "vit_l", "vit_h", "vit_t"]),
    default="vit_b",
    show_default=True,
    help="Known model to take from the cache folder if no checkpoint is given.",
)
@click.option("--compat", is_flag=True, help="Reproduce the official code step by step, its faults included.")
@click.option("--overwrite", is_flag=True, help="Replace existing label maps.")
@runtime_options
@general_options
def command(runtime: Runtime, **values: Any) -> None:
    """Segment the objects of a reference image in other images: a label map for each, named as the image."""
    options = _Options(**values)
    settings = PersonalizeSettings(options.learnt, options.compat, options.checkpoint, options.model, runtime)
    written = personalize(
        options.reference, options.mask, options.images, options.output, settings, overwrite=options.overwrite
    )
    for path in tqdm(written, total=len(options.images), unit="image", disable=not sys.stderr.isatty()):
        click.echo(path)


@dataclass(frozen=True)
class _Options:
    """The command's options, by the names of their parameters."""

    images: tuple[Path, ...]
    reference: Path
    mask: Path
    output: Path
    learnt: bool
    checkpoint: Path | None
    model: str
    compat: bool
    overwrite: bool
