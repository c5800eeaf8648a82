"""What a plugin offers: named trackers, initializers, writers, formats and commands.

A spec is cheap to make: name, summary and options are plain data, and the factory imports what is
heavy when it is called. So listing plugins imports no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vos.protocols.executor import Executor
from vos.protocols.initializer import Initializer
from vos.protocols.tracker import EncodingTracker, Tracker
from vos.protocols.writer import Writer
from vos.registry.options import NoOptions
from vos.types.imported_masks import ImportedMasks
from vos.types.runtime import Runtime

if TYPE_CHECKING:
    import click


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker that a plugin offers.

    Attributes:
        name: what the user types: lower case, digits and hyphens (``"persam-f"``).
        summary: one line for ``vos plugins``.
        factory: makes a tracker from an ``options`` object and a ``Runtime``.
        options: a dataclass whose fields are declared with ``vos.plugin.option``.
    """

    name: str
    summary: str
    factory: Callable[[Any, Runtime], Tracker | EncodingTracker]
    options: type = NoOptions


@dataclass(frozen=True)
class InitializerSpec:
    """An initializer that a plugin offers; the first four attributes as in ``TrackerSpec``.

    Attributes:
        segments: True if it divides the whole frame, background included, so that objects are still
            to be chosen (``vos.ObjectSelection``, done by default); False if its ids are objects.
    """

    name: str
    summary: str
    factory: Callable[[Any, Runtime], Initializer]
    options: type = NoOptions
    segments: bool = False


@dataclass(frozen=True)
class WriterSpec:
    """A writer that a plugin offers.

    Attributes:
        name: what the user types.
        summary: one line for ``vos plugins``.
        factory: makes a writer from an ``options`` object.
        options: a dataclass whose fields are declared with ``vos.plugin.option``.
    """

    name: str
    summary: str
    factory: Callable[[Any], Writer]
    options: type = NoOptions


@dataclass(frozen=True)
class FormatSpec:
    """A file format of another tool that a plugin offers: results are exported to it and masks imported from it.

    Attributes:
        name: what the user types (``vos export RESULT --to NAME``); also the name of a writer of ``vos track``.
        summary: one line for ``vos plugins``.
        exporter: makes a writer from an ``options`` object; None for a format that is only read. A writer whose
            attribute ``needs_images`` is False is given black frames where results are exported, so that the
            video need not be read.
        importer: reads a file or folder of this format, or returns None where it is of another one; None for a
            format that is only written. It looks at as little as it can: every format is asked in turn.
        options: a dataclass whose fields are declared with ``vos.plugin.option``; those of the exporter.
    """

    name: str
    summary: str
    exporter: Callable[[Any], Writer] | None
    importer: Callable[[Path], Sequence[ImportedMasks] | None] | None = None
    options: type = NoOptions


@dataclass(frozen=True)
class CommandSpec:
    """A command-line verb that a plugin offers (``vos NAME ...``).

    Attributes:
        name: the verb.
        summary: one line for ``vos --help``.
        load: imports and returns the click command.
    """

    name: str
    summary: str
    load: Callable[[], click.Command]


@dataclass(frozen=True)
class ExecutorSpec:
    """A way to run many jobs that a plugin offers.

    Attributes:
        name: what the user types (``vos batch --executor NAME``).
        summary: one line for ``vos plugins``.
        factory: makes an executor from an ``options`` object.
        options: a dataclass whose fields are declared with ``vos.plugin.option``.
    """

    name: str
    summary: str
    factory: Callable[[Any], Executor]
    options: type = NoOptions
