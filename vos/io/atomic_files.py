"""Files that are whole or absent, and names that stay inside their folder.

A file is written under a random temporary name in the folder of its final name and then renamed. The temporary file
is created exclusively: a symbolic link that lies under its name is never followed, and two runs that write one file do
not mix their bytes.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vos.errors import OutputError, SourceError
from vos.io.regular_files import kind_of_special_file

PARTIAL_PREFIX = ".partial-"
"""Names with this prefix are unfinished files; a crash can leave one, and the next run removes it."""

_TOKEN_BYTES = 6
_MAX_NAME_BYTES = 255
_EXCLUSIVE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def create_partial(path: Path) -> Path:
    """Create the temporary file of an output that is written over some time, such as a video.

    Temporary files that earlier, killed runs left for the same ``path`` are removed.

    Args:
        path: the final file; its folder exists.
    Returns:
        An empty file in the same folder, with a random name and the same suffix.
    Raises:
        OutputError: the folder cannot be written to, or ``path`` is a folder, a device, a fifo or a socket.
    """
    special = _special_kind(path)
    if special is not None:
        raise OutputError(f"{path}: cannot be written (it is {special}). Give the name of a file.")
    with output_errors(path):
        descriptor, partial = _create_exclusively(path)
        _found_at_first[partial] = _identity(path)
        _hold(partial, descriptor)
        _remove_abandoned(path, partial)
    return partial


def finish_partial(partial: Path, path: Path) -> None:
    """Rename a temporary file of ``create_partial`` to its final name.

    Args:
        partial: the temporary file, complete and closed.
        path: the final file.
    Raises:
        OutputError: it cannot be renamed, or another program has written ``path`` since ``create_partial``; the
            temporary file is removed.
    """
    try:
        now = _identity(path)
        if now is not None and now != _found_at_first.get(partial, now):
            raise OutputError(
                f"{path}: another program wrote this file during the run. It is left as it is: run again."
            )
        with output_errors(path):
            partial.replace(path)
    except OutputError:
        discard_partial(partial)
        raise
    finally:
        _release(partial)


def discard_partial(partial: Path) -> None:
    """Remove a temporary file of ``create_partial``; nothing happens if it is gone.

    Args:
        partial: the temporary file.
    """
    with suppress(OSError):  # the error that stopped the writing says why
        partial.unlink(missing_ok=True)
    _release(partial)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name and rename it, so that ``path`` is whole or absent.

    A terminal, a pipe and another character device (``/dev/stdout``) are written to directly.

    Args:
        path: the file; its folder exists.
        content: bytes, or text (written as UTF-8; names of files that are no UTF-8, byte for byte).
    Raises:
        OutputError: the folder is missing, not writable, or full; no temporary file stays.
    """
    data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    special = _special_kind(path)
    if special in ("a device", "a fifo"):
        _write_directly(path, data)
        return
    if special is not None:
        raise OutputError(f"{path}: cannot be written (it is {special}). Give the name of a file.")
    with output_errors(path):
        descriptor, partial = _create_exclusively(path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Provide a temporary file and rename it to ``path`` if the block ends without an error.

    Args:
        path: the final file; its folder exists.
    Yields:
        An empty file in the same folder with the same suffix, for libraries that write files by name.
    Raises:
        OutputError: the file cannot be written; the temporary file is removed.
    """
    partial = create_partial(path)
    try:
        with output_errors(path):
            yield partial
        finish_partial(partial, path)
    except BaseException:
        discard_partial(partial)
        raise


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Raise the operating system's errors in the block as an ``OutputError`` that names the final file.

    Args:
        path: the final file.
    Raises:
        OutputError: the block raised an ``OSError``: a full disk, a folder that is gone, missing rights.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}). Free space or choose another folder.") from error


def missing_folders(folder: Path) -> list[Path]:
    """List the folders that must be made for a folder to be there: itself first, then those above it."""
    return [place for place in (folder, *folder.parents) if not os.path.lexists(place)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders in this order, the innermost first, up to the first one that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def safe_name(name: str) -> str:
    """Make one path component out of a sequence's name, so that it never leads out of a folder.

    Args:
        name: any text; ``".."``, separators, control characters and drive letters may be in it.
    Returns:
        A non-empty name without them, not beginning with a dot.
    """
    cleaned = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", name).strip(" .")
    return cleaned or "sequence"


def refuse_equal_names(names: Iterable[str], where: str) -> None:
    """Refuse frames whose masks would have one file name and overwrite each other.

    Args:
        names: the frames' names.
        where: the source, for the message.
    Raises:
        SourceError: two names are the same once they are safe.
    """
    seen: dict[str, str] = {}
    for name in names:
        safe = safe_name(name)
        if safe in seen:
            raise SourceError(
                f'{where}: frames "{seen[safe]}" and "{name}" would both be written as "{safe}". Rename one of them.'
            )
        seen[safe] = name


def _special_kind(path: Path) -> str | None:
    """Name what ``path`` leads to if something other than a regular file is there."""
    try:
        return kind_of_special_file(path.stat().st_mode)
    except (OSError, ValueError):  # nothing is there, or writing will say what is wrong
        return None


def _create_exclusively(path: Path) -> tuple[int, Path]:
    """Create an empty file beside ``path`` under a random name; the kernel refuses a name that exists, links too."""
    while True:
        token = secrets.token_hex(_TOKEN_BYTES)
        # A name of the longest length that the file system takes loses its beginning, never its suffix.
        room = _MAX_NAME_BYTES - len(f"{PARTIAL_PREFIX}{token}-")
        tail = os.fsdecode(os.fsencode(path.name)[-room:])
        partial = path.with_name(f"{PARTIAL_PREFIX}{token}-{tail}")
        try:
            return os.open(partial, _EXCLUSIVE, 0o666), partial
        except FileExistsError:
            continue


def _write_directly(path: Path, data: bytes) -> None:
    if stat.S_ISBLK(path.stat().st_mode):
        raise OutputError(f"{path}: cannot be written (it is a disk). Give the name of a file.")
    with output_errors(path):
        # A fifo that nobody reads is an error at once (ENXIO) and not a wait without end.
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


# Descriptors of temporary files in use, by path. Each holds a lock that ends with the process, also after a kill.
_held: dict[Path, int] = {}
# What lay at the final path when the temporary file was created.
_found_at_first: dict[Path, tuple[int, int] | None] = {}


def _identity(path: Path) -> tuple[int, int] | None:
    """Inode and modification time of a file, which change if it is replaced; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _hold(partial: Path, descriptor: int) -> None:
    """Lock a temporary file for as long as it is written, where the platform has such locks."""
    try:
        import fcntl
    except ImportError:  # Windows, which renames no open file: nothing is removed as abandoned
        os.close(descriptor)
        return
    _held[partial] = descriptor
    with suppress(OSError):  # no locks on this file system: nothing is removed as abandoned
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release(partial: Path) -> None:
    _found_at_first.pop(partial, None)
    descriptor = _held.pop(partial, None)
    if descriptor is not None:
        os.close(descriptor)


def _remove_abandoned(path: Path, own: Path) -> None:
    """Remove the temporary files of ``path`` that no living process holds."""
    try:
        import fcntl
    except ImportError:
        return
    pattern = re.compile(re.escape(PARTIAL_PREFIX) + f"[0-9a-f]{{{2 * _TOKEN_BYTES}}}-" + re.escape(path.name))
    for found in path.parent.iterdir():
        if pattern.fullmatch(found.name) is None or found.name == own.name:
            continue
        with suppress(OSError):  # a link, another user's file, or one that is in use
            descriptor = os.open(found, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.unlink()
            finally:
                os.close(descriptor)
