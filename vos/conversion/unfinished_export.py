"""An export that was stopped in the middle: the same export goes on in the folder that it has half written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from vos.errors import OutputExistsError
from vos.io.atomic_files import PARTIAL_PREFIX, missing_folders, output_errors, remove_empty
from vos.io.json_file import plain_json
from vos.io.regular_files import read_regular_file

GRACE_NS = 10 * 10**9
"""A file counts as the export's own if it was written until 10 s after the last frame that was counted."""

MAX_NOTE_BYTES = 1 << 20


class UnfinishedExport:
    """A note beside an export's output, from before its first file until after its last.

    It says which export writes there, and its modification time says until when. A note that no living process holds
    is of an export that was killed or that failed. All files of the output that lie between the note's first and last
    moment are that export's: nothing was there when it began.
    """

    def __init__(self, outputs: Sequence[Path], identity: Mapping[str, Any]) -> None:
        """Name the note; nothing is read or written.

        Args:
            outputs: what the export writes; with none, there is no note.
            identity: JSON data that the same export has again: the run, the format and its options.
        """
        self._outputs = outputs
        self._identity = plain_json(identity)
        self._path: Path | None = None
        if outputs and (outputs[0].is_dir() or outputs[0].is_file() or not outputs[0].exists()):
            token = sha256(os.fsencode(outputs[0].name)).hexdigest()[:16]
            self._path = outputs[0].parent / f"{PARTIAL_PREFIX}export-{token}.json"

    def is_left(self) -> bool:
        """True if the same export was stopped here, and nobody writes here now.

        Raises:
            OutputExistsError: it was, and the output holds a file that it did not write.
        """
        if self._path is None:
            return False
        try:
            note = json.loads(read_regular_file(self._path, MAX_NOTE_BYTES))
            began, ended = int(note["began_ns"]), self._path.stat().st_mtime_ns
            same = note["export"] == self._identity
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False
        if not same or not self._is_free():
            return False
        for path in _files_in(self._outputs):
            if not began <= path.lstat().st_mtime_ns <= ended + GRACE_NS:
                raise OutputExistsError(
                    f"{path}: lies in the output of an export that was stopped, and was not written by it. "
                    "Choose another output, or --overwrite."
                )
        return True

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep the note for the block; it stays if the block is stopped and has written a file.

        Raises:
            OutputError: it cannot be written.
        """
        if self._path is None:
            yield
            return
        with output_errors(self._outputs[0]):
            made = missing_folders(self._path.parent)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(self._path, flags, 0o666)
        try:
            if not _lock(descriptor):
                raise OutputExistsError(f"{self._outputs[0]}: another export is writing there. Wait until it ends.")
            with output_errors(self._outputs[0]):
                self._begin(descriptor)
            yield
        except BaseException:
            if not any(True for _ in _files_in(self._outputs)):
                self._remove()
                remove_empty(made)
            raise
        else:
            self._remove()
        finally:
            os.close(descriptor)

    def count_frame(self) -> None:
        """Say that the export writes still."""
        if self._path is not None:
            with suppress(OSError):  # the folder is gone: the writer says so
                os.utime(self._path)

    def forget(self) -> None:
        """Remove the note of an earlier export that is replaced."""
        if self._path is not None and self._is_free():
            self._remove()

    def _begin(self, descriptor: int) -> None:
        """Write the note; or keep that of the export that goes on, and remove the files that it left unfinished."""
        found = os.fstat(descriptor)
        if not found.st_size:
            note = {"began_ns": found.st_mtime_ns, "export": self._identity}
            os.write(descriptor, json.dumps(note).encode())
            return
        for output in self._outputs:
            for folder, _, names in os.walk(output):
                for name in names:
                    if name.startswith(PARTIAL_PREFIX):
                        Path(folder, name).unlink(missing_ok=True)

    def _remove(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _is_free(self) -> bool:
        """True if the note is there and no living process holds it."""
        assert self._path is not None, "asked only with a note"
        try:
            descriptor = os.open(self._path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            return False
        try:
            return _lock(descriptor)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if another process has it, True also where there are no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def _files_in(outputs: Sequence[Path]) -> Iterator[Path]:
    """All files that the outputs are or hold, apart from unfinished ones."""
    for output in dict.fromkeys(outputs):
        if output.is_dir() and not output.is_symlink():
            for folder, _, names in os.walk(output):
                yield from (Path(folder, name) for name in names if not name.startswith(PARTIAL_PREFIX))
        elif os.path.lexists(output):
            yield output
