"""``vos init``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from vos.cli import common
from vos.errors import OptionError, OutputError
from vos.registry.options import parse_assignments
from vos.types.arrays import LabelMap
from vos.types.frame import Frame

DEFAULT_OUTPUT = Path("first-mask.png")
PREVIEW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@click.command()
@click.argument("source", metavar="VIDEO")
@click.option("--with", "initializer", metavar="NAME", help="The initializer (`vos plugins`); -O sets its options.")
@click.option("--points", metavar="ID:X,Y,+;...", help="Objects at points: + on the object, - beside it (sam-points).")
@click.option("--boxes", metavar="ID:X0,Y0,X1,Y1;...", help="Objects in boxes (sam-boxes).")
@click.option("--mask", metavar="FILE", help="A rough mask, refined (sam-mask).")
@click.option("--everything", is_flag=True, help="The largest objects, without a prompt (sam-everything).")
@click.option("--edges", is_flag=True, help="Edges, as an object (sam-edges).")
@click.option("--diffseg", is_flag=True, help="Objects among the frame's segments, without a prompt (diffseg).")
@click.option("--text", metavar="TEXT", help='What a text names, such as "dog; person" (groupvit).')
@click.option("--instances", is_flag=True, help="With --text: an object for each connected piece, not each phrase.")
@common.option_assignments
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
@common.runtime_options
@common.general_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    initializer: str | None,
    points: str | None,
    boxes: str | None,
    mask: str | None,
    everything: bool,
    edges: bool,
    diffseg: bool,
    text: str | None,
    instances: bool,
    assignments: tuple[str, ...],
    frame_index: int,
    output: Path,
    preview: Path | None,
    keep: str | None,
    at: tuple[str, ...],
    keep_all: bool,
    max_objects: int | None,
    min_area: float | None,
    max_area: float | None,
    max_border: float | None,
    order: str | None,
    device: str,
    precision: Any,
    threads: int | None,
    seed: int,
) -> None:
    """Make a first label map of one frame of VIDEO, for ``vos track --mask``.

    VIDEO is a video file, an image, a folder of images, a camera index, or the address of a stream.

    \b
      vos init dog.mp4 --points 1:320,240,+ -o first.png
      vos init dog.mp4 --text "dog; person" -o first.png
      vos init dog.mp4 --diffseg --preview preview.png
      vos init dog.mp4 --diffseg --keep 2,5 -o first.png
    """
    from vos.host.input_protection import files_in_options, files_of_run, refuse_replacing
    from vos.host.opening import open_source
    from vos.initialization.initialize import initialize, read_frame

    shorthands: dict[str, dict[str, Any]] = {
        "sam-points": {"points": points},
        "sam-boxes": {"boxes": boxes},
        "sam-mask": {"mask": mask},
        "sam-everything": {"": everything or None},
        "sam-edges": {"": edges or None},
        "diffseg": {"": diffseg or None},
        "groupvit": {"text": text, "instances": instances or None},
    }
    name, options = _chosen(initializer, shorthands)
    selection = {
        "keep": _numbers("--keep", keep) if keep is not None else None,
        "at": tuple(_point(text) for text in at) or None,
        "max_objects": max_objects,
        "min_area": min_area,
        "max_area": max_area,
        "max_border": max_border,
        "order": order,
    }
    if output.suffix.lower() != ".png":
        raise OptionError(f'-o is "{output}", expected a name that ends in .png: a mask is a palette PNG.')
    if preview is not None and preview.suffix.lower() not in PREVIEW_SUFFIXES:
        raise OptionError(f'--preview is "{preview}", expected a name that ends in {", ".join(PREVIEW_SUFFIXES)}.')
    plugins = common.settings(ctx).plugins
    options |= parse_assignments(assignments)
    opened = open_source(source, plugins)
    try:
        refuse_replacing(
            [output] if preview is None else [output, preview],
            [*files_of_run(opened.info, {}), *files_in_options(options)],
        )
        frame = read_frame(opened, frame_index, plugins)
    finally:
        opened.close()
    label_map = initialize(
        frame,
        name,
        options,
        runtime=common.make_runtime(device, precision, threads, seed),
        plugins=plugins,
        select=_selection({key: value for key, value in selection.items() if value is not None}, keep_all),
    )
    _write(frame, label_map, output, preview)


def _chosen(initializer: str | None, shorthands: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The one initializer that ``--with`` or a shorthand names, and the option that the shorthand sets."""
    given = {
        name: {key: value for key, value in options.items() if key and value is not None}
        for name, options in shorthands.items()
        if any(value is not None for value in options.values())
    }
    if initializer is not None:
        given.setdefault(initializer, {})
    if len(given) == 1:
        return next(iter(given.items()))
    if given:
        raise OptionError(f"{' and '.join(given)} are both asked for; one initializer makes the mask.")
    raise OptionError(
        "no initializer named. Say how to find the objects: --points, --boxes, --mask, --everything, --edges, "
        "--diffseg, --text, or --with NAME (`vos plugins` lists them)."
    )


def _selection(given: dict[str, Any], keep_all: bool) -> Any:
    from vos.initialization.object_selection import ObjectSelection

    if keep_all:
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
    from vos.io.mask_file import write_label_map
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
