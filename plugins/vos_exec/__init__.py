"""A tracker in another process: ``--tracker exec:"python my_tracker.py"``."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import vos
from vos.plugin import OptionError, Tracker, TrackerSpec, hookimpl, option


@dataclass(frozen=True)
class ExecOptions:
    """Options of the tracker ``exec``."""

    command: str = option("", "The program and its arguments, as in a shell; nothing is expanded.")
    timeout: float = option(60.0, "Seconds that the program has for one answer, loading its model included.")


def make_exec_tracker(options: ExecOptions, runtime: vos.Runtime) -> Tracker:
    """Start the program; see ``vos_exec.tracker``."""
    _refuse_other_systems()
    from vos_exec.tracker import ExecTracker

    return ExecTracker(options.command, options.timeout, runtime)


def check_exec_tracker(options: ExecOptions, runtime: vos.Runtime) -> None:
    """Check the command, and that the program is there."""
    _refuse_other_systems()
    from vos_exec.process import split_command

    program = split_command(options.command)[0]
    if shutil.which(program) is None:
        raise OptionError(f'exec: "{program}" cannot be started (no such program).')


def _refuse_other_systems() -> None:
    if os.name != "posix":
        raise OptionError("exec: trackers in another process need Linux or macOS.")


@hookimpl
def vos_trackers() -> list[TrackerSpec]:
    """Offer ``exec``."""
    return [
        TrackerSpec(
            "exec",
            'A program of your own in another process: exec:"python my_tracker.py".',
            make_exec_tracker,
            ExecOptions,
            check=check_exec_tracker,
        )
    ]
