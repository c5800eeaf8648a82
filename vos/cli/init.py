"""``vos init``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import numpy as np

from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options, option_assignments, progress_option, runtime_options
from vos.cli_options.shorthands import ShorthandCommand, choosing_flags, chosen_initializer, takes_shorthands
from vos.errors import OptionError, OutputError
from vos.host.progress import ProgressForm, show_progress
from vos.registry.options import parse_assignments
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.runtime import Runtime

if TYPE_CHECKING:
    from vos.initialization.object_selection import ObjectSelection

DEFAULT_OUTPUT = Path("first-mask.png")
PREVIEW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@click.command("init", cls=ShorthandCommand)
@click.argument("source", metavar="VIDEO")
@click.option("--with", "initializer", metavar="NAME", help="The initializer (`vos plugins`); -O sets its options.")
@takes_shorthands("initializers")
@option_assignments
@click.option("--frame", "frame_index", type=click.IntRange(min=0), default=0, help="Index of the frame, from 0.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="The mask: a palette PNG with object ids.",
)
@click.option(
    "--preview",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write a picture with numbered contours, to choose from.",
)
@click.option("--keep", metavar="N,...", help="Keep these objects, by the numbers of the preview without --keep.")
@click.option(
    "--at", multiple=True, metavar="X,Y", help="Keep the segment under this pixel. May be given several times."
)
@click.option("--all", "keep_all", is_flag=True, help="Choose nothing: the initializer's own ids.")
@click.option("--max-objects", type=click.IntRange(1, 254), help="At most so many objects.")
@click.option("--min-area", type=click.FloatRange(0, 1), help="Share of the frame; smaller pieces merge.")
@click.option("--max-area", type=click.FloatRange(0, 1), help="Share of the frame; larger segments are background.")
@click.option("--max-border", type=click.FloatRange(0, 1), help="Share of the border; segments on more are background.")
@click.option("--order", type=click.Choice(["area", "centre"]), help="Largest first, or nearest to the centre first.")
@click.option("--overwrite", is_flag=True, help="Replace a mask and a preview that are there.")
@progress_option
@runtime_options
@general_options
@click.pass_context
def command(ctx: click.Context, /, runtime: Runtime, **given: Any) -> None:
    """Make a first label map of one frame of VIDEO, for ``vos track --mask``.

    VIDEO is a video file, an image, a folder of images, a camera index, or the address of a stream.

    \b
      vos init dog.mp4 --points 1:320,240,+ -o first.png
      vos init dog.mp4 --text "dog; person" -o first.png
      vos init dog.mp4 --diffseg --preview preview.png
      vos init dog.mp4 --diffseg --keep 2,5 -o first.png
    """
    from vos.host.opening import open_source
    from vos.host.outputs.input_protection import files_in_options, files_of_run, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing
    from vos.initialization.initialize import initialize, read_frame

    asked = _Asked(**given)
    name, options = _initializer(ctx, asked)
    select = _selection(asked)
    outputs = _outputs(asked)
    plugins = command_plugins(ctx)
    opened = open_source(asked.source, plugins)
    try:
        refuse_replacing(outputs, [*files_of_run(opened.info, {}), *files_in_options(options)])
        refuse_existing(outputs, overwrite=asked.overwrite)
        frame = read_frame(opened, asked.frame_index, plugins)
    finally:
        opened.close()
    with show_progress(f"init {name}", 1, "frame", asked.progress, waiting=True) as progress:
        label_map = initialize(frame, name, options, runtime=runtime, plugins=plugins, select=select)
        progress.update(1)
    _write(frame, label_map, asked.output, asked.preview)


@dataclass(frozen=True)
class _Asked:
    """What the command line says, by the names of its options."""

    source: str
    initializer: str | None
    assignments: tuple[str, ...]
    frame_index: int
    output: Path
    preview: Path | None
    keep: str | None
    at: tuple[str, ...]
    keep_all: bool
    max_objects: int | None
    min_area: float | None
    max_area: float | None
    max_border: float | None
    order: str | None
    overwrite: bool
    progress: ProgressForm


def _initializer(ctx: click.Context, asked: _Asked) -> tuple[str, dict[str, Any]]:
    """The one initializer that ``--with`` or a shorthand names, and its options."""
    chosen = chosen_initializer(ctx, asked.initializer, "--with", parse_assignments(asked.assignments))
    if chosen is None:
        flags = ", ".join(choosing_flags(ctx))
        raise OptionError(
            f"no initializer named. Say how to find the objects: {flags}, or --with NAME (`vos plugins` lists them)."
        )
    return chosen


def _outputs(asked: _Asked) -> list[Path]:
    """The files to write, if their names fit."""
    if asked.output.suffix.lower() != ".png":
        raise OptionError(f'-o is "{asked.output}", expected a name that ends in .png: a mask is a palette PNG.')
    if asked.preview is None:
        return [asked.output]
    if asked.preview.suffix.lower() not in PREVIEW_SUFFIXES:
        endings = ", ".join(PREVIEW_SUFFIXES)
        raise OptionError(f'--preview is "{asked.preview}", expected a name that ends in {endings}.')
    return [asked.output, asked.preview]


def _selection(asked: _Asked) -> ObjectSelection | Literal[False] | None:
    """How objects are chosen among segments, as ``initialize`` takes it."""
    from vos.initialization.object_selection import ObjectSelection

    wanted = {
        "keep": _numbers("--keep", asked.keep) if asked.keep is not None else None,
        "at": tuple(_point(text) for text in asked.at) or None,
        "max_objects": asked.max_objects,
        "min_area": asked.min_area,
        "max_area": asked.max_area,
        "max_border": asked.max_border,
        "order": asked.order,
    }
    given: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    if asked.keep_all:
        if given:
            raise OptionError(f"--all chooses nothing, --{next(iter(given)).replace('_', '-')} does; give one of them.")
        return False
    return ObjectSelection(**given) if given else None


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f'{option} is "{text}", expected whole numbers with commas, such as 2,5.') from None


def _point(text: str) -> tuple[int, int]:
    numbers = _numbers("--at", text)
    if len(numbers) != 2:
        raise OptionError(f'--at is "{text}", expected x,y in pixels, such as 320,240.')
    return numbers[0], numbers[1]


def _write(frame: Frame, label_map: LabelMap, output: Path, preview: Path | None) -> None:
    from PIL import Image

    from vos.drawing import draw_objects
    from vos.io.atomic_files import replacing
    from vos.io.masks.mask_file import write_label_map
    from vos.types.label_map import object_ids

    for path in filter(None, (output, preview)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be made ({error.strerror}).") from error
    write_label_map(output, label_map)
    if preview is not None:
        with replacing(preview) as partial:
            Image.fromarray(draw_objects(frame.image, label_map, opacity=0.35)).save(partial)
    shares = np.bincount(label_map.ravel(), minlength=256) / label_map.size
    ids = object_ids(label_map)
    listed = ", ".join(f"{i} ({shares[i]:.1%})" for i in ids)
    click.echo(f"{output}: frame {frame.name}, {len(ids)} object{'s' * (len(ids) != 1)}: {listed}")
