"""What verbs share: settings, plugins, logging, and the options that most of them take."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from vos.registry.discovery import Offers, Plugins, load_plugins
from vos.registry.specs import CommandSpec
from vos.types.runtime import Runtime

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Settings:
    """The options given before the verb; ``ctx.obj`` of every command.

    Attributes:
        plugin_modules: modules to load besides the installed plugins (``-p``).
        blocked: plugins to leave out (``--no-plugin``).
        debug: show tracebacks.
    """

    plugin_modules: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    debug: bool = False
    _plugins: Plugins | None = field(default=None, repr=False)

    @property
    def plugins(self) -> Plugins:
        """The plugins, loaded at the first use."""
        if self._plugins is None:
            self._plugins = load_plugins(self.plugin_modules, self.blocked)
            _warn_of_own_verbs(self._plugins)
        return self._plugins

    def forget_plugins(self) -> None:
        """Load them anew at the next use, since what to load has changed."""
        self._plugins = None


def _warn_of_own_verbs(plugins: Plugins) -> None:
    """Say so where a plugin offers a verb that the toolkit has itself; the toolkit's own is used."""
    from vos.cli import VERBS

    for spec, origin in plugins.commands.all():
        if spec.name in VERBS:
            logger.warning('plugin %s offers a command "%s", which vos has itself; it is left out.', origin, spec.name)


def general_options(function: F) -> F:
    """Accept ``-p``, ``--no-plugin`` and ``--debug`` after the verb too, where people also type them."""

    def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if not value:
            return
        known = settings(ctx)
        if parameter.name == "debug":
            known.debug = True
            set_up_logging(debug=True)
        elif parameter.name == "plugin_modules":
            known.plugin_modules += value
        else:
            known.blocked += value
        known.forget_plugins()

    decorators: list[Callable[[F], F]] = [
        click.option(
            "-p", "plugin_modules", multiple=True, metavar="MODULE", expose_value=False, callback=keep, is_eager=True,
            help="Load a plugin by its module name.",
        ),
        click.option(
            "--no-plugin", "blocked", multiple=True, metavar="NAME", expose_value=False, callback=keep, is_eager=True,
            help="Leave a plugin out.",
        ),
        click.option(
            "--debug", is_flag=True, expose_value=False, callback=keep, is_eager=True,
            help="Show tracebacks and log lines.",
        ),
    ]  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def settings(ctx: click.Context) -> Settings:
    """The settings of this command line."""
    found: Settings = ctx.ensure_object(Settings)
    return found


def plugin_commands(ctx: click.Context) -> Offers[CommandSpec]:
    """The verbs that plugins offer."""
    return settings(ctx).plugins.commands


class _MessageFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"vos: {prefix}{record.getMessage()}"


def set_up_logging(debug: bool) -> None:
    """Send the toolkit's log lines to stderr, above a progress bar if there is one."""
    logger = logging.getLogger("vos")
    logger.handlers.clear()
    handler = _TqdmHandler()
    handler.setFormatter(_MessageFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False


class _TqdmHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def option_assignments(function: F) -> F:
    """Add ``-O key=value`` (``assignments``): options of the plugin that the verb names."""
    decorate: Callable[[F], F] = click.option(
        "-O",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the plugin; `vos plugins` lists them. May be given several times.",
    )
    return decorate(function)


def quality_option(function: F) -> F:
    """Add ``--quality NAME``, short for ``-O quality=NAME``, to a verb that takes ``assignments``."""

    @functools.wraps(function)
    def with_quality(*args: Any, assignments: tuple[str, ...], quality: str | None, **others: Any) -> Any:
        chosen = () if quality is None else (f"quality={quality}",)
        return function(*args, assignments=(*assignments, *chosen), **others)

    decorate: Callable[[Any], F] = click.option(
        "--quality",
        metavar="NAME",
        help="Short for -O quality=NAME; the default tracker has fast, balanced and best.",
    )
    return decorate(with_quality)


def runtime_options(function: F) -> F:
    """Add ``--device``, ``--precision``, ``--threads`` and ``--seed``; make them a Runtime with ``make_runtime``."""
    decorators: list[Callable[[F], F]] = [
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            default="auto",
            show_default=True,
            help="Arithmetic of the model.",
        ),
        click.option("--threads", type=click.IntRange(min=1), default=None, help="CPU threads for the model."),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            default=0,
            show_default=True,
            help="Seed of everything random.",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def make_runtime(device: str, precision: Any, threads: int | None, seed: int) -> Runtime:
    """Make a Runtime of the options that ``runtime_options`` added."""
    return Runtime(device=device, precision=precision, threads=threads, seed=seed)
