"""Naming the plugin in what goes wrong inside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vos.errors import PluginFailedError, VosError

logger = logging.getLogger(__name__)


@contextmanager
def blaming(what: str, *, leaving: bool = False) -> Iterator[None]:
    """Turn an error of the block that is not meant for the user into one that is.

    ``SystemExit``, ``GeneratorExit`` and the like are such errors too: a plugin that exits would end the run without a
    word. A ``PermissionError``
    that names a file is none: it is about the user's file.

    Args:
        what: who failed at what, as the message begins (``'tracker "persam" cannot be made'``).
        leaving: the block yields, so that ``GeneratorExit`` can come from those who drop its generator, and passes.
    Raises:
        PluginFailedError: the block failed with anything but a ``VosError`` or such a ``PermissionError``, which
            pass as they are.
    """
    try:
        yield
    except VosError:
        raise
    except BaseException as error:
        if is_stop(error) or (leaving and isinstance(error, GeneratorExit)):
            raise
        if isinstance(error, PermissionError) and error.filename is not None:
            raise
        raise PluginFailedError(f"{what}: {in_words(error)}") from error


def is_stop(error: BaseException) -> bool:
    """True if an error is the user's Ctrl-C, which Python raises in the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def in_words(error: BaseException) -> str:
    """An error's type and text, or its text alone if that is meant for the user."""
    return str(error) if isinstance(error, VosError) else f"{type(error).__name__}: {error}".rstrip(": ")


def close_or_warn(what: str, close: Callable[[], object]) -> None:
    """Close something; a failure is a warning, since the results, or the error that counts, are there already.

    Args:
        what: its name for the message.
        close: closes it.
    """
    try:
        close()
    except BaseException as error:
        if is_stop(error):
            raise
        logger.warning("%s could not be closed: %s", what, in_words(error))
