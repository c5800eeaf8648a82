"""``vos track``."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import Any

import click

from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options, option_assignments, progress_option, runtime_options
from vos.cli_options.shorthands import (
    ShorthandCommand,
    added_writers,
    chosen_initializer,
    takes_shorthands,
    tracker_assignments,
)
from vos.errors import NoAnnotationError, OptionError, WeightsError
from vos.host.annotations.annotation_loading import GivenAnnotations
from vos.host.progress import ProgressForm
from vos.host.run_config import DEFAULT_TRACKER, DEFAULT_WRITER
from vos.protocols.source import Source
from vos.registry.discovery import Plugins
from vos.registry.options import parse_assignments
from vos.types.run import RunSummary
from vos.types.runtime import Runtime

DEFAULT_OUTPUT = "vos-out"
MOST_SHOWN = 5
"""Spans to look at that are shown for an object."""


@click.command("track", cls=ShorthandCommand)
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
@takes_shorthands("initializers")
@click.option("-t", "--tracker", default=DEFAULT_TRACKER, show_default=True, help="Who tracks (`vos plugins`).")
@option_assignments
@takes_shorthands("trackers")
@click.option(
    "-o", "--output", default=DEFAULT_OUTPUT, show_default=True, help="Folder; masks go to OUTPUT/<sequence>/."
)
@click.option("--sequence", metavar="NAME", help="Name of the sequence's folder; by default the video's name.")
@takes_shorthands("writers")
@click.option(
    "--writer",
    "writers",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Also use another writer (`vos plugins`). May be given several times.",
)
@click.option("--no-masks", is_flag=True, help="Leave out the palette PNG masks.")
@click.option("--both-ways", is_flag=True, help="Also track backward: each object from its masks.")
@click.option("--end", "ends", multiple=True, metavar="ID@INDEX", help="First frame without object ID, by its index.")
@click.option(
    "--from",
    "from_frame",
    type=click.IntRange(min=0),
    metavar="INDEX",
    help="Continue an earlier run in its folder from the mask of this frame; earlier frames keep their masks.",
)
@click.option("--start", type=click.IntRange(min=0), default=0, help="Index of the first frame, from 0.")
@click.option("--stop", type=click.IntRange(min=1), default=None, help="Index after the last frame.")
@click.option("--step", type=click.IntRange(min=1), default=1, help="Take every STEP-th frame.")
@click.option("--max-side", type=click.IntRange(min=16), help="Track at a smaller size; masks have full size.")
@click.option("--resume", is_flag=True, help="Skip a finished run, continue a stopped one.")
@click.option("--overwrite", is_flag=True, help="Replace the files that this run writes.")
@click.option("--allow-truncated", is_flag=True, help="Accept a damaged video up to its last good frame.")
@progress_option
@runtime_options
@general_options
@click.pass_context
def command(ctx: click.Context, /, runtime: Runtime, **given: Any) -> None:
    """Track objects through VIDEO: a mask for every frame.

    VIDEO is a video file, a folder of images, a camera index, or the address of a stream. A folder
    in DAVIS or YouTube-VOS layout brings its own first mask.

    \b
      vos track dog.mp4 --mask first.png --overlay dog-overlay.mp4
      vos track dog.mp4 --mask first.png --mask 40:corrected.png --from 40
      vos track dog.mp4 --text "dog; person"
      vos track JPEGImages/480p/bear --quality fast
    """
    from vos.host.opening import open_source
    from vos.host.progress import RunProgress
    from vos.host.tracking import track
    from vos.registry.plugin_errors import close_or_warn

    args = _Args(**given)
    plugins = command_plugins(ctx)
    masks = [] if args.no_masks else [DEFAULT_WRITER]
    writers: list[Any] = [*masks, *added_writers(ctx), *map(_writer, args.writers)]
    options = parse_assignments(args.assignments) | tracker_assignments(ctx)
    opened = open_source(args.source, plugins)
    try:
        summary = track(
            opened,
            _first_mask(ctx, args, opened, writers, options, runtime),
            tracker=args.tracker,
            options=options,
            output=args.output,
            writers=writers,
            runtime=runtime,
            both_ways=args.both_ways,
            ends=_ends(args.ends),
            from_frame=args.from_frame,
            start=args.start,
            stop=args.stop,
            step=args.step,
            max_side=args.max_side,
            resume=args.resume,
            overwrite=args.overwrite,
            allow_truncated=args.allow_truncated,
            sequence=args.sequence,
            plugins=plugins,
            observers=[RunProgress(args.progress)],
        )
    except NoAnnotationError as error:
        raise type(error)(f"{error} {_ways_to_a_mask(args.source, plugins)}") from None
    finally:
        close_or_warn(f"source {args.source}", opened.close)
    click.echo(describe(summary))


def _ways_to_a_mask(source: str, plugins: Plugins) -> str:
    """Say how to get a first mask: by a file, by flags of initializers without weights, or in the browser."""
    flags = [
        one.flag
        for spec, _ in plugins.initializers.all()
        if not spec.needs_weights
        for one in spec.shorthands
        if "track" in one.verbs
    ]
    has_page = "web" in plugins.commands.names() and os.path.lexists(source)
    by_clicks = f"; or in the browser: `vos web {shlex.quote(source)}`" if has_page else ""
    return f"It is a file (--mask FILE), or is made: {', '.join([*flags, '--init NAME'])}{by_clicks}."


@dataclass(frozen=True)
class _Args:
    """The command's options, by the names of their parameters."""

    source: str
    masks: tuple[str, ...]
    initializer: str | None
    init_assignments: tuple[str, ...]
    tracker: str
    assignments: tuple[str, ...]
    output: str
    sequence: str | None
    writers: tuple[str, ...]
    no_masks: bool
    both_ways: bool
    ends: tuple[str, ...]
    from_frame: int | None
    start: int
    stop: int | None
    step: int
    max_side: int | None
    resume: bool
    overwrite: bool
    allow_truncated: bool
    progress: ProgressForm


def _first_mask(
    ctx: click.Context,
    args: _Args,
    source: Source,
    writers: list[Any],
    options: dict[str, Any],
    runtime: Runtime,
) -> GivenAnnotations:
    """Masks of ``--mask``, or the initializer's of the first frame; None leaves the choice to the data set's layout."""
    from vos.host.annotations.mask_arguments import parse_mask_arguments
    from vos.host.outputs.planned_outputs import PlannedOutputs
    from vos.host.tracker_making import tracker_options
    from vos.initialization.initialize import initialize

    chosen = chosen_initializer(ctx, args.initializer, "--init", parse_assignments(args.init_assignments, "-I"))
    if chosen is None:
        if args.init_assignments:
            raise OptionError("-I sets an initializer's option, and there is none. Name it: --init NAME.")
        return parse_mask_arguments(args.masks, args.start)
    name, init_options = chosen
    if args.masks:
        given = "--init" if args.initializer is not None else f"initializer {name}"
        raise OptionError(
            f"--mask and {given} are both given; one of them makes the first mask. For masks of later frames beside "
            "it, write the first one with `vos init`, and give each with --mask."
        )
    plugins = command_plugins(ctx)
    # Typing mistakes and outputs that are there should not cost the wait for the initializer.
    tracker_options(args.tracker, options, plugins)
    planned = PlannedOutputs.plan(
        writers,
        args.output,
        plugins,
        args.sequence,
        resume=args.resume,
        overwrite=args.overwrite,
        continues=args.from_frame is not None,
    )
    planned.check(source, {}, init_options)
    try:
        return initialize(source, name, init_options, runtime=runtime, plugins=plugins, frame_index=args.start)
    except WeightsError as error:
        raise type(error)(f"{error}\nIn `vos track` these options of the initializer are given with -I.") from error


def describe(summary: RunSummary) -> str:
    """Print a run's result and output folder in one line, and the frames to check of each object in another."""
    objects = ", ".join(map(str, summary.object_ids))
    output = summary.run.address or summary.run.output
    many = "objects" if len(summary.object_ids) != 1 else "object"
    frames = f"{summary.frames} frames" if summary.frames != 1 else "1 frame"
    if summary.skipped:
        return f"{summary.run.sequence}: finished before, {frames} in {output}"
    rate = f"{summary.fps:.1f} frames/s" if summary.fps >= 1 else f"{summary.fps:.2f} frames/s"
    where = f" -> {output}" if output else ""
    done = f"{summary.run.sequence}: {frames}, {many} {objects}, {rate}{where}"
    return "\n".join([done, *_doubts(summary)])


def _doubts(summary: RunSummary) -> list[str]:
    """Name the frames to look at, in a line for each object that has some."""
    lines = []
    for object_id in summary.object_ids:
        spans = [span for span in summary.doubts if span.object_id == object_id]
        shown = [_frames(span.first, span.last) + f" ({', '.join(span.reasons)})" for span in spans[:MOST_SHOWN]]
        more = f", and {len(spans) - MOST_SHOWN} more spans in run.json" if len(spans) > MOST_SHOWN else ""
        if shown:
            lines.append(f"object {object_id}: look at frames {', '.join(shown)}{more}")
    return lines


def _frames(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _ends(texts: tuple[str, ...]) -> dict[int, int]:
    ends: dict[int, int] = {}
    for text in texts:
        object_id, at, frame = text.partition("@")
        if not at or not object_id.isdecimal() or not frame.isdecimal():
            raise OptionError(f'--end is "{text}", expected ID@INDEX, such as 2@120.')
        if ends.setdefault(int(object_id), int(frame)) != int(frame):
            raise OptionError(f"object {int(object_id)} has two ends: frames {ends[int(object_id)]} and {int(frame)}.")
    return ends


def _writer(text: str) -> tuple[str, dict[str, str]]:
    name, _, assignments = text.partition(":")
    return name, parse_assignments(assignments.split(","), "--writer") if assignments else {}
