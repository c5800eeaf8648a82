"""The command line: one module a verb, imported when the verb is used.

Parse, call, print: what a verb does is in the library. Results go to stdout, progress and messages
to stderr. Exit codes: 0 done, 1 the run failed, 2 wrong usage or bad input, 130 stopped by Ctrl-C,
SIGTERM or SIGHUP.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import click

from vos.cli_options.log_output import set_up_logging
from vos.cli_options.printable import printable
from vos.cli_options.settings import Settings, command_plugins, settings
from vos.cli_options.shared_options import general_options
from vos.errors import InputError, PluginFailedError, VosError
from vos.host.process_ends import stop_on_signals
from vos.registry.plugin_errors import blaming
from vos.version import __version__

VERBS: dict[str, tuple[str, str]] = {
    "track": ("vos.cli.track", "Track objects through a video: a mask for every frame."),
    "init": ("vos.cli.init", "Make a first label map: from points, boxes, a text, or nothing."),
    "frame": ("vos.cli.frame", "Write one frame as a picture, to draw a mask on."),
    "demo": ("vos.cli.demo", "Track the example clip and print its scores."),
    "davis": ("vos.cli.davis", "Run a tracker over a DAVIS tree and score it."),
    "eval": ("vos.cli.eval", "Score existing masks: J, F and J&F."),
    "init-eval": ("vos.cli.init_eval", "Score an initializer over a folder of images and label maps."),
    "export": ("vos.cli.export", "Write a finished run in another tool's format, or draw it again."),
    "import": ("vos.cli.import_masks", "Write another tool's masks as DAVIS masks."),
    "plugins": ("vos.cli.plugins", "List the installed plugins and their options."),
    "plugin": ("vos.cli.plugin", "Start a plugin of your own."),
    "weights": ("vos.cli.weights", "List, fetch and verify model weights."),
}
"""Built-in verbs: module and summary. Plugins add theirs with ``vos_commands``."""

HOW_TO_RESUME = {
    "track": "; run again with --resume, or with --from as before (a live stream begins anew)",
    "davis": "; run again to go on",
}
"""Advice after a verb was stopped, for its last line."""


class _Verbs(click.Group):
    """A group that knows its verbs' summaries without importing them."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        extra.setdefault("obj", Settings(reserved_verbs=frozenset(VERBS)))
        return super().make_context(info_name, args, parent, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS, *(name for name in command_plugins(ctx).commands.names() if name not in VERBS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS:
            command = importlib.import_module(VERBS[cmd_name][0]).command
            assert isinstance(command, click.Command)
            return command
        offered = command_plugins(ctx).commands
        if cmd_name not in offered.names():
            return None
        spec, who = offered.get(cmd_name), _owner(ctx, cmd_name)
        with blaming(f"{who} cannot be loaded"):
            loaded = spec.load()
        if not isinstance(loaded, click.Command):
            raise PluginFailedError(f"{who}: load gave a {type(loaded).__name__}, expected a click command.")
        return loaded

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (VosError, click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            name = ctx.invoked_subcommand
            if name is None or name in VERBS or _is_of_locale(error):
                raise
            raise PluginFailedError(f"{_owner(ctx, name)} failed: {type(error).__name__}: {error}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, summary) for name, (_, summary) in VERBS.items()]
        rows += [(spec.name, spec.summary) for spec, _ in command_plugins(ctx).commands.all() if spec.name not in VERBS]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


def _owner(ctx: click.Context, name: str) -> str:
    """A plugin's verb and the plugin, for messages."""
    origins = [origin for spec, origin in command_plugins(ctx).commands.all() if spec.name == name]
    return f'command "{name}" of plugin {" and ".join(map(str, origins))}'


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="vos")
@general_options
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Track and segment objects through a video.

    A video and a first-frame mask go in, a DAVIS-format mask for every frame comes out:

    \b
      vos track video.mp4 --mask first.png
      vos demo
    """
    set_up_logging(settings(ctx).debug)
    try:
        Path.cwd()
    except FileNotFoundError:
        raise InputError("the current folder is not there any more. Change to another one.") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: what to parse; None for those of the process.
    """
    debug = "--debug" in (sys.argv if arguments is None else arguments)
    _open_closed_streams()
    stop_on_signals()
    sys.exit(_run(list(arguments) if arguments is not None else None, debug))


def _open_closed_streams() -> None:
    """Connect standard streams that are closed to the null device, here and in worker processes.

    Else a file that is opened later takes the stream's number, and libraries print into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode)  # noqa: SIM115  # stays open; it takes the lowest free number
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _is_of_locale(error: BaseException) -> TypeGuard[UnicodeEncodeError]:
    """True if a text has no bytes in the locale's encoding of file names, which is not UTF-8."""
    return isinstance(error, UnicodeEncodeError) and sys.getfilesystemencoding() != "utf-8"


def _run(arguments: list[str] | None, debug: bool) -> int:
    try:
        result: Any = cli.main(args=arguments, prog_name="vos", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        given = sys.argv[1:] if arguments is None else arguments
        verb = next((word for word in given if word in VERBS), "")
        click.echo(f"vos: stopped. What was written is whole{HOW_TO_RESUME.get(verb, '')}.", err=True)
        return 130
    except VosError as error:
        if debug:
            raise
        click.echo(printable(f"vos: {error}"), err=True)
        return error.exit_code
    except BrokenPipeError:
        return 0
    except PermissionError as error:
        if debug:
            raise
        click.echo(printable(f"vos: {error.filename or error}: permission denied."), err=True)
        return 2
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            click.echo(f"vos: {str(error.filename)[:80]}...: the name is too long for a file.", err=True)
            return 2
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            where = error.filename or "standard output, or a temporary file"
            click.echo(printable(f"vos: {where}: cannot be written ({error.strerror}). Free space."), err=True)
            return 1
        if _is_of_locale(error):
            name = printable(str(error.object))
            click.echo(f"vos: {name}: no name of a file in the encoding {error.encoding}. Set PYTHONUTF8=1.", err=True)
            return 2
        said = printable(f"vos: unexpected {type(error).__name__}: {error}")
        click.echo(f"{said}\nRun again with --debug to see where.", err=True)
        return 1
