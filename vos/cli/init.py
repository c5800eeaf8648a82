"""``vos init``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from vos.cli_options.executor_options import ExecutorArgs, executor_options
from vos.cli_options.settings import command_plugins, settings
from vos.cli_options.shared_options import general_options, option_assignments, progress_option, runtime_options
from vos.cli_options.shorthands import ShorthandCommand, choosing_flags, chosen_initializer, takes_shorthands
from vos.errors import OptionError, VosError
from vos.host.jobs.job_progress import JobProgress
from vos.host.jobs.running import error_of, failure_of, run_jobs
from vos.host.progress import ProgressForm, show_progress
from vos.io.sequence_names import sequence_name
from vos.protocols.executor import Job, JobEvent, WorkerPlan
from vos.registry.options import parse_assignments
from vos.types.runtime import Runtime

if TYPE_CHECKING:
    from vos.initialization.mask_worker import MaskFiles, MaskSettings
    from vos.initialization.object_selection import ObjectSelection

DEFAULT_OUTPUT = Path("first-mask.png")
PREVIEW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@click.command("init", cls=ShorthandCommand)
@click.argument("sources", metavar="VIDEO...", nargs=-1, required=True)
@click.option("--with", "initializer", metavar="NAME", help="The initializer (`vos plugins`); -O sets its options.")
@takes_shorthands("initializers")
@option_assignments
@click.option("--frame", "frame_index", type=click.IntRange(min=0), default=0, help="Index of the frame, from 0.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="The mask: a palette PNG with object ids. With several videos, or where it is a folder, VIDEO.png in it.",
)
@click.option(
    "--preview",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a picture with numbered contours, to choose from. With several videos, a folder.",
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
@click.option("--overwrite", is_flag=True, help="Replace an existing mask and preview.")
@executor_options
@progress_option
@runtime_options
@general_options
@click.pass_context
def command(ctx: click.Context, /, runtime: Runtime, **given: Any) -> None:
    """Make a first label map of one frame of VIDEO, for ``vos track --mask``.

    VIDEO is a video file, an image, a folder of images, a camera index, or the address of a stream. Of several, each
    gets a mask of its name, which is where ``vos batch`` looks for it; -j makes several at a time.

    \b
      vos init dog.mp4 --points 1:320,240,+ -o first.png
      vos init dog.mp4 --text "dog; person" -o first.png
      vos init dog.mp4 --diffseg --preview preview.png
      vos init dog.mp4 --diffseg --keep 2,5 -o first.png
      vos init clips/*.mp4 --text dog -o clips -j 2
    """
    from vos.initialization.mask_worker import MaskSettings, MaskWorker

    args = _Args(**given)
    name, options = _initializer(ctx, args)
    known = MaskSettings(name, options, runtime, _selection(args), args.frame_index, args.overwrite)
    files = _files(args)
    if len(files) > 1 or not args.in_this_process:
        _make_masks(ctx, files, known, args)
        return
    worker = MaskWorker(known, command_plugins(ctx))
    with show_progress(f"init {name}", 1, "frame", args.progress, waiting=True) as progress:
        line = worker.run(files[0])
        progress.update(1)
    click.echo(line)


@dataclass(frozen=True, kw_only=True)
class _Args(ExecutorArgs):
    """The command's options, by the names of their parameters."""

    sources: tuple[str, ...]
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


def _initializer(ctx: click.Context, args: _Args) -> tuple[str, dict[str, Any]]:
    """The one initializer that ``--with`` or a shorthand names, and its options."""
    chosen = chosen_initializer(ctx, args.initializer, "--with", parse_assignments(args.assignments))
    if chosen is None:
        flags = ", ".join(choosing_flags(ctx))
        raise OptionError(
            f"no initializer named. Say how to find the objects: {flags}, or --with NAME (`vos plugins` lists them)."
        )
    return chosen


def _files(args: _Args) -> list[MaskFiles]:
    """The files to write for each video, if their names fit."""
    from vos.initialization.mask_worker import MaskFiles

    into_folder = args.output.is_dir() and args.output.suffix.lower() != ".png"
    if len(args.sources) == 1 and not into_folder:
        if args.output.suffix.lower() != ".png":
            raise OptionError(f'-o is "{args.output}", expected a name that ends in .png: a mask is a palette PNG.')
        if args.preview is not None and args.preview.suffix.lower() not in PREVIEW_SUFFIXES:
            endings = ", ".join(PREVIEW_SUFFIXES)
            raise OptionError(f'--preview is "{args.preview}", expected a name that ends in {endings}.')
        return [MaskFiles(args.sources[0], args.output, args.preview)]
    for option, folder in (("-o", args.output), ("--preview", args.preview)):
        if folder is not None and folder.suffix.lower() in PREVIEW_SUFFIXES:
            reason = "-o is one" if len(args.sources) == 1 else f"there are {len(args.sources)} videos"
            raise OptionError(f'{option} is "{folder}", expected a folder: {reason}.')
    files: dict[str, MaskFiles] = {}
    for source in args.sources:
        name = sequence_name(source)
        if name in files:
            raise OptionError(f"{files[name].source} and {source}: both masks would be {name}.png. Rename one of them.")
        preview = None if args.preview is None else args.preview / f"{name}.jpg"
        files[name] = MaskFiles(source, args.output / f"{name}.png", preview)
    return list(files.values())


def _make_masks(ctx: click.Context, files: Sequence[MaskFiles], known: MaskSettings, args: _Args) -> None:
    """Make the masks of several videos; one that fails leaves the others to be made."""
    from vos.initialization.mask_worker import MASK_WORKER, MaskWorker

    failed: dict[str, VosError] = {}
    with show_progress(f"init {known.initializer}", len(files), "video", args.progress) as progress:
        shown = JobProgress(progress)
        if args.in_this_process:
            worker = MaskWorker(known, command_plugins(ctx))
            for one in files:
                try:
                    click.echo(worker.run(one))
                except VosError as error:
                    failed[one.source] = error
                shown(JobEvent(one.source, "failed" if one.source in failed else "done"))
        else:
            executor = args.make_executor(command_plugins(ctx))

            def follow(event: JobEvent) -> None:
                shown(event)
                if event.kind == "done":
                    click.echo(event.result["line"])
                elif event.kind == "failed":
                    failed[event.job_id] = error_of(event)

            plugins = {"plugin_modules": list(settings(ctx).plugin_modules), "blocked": list(settings(ctx).blocked)}
            plan = WorkerPlan(MASK_WORKER, {"settings": known.to_plain(), **plugins})
            jobs = [
                Job(
                    one.source,
                    {"source": one.source, "mask": str(one.mask), "preview": one.preview and str(one.preview)},
                )
                for one in files
            ]
            run_jobs(executor, plan, jobs, follow, are_runs=False)
    if failed:
        raise failure_of(failed, len(files), "videos")


def _selection(args: _Args) -> ObjectSelection | Literal[False] | None:
    """Build ``initialize``'s ``select`` argument from the options; False keeps all segments."""
    from vos.initialization.object_selection import ObjectSelection

    wanted = {
        "keep": _numbers("--keep", args.keep) if args.keep is not None else None,
        "at": tuple(_point(text) for text in args.at) or None,
        "max_objects": args.max_objects,
        "min_area": args.min_area,
        "max_area": args.max_area,
        "max_border": args.max_border,
        "order": args.order,
    }
    given: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    if args.keep_all:
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
