"""Messages that libjpeg, libpng and libtiff write to standard error: captured, and kept off the terminal.

The libraries report damage inside an image by these messages alone: they decode the damaged part as grey.
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
    rb"|^_?[A-Z][a-z]+[A-Z]\w*(?<!Error)(?<!Exception)(?<!Warning): "
)
"""Lines of these libraries; libtiff begins its lines with the name of a function, as ``EstimateStripByteCounts``.

Other lines written meanwhile, such as a progress bar's, still go to the terminal.
"""


class _StderrCapture:
    """Redirects standard error while images are decoded, in any number of threads."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._users = 0
        self._alone = False
        self._waiting = 0
        self._kept: int | None = None
        self._file: IO[bytes] | None = None

    def enter(self, *, alone: bool) -> int:
        """Start to capture, after any caller that captures alone. Returns the number of bytes captured before."""
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
        """Stop to capture. The last of several overlapping callers gets the libraries' lines; the others get none."""
        with self._free:
            self._users -= 1
            self._alone = False
            captured = self._restore() if self._users == 0 else b""
            self._free.notify_all()
            return captured

    def grew(self, before: int) -> bool:
        """Test whether more than ``before`` bytes are captured."""
        with self._free:
            return self._size() > before

    def _size(self) -> int:
        return 0 if self._file is None or self._kept is None else os.fstat(self._file.fileno()).st_size

    def _redirect(self) -> None:
        with suppress(OSError, ValueError, AttributeError):  # a process may have no standard error
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


_capture = _StderrCapture()
if hasattr(os, "register_at_fork"):  # another thread may hold the lock when a process forks
    os.register_at_fork(after_in_child=lambda: globals().__setitem__("_capture", _StderrCapture()))


def quietly(decode: Callable[[], T], *, alone: bool = False) -> tuple[T, list[str]]:
    """Call a function that decodes an image, and capture the libraries' messages.

    Several threads may decode at once. After a message the image is decoded again while no other thread decodes, so
    that the messages belong to this image.

    Args:
        decode: decodes an image; called twice if there is a message.
        alone: call ``decode`` once, while no other thread decodes: for decoders that keep a state.
    Returns:
        The result of ``decode``, and the libraries' messages without repetitions.
    Raises:
        BaseException: any error of ``decode``.
    """
    if not alone:
        before = _capture.enter(alone=False)
        try:
            result = decode()
            printed = _capture.grew(before)
        finally:
            _capture.leave()
        if not printed:
            return result, []
    captured = b""
    _capture.enter(alone=True)
    try:
        result = decode()
    finally:
        captured = _capture.leave()
    lines = captured.decode(errors="replace").splitlines()
    return result, list(dict.fromkeys(line.strip() for line in lines if line.strip()))
