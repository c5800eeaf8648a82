"""Specs: what plugins register - named trackers, initializers, writers, formats, commands and executors.

A spec is cheap to make: name, summary and options are plain data, and the factory imports what is
heavy when it is called. So listing plugins imports no model.
"""

from __future__ import annotations

import re
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
class Shorthand:
    """A flag of the command line that stands for an option of one of a plugin's offers.

    An initializer's flag also chooses the initializer, as ``--with NAME`` does; a writer's flag also adds the writer;
    a tracker's flag sets the option of the tracker that ``--tracker`` names.

    Attributes:
        flag: two hyphens and a name: ``"--points"``.
        help: one sentence for ``--help``.
        option: the option that it sets; None for a flag that only chooses the initializer or adds the writer.
        metavar: stands for the value in ``--help`` (``"FILE"``); one that ends with ``;...`` is a list, which may be
            given in parts; None for a flag without a value, which sets its option to true.
        verbs: the verbs that take it: ``"init"``, ``"track"``, ``"davis"``.
        preferred: this offer is meant where several initializers offer the flag and nothing else decides.
    Raises:
        ValueError: a flag that cannot be typed, or no verb.
    """

    flag: str
    help: str
    option: str | None = None
    metavar: str | None = None
    verbs: tuple[str, ...] = ("track",)
    preferred: bool = False

    def __post_init__(self) -> None:
        """Check the flag and the verbs."""
        if not re.fullmatch(r"--[a-z][a-z0-9]*(-[a-z0-9]+)*", self.flag):
            raise ValueError(f'shorthand "{self.flag}": expected two hyphens and a name, such as "--points".')
        if not isinstance(self.verbs, tuple) or not self.verbs:
            raise ValueError(f'shorthand "{self.flag}": verbs is {self.verbs!r}, expected a tuple such as ("track",).')
        if self.metavar is not None and self.option is None:
            raise ValueError(f'shorthand "{self.flag}": it takes a value ({self.metavar}) but names no option.')


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker that a plugin offers.

    Attributes:
        name: what the user types: lower case, digits and hyphens (``"persam-f"``).
        summary: one line for ``vos plugins``.
        factory: makes a tracker from an ``options`` object and a ``Runtime``.
        options: a dataclass whose fields are declared with ``vos.plugin.option``.
        shorthands: flags of the command line that set one of the options.
        own_size: why ``--max-side`` makes it no faster, for a tracker that resizes frames itself, and what does; ends
            the line that a run with ``--max-side`` then says: "--max-side 640 makes NAME no faster: OWN_SIZE."
        check: raises what the factory would raise where a program, package or file is missing, without loading a model
            and without the network; None if the tracker needs none. `vos web` lists the tracker as one that cannot
            start, with the message.
    """

    name: str
    summary: str
    factory: Callable[[Any, Runtime], Tracker | EncodingTracker]
    options: type = NoOptions
    shorthands: tuple[Shorthand, ...] = ()
    own_size: str = ""
    check: Callable[[Any, Runtime], None] | None = None


@dataclass(frozen=True)
class InitializerSpec:
    """An initializer that a plugin offers; the first four attributes as in ``TrackerSpec``.

    Attributes:
        segments: True if it divides the whole frame, background included, so that objects are still
            to be chosen (``vos.ObjectSelection``, done by default); False if its ids are objects.
        shorthands: flags of the command line that choose this initializer.
        needs_weights: False if it works without a download; its flags are then named where another
            initializer's weights are missing.
        model_types: what ``config.json`` of the folder that its option ``model`` names may say as ``model_type``; it
            decides which initializer a flag means that several offer.
    """

    name: str
    summary: str
    factory: Callable[[Any, Runtime], Initializer]
    options: type = NoOptions
    segments: bool = False
    shorthands: tuple[Shorthand, ...] = ()
    needs_weights: bool = True
    model_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriterSpec:
    """A writer that a plugin offers.

    Attributes:
        name: what the user types.
        summary: one line for ``vos plugins``.
        factory: makes a writer from an ``options`` object.
        options: a dataclass whose fields are declared with ``vos.plugin.option``. The option ``path``, if there is
            one, is where it writes.
        shorthands: flags of the command line that add this writer.
    """

    name: str
    summary: str
    factory: Callable[[Any], Writer]
    options: type = NoOptions
    shorthands: tuple[Shorthand, ...] = ()


@dataclass(frozen=True)
class FormatSpec:
    """A file format of another tool that a plugin offers: results are exported to it and masks imported from it.

    Attributes:
        name: what the user types (``vos export RESULT --to NAME``); also the name of a writer of ``vos track``.
        summary: one line for ``vos plugins``.
        exporter: makes a writer from an ``options`` object; None for a format that is only read. A writer whose
            attribute ``needs_images`` is False is given black frames without times where results are exported, so
            that the video need not be read.
        importer: reads a file or folder of this format, or returns None where it is of another one; None for a
            format that is only written. It looks at as little as it can: every format is asked in turn.
        options: a dataclass whose fields are declared with ``vos.plugin.option``; those of the exporter.
        shorthands: flags of the command line that add this format's writer.
    """

    name: str
    summary: str
    exporter: Callable[[Any], Writer] | None
    importer: Callable[[Path], Sequence[ImportedMasks] | None] | None = None
    options: type = NoOptions
    shorthands: tuple[Shorthand, ...] = ()


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
