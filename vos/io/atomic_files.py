"""Files that are whole or absent, and names that stay inside their folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vos.errors import OutputError, SourceError

PARTIAL_PREFIX = ".partial-"
"""Names with this prefix are unfinished files; a crash can leave one, and the next run removes it."""


def partial_path(path: Path) -> Path:
    """The temporary name beside ``path`` that an unfinished file has."""
    return path.with_name(PARTIAL_PREFIX + path.name)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name and rename it, so that ``path`` is whole or absent.

    Args:
        path: the file; its folder exists.
        content: bytes, or text (written as UTF-8).
    Raises:
        OutputError: the folder is missing, not writable, or full; nothing is left behind.
    """
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path, and rename it to ``path`` if the block ends well.

    Args:
        path: the final file; its folder exists.
    Yields:
        A path beside it with the same ending, for libraries that write files by name.
    Raises:
        OutputError: the file cannot be written; the temporary file is removed.
    """
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # where it cannot even be looked for, the first error says why
            partial.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}). Free space or choose another folder.") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


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
    """Refuse frames whose masks would have one file name, and overwrite each other.

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
