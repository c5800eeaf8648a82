"""``vos web``: parse, start the server, print its address, open the browser."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from vos.plugin import (
    ExtraMissingError,
    InputError,
    LabelMap,
    OptionError,
    Plugins,
    Runtime,
    check_can_start,
    command_plugins,
    general_options,
    open_source,
    read_label_map,
    refuse_existing,
    runtime_options,
)

DEFAULT_OUTPUT = Path("vos-out")


def default_sessions() -> Path:
    """The folder of sessions that people have without naming one."""
    import platformdirs

    return Path(platformdirs.user_data_dir("vos", appauthor=False)) / "web-sessions"


@click.command()
@click.argument("video", required=False)
@click.option(
    "--mask",
    metavar="[INDEX:]FILE",
    help="Begin with this mask of the first frame, or of frame INDEX. What a session has annotated there stays.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="Folder that exports go to.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; by default a free one.")
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.")
@click.option(
    "--root",
    "roots",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    help="Folder whose videos may be opened, beside the home folder and the current one. May be given several times.",
)
@click.option(
    "--sessions",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder of the sessions; by default one in the user's data folder.",
)
@click.option(
    "--sam",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    help="Segment Anything or MobileSAM checkpoint for clicks; by default what `vos weights fetch` has fetched.",
)
@click.option(
    "-O",
    "assignments",
    multiple=True,
    metavar="TRACKER.KEY=VALUE",
    help="An option of a tracker, such as cutie.checkpoint=cutie-base-mega.pth. May be given several times.",
)
@runtime_options
@general_options
@click.pass_context
def command(ctx: click.Context, /, runtime: Runtime, **values: Any) -> None:
    """Annotate, track, correct and export VIDEO in the browser.

    The page is for this computer alone: the server listens on 127.0.0.1, and its address holds a random token. What
    is done is kept in a session on disk; the same command goes on with it.

    \b
      vos web dog.mp4
      vos web
    """
    try:
        from vos_web.server.serving import serve
        from vos_web.service import Service, ServiceSettings
    except ImportError as error:
        raise ExtraMissingError(f'`vos web` needs the extra "web" ({error}): pip install "vos-toolkit[web]"') from error
    from vos_web.server.paths import AllowedFolders

    options = _Options(**values)
    path = Path(options.video).expanduser().resolve() if options.video is not None else None
    if path is not None and not path.exists():
        raise InputError(f"{options.video}: no such file or folder on this computer.")
    if options.output != DEFAULT_OUTPUT:
        refuse_existing([options.output], overwrite=True)
    output = options.output.resolve()
    plugins = command_plugins(ctx)
    tracker_options = _tracker_options(options.assignments, runtime, plugins)
    folders = [Path.cwd(), Path.home(), *options.roots, output, *([path.parent] if path is not None else [])]
    service = Service(
        plugins,
        runtime,
        AllowedFolders(folders),
        ServiceSettings(
            options.sessions or default_sessions(),
            output,
            sam_checkpoint=options.sam,
            plugin_modules=ctx.obj.plugin_modules,
            blocked=ctx.obj.blocked,
            tracker_options=tracker_options,
        ),
    )
    try:
        if path is not None:
            service.first = _open(service, path, options.mask)
        elif options.mask is not None:
            raise InputError("--mask needs a VIDEO.")
        threading.Thread(target=service.warm_up, name="vos-web-warm-up", daemon=True).start()
        serve(service, options.port, on_ready=lambda address: _announce(address, options.browser))
    finally:
        service.close()


@dataclass(frozen=True)
class _Options:
    """The command's options, by the names of their parameters."""

    video: str | None
    mask: str | None
    output: Path
    port: int
    browser: bool
    roots: tuple[Path, ...]
    sessions: Path | None
    sam: Path | None
    assignments: tuple[str, ...]


def _tracker_options(assignments: tuple[str, ...], runtime: Runtime, plugins: Plugins) -> dict[str, dict[str, str]]:
    """Split ``-O TRACKER.KEY=VALUE``, and check that these trackers can start."""
    found: dict[str, dict[str, str]] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        tracker, dot, key = name.partition(".")
        if not (equals and dot and tracker and key):
            raise OptionError(f'-O "{text}": expected TRACKER.KEY=VALUE, such as cutie.checkpoint=cutie-base-mega.pth.')
        found.setdefault(tracker, {})[key] = value
    for tracker, options in found.items():
        check_can_start(tracker, options, runtime, plugins)
    return found


def _open(service: Any, video: Path, mask: str | None) -> str:
    given = None if mask is None else _read_mask(service, video, mask)
    opened = service.open_video(video)
    session = opened.session
    if opened.notice:
        click.echo(opened.notice, err=True)
    if given is not None:
        frame, label_map = given
        kept = service.add_first_mask(opened, frame, label_map)
        if kept:
            them = ", ".join(map(str, kept))
            click.echo(f"--mask: frame {frame} stays as the session has it for object {them}.", err=True)
    session_id: str = session.facts.id
    return session_id


def _read_mask(service: Any, video: Path, mask: str) -> tuple[int, LabelMap]:
    """The frame and the label map that ``--mask`` names, without void; read before a session is made."""
    source = open_source(video, service.plugins)
    info = source.info
    source.close()
    index, colon, file = mask.partition(":")
    later = bool(colon) and index.isdecimal() and not Path(mask).exists()
    frame = int(index) if later else 0
    if info.frame_count is not None and frame >= info.frame_count:
        raise InputError(f"--mask {mask}: there is no frame {frame}: the last one is {info.frame_count - 1}.")
    label_map = read_label_map(file if later else mask, info.size)
    without_void: LabelMap = label_map * (label_map != 255)
    return frame, without_void


def _announce(address: str, browser: bool) -> None:
    click.echo(address)
    click.echo("Stop with Ctrl+C; the session is kept.", err=True)
    if browser:
        import webbrowser

        webbrowser.open(address)
