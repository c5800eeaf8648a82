"""Decorators for options that most verbs take, the toolkit's and plugins' own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import click

from vos.cli_options.log_output import set_up_logging
from vos.cli_options.settings import settings
from vos.types.runtime import Runtime

F = TypeVar("F", bound=Callable[..., Any])


def general_options(function: F) -> F:
    """Accept ``-p``, ``--no-plugin`` and ``--debug`` after the verb too; ``command_plugins`` heeds them.

    Args:
        function: the command's function; it gets no argument of them.
    Returns:
        The function, for the next decorator.
    """

    def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if not value:
            return
        known = settings(ctx)
        if parameter.name == "debug":
            known.debug = True
            set_up_logging(debug=True)
        elif parameter.name == "plugin_modules":
            known.add_plugins(modules=value)
        else:
            known.add_plugins(blocked=value)

    return _with_options(
        function,
        [
            click.option(
                "-p", "plugin_modules", multiple=True, metavar="MODULE|FILE", expose_value=False, callback=keep,
                is_eager=True, help="Load a plugin: a module's name, or a file (my_plugin.py).",
            ),
            click.option(
                "--no-plugin", "blocked", multiple=True, metavar="NAME", expose_value=False, callback=keep,
                is_eager=True, help="Leave a plugin out.",
            ),
            click.option(
                "--debug", is_flag=True, expose_value=False, callback=keep, is_eager=True,
                help="Show tracebacks and log lines.",
            ),
        ],
    )  # fmt: skip


def option_assignments(function: F) -> F:
    """Add ``-O KEY=VALUE``, options of the plugin that the verb names; ``parse_assignments`` splits them.

    Args:
        function: the command's function; it gets ``assignments``, a tuple of texts.
    Returns:
        The function, for the next decorator.
    """
    return _with_options(
        function,
        [
            click.option(
                "-O",
                "assignments",
                multiple=True,
                metavar="KEY=VALUE",
                help="An option of the plugin; `vos plugins` lists them. May be given several times.",
            )
        ],
    )


def runtime_options(function: F) -> F:
    """Add ``--device``, ``--precision``, ``--threads`` and ``--seed``.

    Args:
        function: the command's function; it gets ``runtime``, a ``Runtime``, in place of the four.
    Returns:
        The function, for the next decorator.
    """

    @functools.wraps(function)
    def with_runtime(*args: Any, device: str, precision: Any, threads: int | None, seed: int, **others: Any) -> Any:
        return function(*args, runtime=Runtime(device, precision, threads, seed), **others)

    return _with_options(
        cast("F", with_runtime),
        [
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."),
            click.option(
                "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True,
                help="Arithmetic of the model.",
            ),
            click.option("--threads", type=click.IntRange(min=1), default=None, help="CPU threads for the model."),
            click.option(
                "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
                help="Seed of everything random.",
            ),
        ],
    )  # fmt: skip


def progress_option(function: F) -> F:
    """Add ``--progress``; ``show_progress`` takes its value.

    Args:
        function: the command's function; it gets ``progress``, such as ``"auto"``.
    Returns:
        The function, for the next decorator.
    """
    return _with_options(
        function,
        [
            click.option(
                "--progress", type=click.Choice(["auto", "bar", "lines", "json", "off"]), default="auto",
                show_default=True, help="On stderr: a bar on a terminal, else a line every 30 seconds; or JSON lines.",
            )
        ],
    )  # fmt: skip


def _with_options(function: F, decorators: Sequence[Callable[[F], F]]) -> F:
    for decorate in reversed(decorators):
        function = decorate(function)
    return function
