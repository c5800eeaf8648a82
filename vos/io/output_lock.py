"""One run at a time in an output folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vos.errors import InputError

logger = logging.getLogger(__name__)


@contextmanager
def output_lock(folder: Path) -> Iterator[None]:
    """Lock an output folder for this process, and refuse one that another run has locked.

    The lock is an advisory lock (``flock``) on the folder itself. No file is made, and the lock ends with the process,
    also after ``kill -9``. Where the platform or the file system has no such locks, the block runs without one. A
    forked child process shares the lock until it ends.

    Args:
        folder: the folder; it exists.
    Raises:
        InputError: another process, or another run in this process, holds the folder.
    """
    descriptor = _locked(folder)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """Lock the folder and return the descriptor that holds the lock, or None where there are no locks."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError) as error:
        logger.debug("%s: not locked (%s).", folder, error)
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(
            f"{folder}: another run is writing to this folder. Wait until it ends, or choose another folder with -o."
        ) from None
    except OSError as error:
        os.close(descriptor)
        logger.debug("%s: not locked (%s).", folder, error)
        return None
    return descriptor
