"""Messages that libjpeg, libpng and libtiff write to standard error: captured, and kept off the terminal.

They have no other way to say that an image is damaged in its middle, where they fill in grey.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TypeVar

T = TypeVar("T")

_STDERR = 2
_FOREIGN = re.compile(
    rb"JPEG|libpng|TIFF|samples per pixel|\.tif|^[A-Za-z0-9]+(Decode|Encode|Setup\w*): |^Fax|\[ *(WARN|ERROR):"
)
"""Lines of these libraries; others in the same moment, such as a progress bar's, are printed after all."""


class _Catcher:
    """Redirects standard error while images are decoded, in any number of threads."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._users = 0
        self._alone = False
        self._waiting = 0
        self._kept: int | None = None
        self._file: IO[bytes] | None = None

    def enter(self, *, alone: bool) -> int:
        """Begin to catch; waits for a caller that is alone. Returns how much was caught before."""
        with self._free:
            self._waiting += alone
            self._free.wait_for(lambda: not self._alone and not (self._users if alone else self._waiting))
            self._waiting -= alone
            if self._users == 0:
                self._redirect()
            self._users += 1
            self._alone = alone
            return self._size()

    def leave(self) -> bytes:
        """End; returns what was caught since the first of those who overlap, once the last one leaves."""
        with self._free:
            self._users -= 1
            self._alone = False
            said = self._restore() if self._users == 0 else b""
            self._free.notify_all()
            return said

    def grew(self, before: int) -> bool:
        """Whether more was caught than ``before``."""
        with self._free:
            return self._size() > before

    def _size(self) -> int:
        return 0 if self._file is None or self._kept is None else os.fstat(self._file.fileno()).st_size

    def _redirect(self) -> None:
        with suppress(OSError, ValueError, AttributeError):  # no standard error at all: nothing is printed
            if sys.stderr is not None:
                sys.stderr.flush()
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  kept open for the next image
            self._kept = os.dup(_STDERR)
            os.dup2(self._file.fileno(), _STDERR, inheritable=True)

    def _restore(self) -> bytes:
        if self._kept is None or self._file is None:
            return b""
        with suppress(OSError, ValueError, AttributeError):
            if sys.stderr is not None:
                sys.stderr.flush()
        os.dup2(self._kept, _STDERR, inheritable=True)
        os.close(self._kept)
        self._kept = None
        if not os.fstat(self._file.fileno()).st_size:
            return b""
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        self._file.seek(0)
        self._file.truncate()
        own = b"".join(line for line in lines if not _FOREIGN.search(line))
        if own:
            with suppress(OSError):
                os.write(_STDERR, own)
        return b"".join(line for line in lines if _FOREIGN.search(line))


_catcher = _Catcher()
if hasattr(os, "register_at_fork"):  # a child has the one thread that forked it, and a lock may be held by another
    os.register_at_fork(after_in_child=lambda: globals().__setitem__("_catcher", _Catcher()))


def quietly(decode: Callable[[], T], *, alone: bool = False) -> tuple[T, list[str]]:
    """Call a function that decodes an image, and catch what libraries print meanwhile.

    Several threads may decode at once. Where anything was printed, the image is decoded again alone, so that the lines
    are known to be of it.

    Args:
        decode: decodes; called twice where anything was printed.
        alone: let no other thread decode meanwhile, and call it once: for what keeps a state.
    Returns:
        Its result, and the lines that libraries printed, without repetitions.
    Raises:
        BaseException: what ``decode`` raises.
    """
    if not alone:
        before = _catcher.enter(alone=False)
        try:
            result = decode()
            printed = _catcher.grew(before)
        finally:
            _catcher.leave()
        if not printed:
            return result, []
    said = b""
    _catcher.enter(alone=True)
    try:
        result = decode()
    finally:
        said = _catcher.leave()
    lines = said.decode(errors="replace").splitlines()
    return result, list(dict.fromkeys(line.strip() for line in lines if line.strip()))
