"""``vos track``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vos.cli import common
from vos.errors import OptionError
from vos.host.annotation_loading import GivenAnnotations
from vos.registry.options import parse_assignments
from vos.types.run import RunSummary

DEFAULT_OUTPUT = "vos-out"


@click.command()
@click.argument("source", metavar="VIDEO")
@click.option(
    "--mask",
    "masks",
    multiple=True,
    metavar="[INDEX:]FILE",
    help="Mask of the first frame: palette or greyscale PNG with ids, or black and white for one object. "
    "INDEX:FILE is for a later frame, to add or correct objects. A folder gives a mask for each frame named in it, "
    "and so does a file of another tool (`vos plugins`: formats).",
)
@click.option("--init", "initializer", metavar="NAME", help="Make the first mask with an initializer (`vos plugins`).")
@click.option("-I", "init_assignments", multiple=True, metavar="KEY=VALUE", help="An option of the initializer.")
@click.option("-t", "--tracker", default="propagation", show_default=True, help="Who tracks (`vos plugins`).")
@common.option_assignments
@common.quality_option
@click.option(
    "-o", "--output", default=DEFAULT_OUTPUT, show_default=True, help="Folder; masks go to OUTPUT/<sequence>/."
)
@click.option("--sequence", metavar="NAME", help="Name of the sequence's folder; by default the video's name.")
@click.option("--overlay", type=click.Path(path_type=Path), metavar="FILE", help="Also write an H.264 overlay video.")
@click.option("--rle", type=click.Path(path_type=Path), metavar="FILE", help="Also write a COCO run-length JSON.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a CSV of places, sizes and confidence.",
)
@click.option("--cutouts", type=click.Path(path_type=Path), metavar="DIR", help="Also write RGBA cut-outs.")
@click.option(
    "--writer",
    "writers",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Also use another writer (`vos plugins`). May be given several times.",
)
@click.option("--no-masks", is_flag=True, help="Leave out the palette PNG masks.")
@click.option("--both-ways", is_flag=True, help="Also track backward from the first mask.")
@click.option("--end", "ends", multiple=True, metavar="ID@INDEX", help="Object ID is no more from this frame on.")
@click.option("--start", type=click.IntRange(min=0), default=0, help="Index of the first frame, from 0.")
@click.option("--stop", type=click.IntRange(min=1), default=None, help="Index after the last frame.")
@click.option("--step", type=click.IntRange(min=1), default=1, help="Take every STEP-th frame.")
@click.option("--max-side", type=click.IntRange(min=16), help="Track at a smaller size; masks have full size.")
@click.option("--resume", is_flag=True, help="Skip if this run is finished, redo it if it is not.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run's output.")
@click.option("--allow-truncated", is_flag=True, help="Accept a damaged video up to its last good frame.")
@common.runtime_options
@common.general_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    masks: tuple[str, ...],
    initializer: str | None,
    init_assignments: tuple[str, ...],
    tracker: str,
    assignments: tuple[str, ...],
    output: str,
    sequence: str | None,
    overlay: Path | None,
    rle: Path | None,
    report: Path | None,
    cutouts: Path | None,
    writers: tuple[str, ...],
    no_masks: bool,
    both_ways: bool,
    ends: tuple[str, ...],
    start: int,
    stop: int | None,
    step: int,
    max_side: int | None,
    resume: bool,
    overwrite: bool,
    allow_truncated: bool,
    **runtime: Any,
) -> None:
    """Track objects through VIDEO: a mask for every frame.

    VIDEO is a video file, a folder of images, a camera index, or the address of a stream. A folder
    in DAVIS or YouTube-VOS layout brings its own first mask.

    \b
      vos track dog.mp4 --mask first.png --overlay dog-overlay.mp4
      vos track dog.mp4 --mask first.png --mask 40:corrected.png
      vos track JPEGImages/480p/bear --quality fast
    """
    from vos.host.mask_arguments import parse_mask_arguments
    from vos.host.opening import open_source
    from vos.host.progress import ProgressBar
    from vos.host.tracking import track
    from vos.host.writer_making import refuse_outputs
    from vos.registry.plugin_errors import close_or_warn

    plugins = common.settings(ctx).plugins
    made_runtime = common.make_runtime(**runtime)
    shortcuts = {"overlay": overlay, "coco-rle": rle, "report": report, "cutouts": cutouts}
    all_writers: list[Any] = [
        *([] if no_masks else ["davis"]),
        *((name, {"path": path}) for name, path in shortcuts.items() if path is not None),
        *map(_writer, writers),
    ]
    opened = open_source(source, plugins)
    try:
        given: GivenAnnotations = parse_mask_arguments(masks, start)
        if initializer is not None:
            if masks:
                raise OptionError("--mask and --init are both given; one of them makes the first mask.")
            from vos.host.tracker_making import tracker_options
            from vos.initialization.initialize import initialize

            tracker_options(tracker, parse_assignments(assignments), plugins)  # a typo should not cost the wait
            init_options = parse_assignments(init_assignments, "-I")
            refuse_outputs(opened, {}, output, all_writers, init_options, sequence=sequence, plugins=plugins)
            given = initialize(
                opened, initializer, init_options, runtime=made_runtime, plugins=plugins, frame_index=start
            )
        summary = track(
            opened,
            given,
            tracker=tracker,
            options=parse_assignments(assignments),
            output=output,
            writers=all_writers,
            runtime=made_runtime,
            both_ways=both_ways,
            ends=_ends(ends),
            start=start,
            stop=stop,
            step=step,
            max_side=max_side,
            resume=resume,
            overwrite=overwrite,
            allow_truncated=allow_truncated,
            sequence=sequence,
            plugins=plugins,
            observers=[ProgressBar()],
        )
    finally:
        close_or_warn(f"source {source}", opened.close)
    click.echo(describe(summary))


def describe(summary: RunSummary) -> str:
    """One line on what a run did and where its output is."""
    objects = ", ".join(map(str, summary.object_ids))
    many = "objects" if len(summary.object_ids) != 1 else "object"
    frames = f"{summary.frames} frames" if summary.frames != 1 else "1 frame"
    if summary.skipped:
        return f"{summary.run.sequence}: finished before, {frames} in {summary.run.output}"
    rate = f"{summary.fps:.1f} frames/s" if summary.fps >= 1 else f"{summary.fps:.2f} frames/s"
    where = f" -> {summary.run.output}" if summary.run.output else ""
    return f"{summary.run.sequence}: {frames}, {many} {objects}, {rate}{where}"


def _ends(texts: tuple[str, ...]) -> dict[int, int]:
    ends = {}
    for text in texts:
        object_id, at, frame = text.partition("@")
        if not at or not object_id.isdecimal() or not frame.isdecimal():
            raise OptionError(f'--end is "{text}", expected ID@INDEX, such as 2@120.')
        ends[int(object_id)] = int(frame)
    return ends


def _writer(text: str) -> tuple[str, dict[str, str]]:
    name, _, assignments = text.partition(":")
    return name, parse_assignments(assignments.split(","), "--writer") if assignments else {}
