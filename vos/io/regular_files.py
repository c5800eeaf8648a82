"""Read files that are files: a fifo, a device or a folder under a file's name is refused, never waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_FILE_BYTES = 1 << 30
"""Largest single image or mask file that is read: 1 GiB."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a fifo"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def read_regular_file(path: Path | str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Read a whole file, if it is a regular one.

    Args:
        path: the file; a symbolic link to a regular file is followed.
        max_bytes: refuse a larger file before it is read.
    Returns:
        Its bytes.
    Raises:
        FileNotFoundError: nothing is there.
        OSError: a fifo, a device, a socket, a folder, a file larger than ``max_bytes``, or not readable;
            ``strerror`` is a reason that a message can quote.
    """
    _refuse_other_kinds(os.stat(path), path)  # noqa: PTH116  # half the time of Path.stat, for thousands of files
    # Between the two checks the name may become a fifo; O_NONBLOCK keeps opening it from waiting for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        _refuse_other_kinds(found, path)
        if found.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"{found.st_size:,} bytes, more than the {max_bytes:,} that are read", str(path))
        return file.read()


def kind_of_special_file(mode: int) -> str | None:
    """Name what a path leads to if it is no regular file.

    Args:
        mode: ``st_mode`` of the file.
    Returns:
        Words such as "a fifo", or None for a regular file.
    """
    return None if stat.S_ISREG(mode) else next((words for test, words in _KINDS if test(mode)), "no regular file")


def _refuse_other_kinds(found: os.stat_result, path: Path | str) -> None:
    kind = kind_of_special_file(found.st_mode)
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind}, expected a file", str(path))
