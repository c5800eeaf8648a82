"""Identity of a tracked source: its absolute path, and a cheap sign of its content."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any

END_BYTES = 1 << 16
"""Bytes at the start and at the end of a video that are hashed: its headers and indices lie there."""


def absolute_path(location: str) -> str | None:
    """Return the absolute path of a location; None if no file or folder is there, as for a camera or an address."""
    try:
        return os.path.abspath(location) if os.path.exists(location) else None  # noqa: PTH100, PTH110 - never raises
    except ValueError:  # a null byte
        return None


def content_of(location: str) -> dict[str, Any] | None:
    """Describe a file's content without reading all of it.

    Args:
        location: a path, or anything else.
    Returns:
        ``bytes``, the file's size, and ``sha256_of_ends``, of its first and last ``END_BYTES``; None if it is no
        regular file, or cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(location).st_mode):  # noqa: PTH116 - opening a pipe would wait
            return None
        with open(location, "rb") as file:  # noqa: PTH123
            digest = hashlib.sha256(file.read(END_BYTES))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(END_BYTES, size - END_BYTES))
            digest.update(file.read(END_BYTES))
    except (OSError, ValueError):
        return None
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}
