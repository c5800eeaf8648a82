"""The errors that the toolkit raises on purpose, each with its exit code.

A message is one or two lines: what was found, where, what was expected, what to do next. Only
``vos.cli`` prints it and exits; library code raises.
"""

from __future__ import annotations

from functools import partial
from typing import Any


class VosError(Exception):
    """Base of all errors that are meant for the user; its text is the whole message."""

    exit_code = 1


class InputError(VosError):
    """Wrong usage or bad input: the command ends with exit code 2."""

    exit_code = 2


class OptionError(InputError):
    """An option is unknown, or its value does not fit its type or choices."""


class SourceError(InputError):
    """A source of frames cannot be opened or read."""


class TruncatedSourceError(SourceError):
    """A source ended before the length that it declares.

    Attributes:
        frames_read: how many frames were good, counted from the start of the source.
        frames_declared: how many the source says it has.
    """

    def __init__(self, message: str, *, frames_read: int, frames_declared: int) -> None:
        super().__init__(message)
        self.frames_read = frames_read
        self.frames_declared = frames_declared

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the keywords that the class needs: a pool of processes waits for ever for what it cannot read."""
        return partial(type(self), frames_read=self.frames_read, frames_declared=self.frames_declared), self.args


class AnnotationError(InputError):
    """A label map cannot be used as an annotation (format, size, ids, or nothing in it)."""


class NoAnnotationError(AnnotationError):
    """No label map was given, and none lies beside the frames."""


class EmptyMaskError(AnnotationError):
    """A mask or label map has no object pixel where at least one is needed."""


class OutputError(VosError):
    """An output cannot be written, or would replace what an earlier run wrote."""


class OutputExistsError(InputError):
    """An output is there already, or an earlier run's masks, and nothing allows replacing them."""


class PluginError(InputError):
    """A plugin is missing, clashes with another, or cannot be used as requested."""


class PluginFailedError(VosError):
    """A plugin's hook, factory, source or command failed; the message names it."""


class TrackerError(VosError):
    """A tracker failed or broke its contract on a frame that the message names."""


class WriterError(VosError):
    """A writer failed on a frame that the message names."""


class WeightsError(InputError):
    """A checkpoint is missing, damaged, or belongs to another model."""


class ExtraMissingError(InputError):
    """An optional dependency is not installed; the message gives the command that installs it."""
