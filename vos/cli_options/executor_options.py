"""Options of verbs that run many jobs: who runs them, and how many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from vos.errors import OptionError
from vos.host.jobs.executor_making import LOCAL, make_executor
from vos.protocols.executor import Executor
from vos.registry.discovery import Plugins
from vos.registry.options import parse_assignments

F = TypeVar("F", bound=Callable[..., Any])


def executor_options(function: F) -> F:
    """Add ``--executor``, ``-E KEY=VALUE`` and ``-j``; ``chosen_executor`` takes their values.

    Args:
        function: the command's function; it gets ``executor``, ``executor_assignments`` and ``workers`` (None where
            nothing is said).
    Returns:
        The function, for the next decorator.
    """
    for decorate in (
        click.option(
            "-j", "--workers", "workers", type=click.IntRange(min=1), default=None, help="Short for -E workers=N."
        ),
        click.option(
            "-E", "executor_assignments", multiple=True, metavar="KEY=VALUE", help="An option of the executor."
        ),
        click.option("--executor", default=LOCAL, show_default=True, help="Executor of the jobs (`vos plugins`)."),
    ):
        function = decorate(function)
    return function


def chosen_executor(plugins: Plugins, name: str, assignments: Sequence[str], workers: int | None) -> Executor:
    """Make the executor that the command line names.

    Args:
        plugins: where it is looked up.
        name: of ``--executor``.
        assignments: of ``-E``.
        workers: of ``-j``.
    Raises:
        PluginError: no executor of that name.
        OptionError: an option that does not fit.
    """
    options = parse_assignments(assignments, "-E")
    if workers is not None:
        if "workers" in options:
            raise OptionError("-j and -E workers= are both given; one of them says how many.")
        options["workers"] = str(workers)
    return make_executor(plugins, name, options)


@dataclass(frozen=True, kw_only=True)
class ExecutorArgs:
    """The values of ``executor_options``; base of a command's record of its options.

    Attributes:
        executor: of ``--executor``.
        executor_assignments: of ``-E``.
        workers: of ``-j``.
    """

    executor: str
    executor_assignments: tuple[str, ...]
    workers: int | None

    @property
    def names_executor(self) -> bool:
        """True if the options name an executor or set an option of one."""
        return self.executor != LOCAL or bool(self.executor_assignments)

    @property
    def in_this_process(self) -> bool:
        """True if no option asks for worker processes."""
        return not self.names_executor and self.workers in (None, 1)

    def make_executor(self, plugins: Plugins) -> Executor:
        """Make the executor; see ``chosen_executor``."""
        return chosen_executor(plugins, self.executor, self.executor_assignments, self.workers)
