"""The rule for every output: nothing that is there is replaced unasked.

``--overwrite`` (``overwrite=True``) replaces the files that are written, and no other file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from vos.errors import InputError, OutputExistsError
from vos.io.atomic_files import PARTIAL_PREFIX


def refuse_existing(outputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse to replace existing files; a command calls this before it begins to work.

    Args:
        outputs: files to be written, and folders to be written into. A folder without files, and a device or pipe such
            as ``/dev/stdout``, hold nothing that could be lost.
        overwrite: True lets them be replaced.
    Raises:
        InputError: an output is an address, or would lie in a folder that is a file, or that cannot be written to.
        OutputExistsError: a file is there, or a folder with files; the message names it.
    """
    outputs = list(outputs)
    for path in outputs:
        _refuse_address(path)
        _refuse_file_as_folder(path)
        _refuse_read_only_folder(path)
    if overwrite:
        return
    for path in outputs:
        try:
            folder, file = path.is_dir(), path.is_file() or path.is_symlink()
        except (OSError, ValueError):  # a name that is too long, say: nothing is there, and writing will say so
            continue
        if folder and _holds_files(path):
            raise OutputExistsError(f"{path}: holds files already. Choose another folder, or --overwrite.")
        if file and not folder:
            raise OutputExistsError(f"{path}: is there already. Choose another name, or --overwrite.")


def refuse_existing_files(outputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse as ``refuse_existing``, and refuse folders too: each output is the name of one file.

    Args:
        outputs: files to be written.
        overwrite: True lets files be replaced.
    Raises:
        InputError: an output is a folder, or would lie in a folder that is a file or that cannot be written to.
        OutputExistsError: a file is there.
    """
    outputs = list(outputs)
    for path in outputs:
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            raise InputError(f"{path}: is a folder, expected the name of a file.")
    refuse_existing(outputs, overwrite=overwrite)


def _refuse_address(path: Path) -> None:
    """Refuse an address, of which ``Path`` makes a folder named ``s3:``."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:$", path.parts[0] if path.parts else ""):
        address = str(path).replace(":/", "://", 1)
        raise InputError(f"{address}: is an address, expected a path on the disk.")


def _refuse_file_as_folder(path: Path) -> None:
    """Refuse an output below a file; folders that do not exist are made when the output is written."""
    for folder in path.parents:
        if os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            return
        if os.path.lexists(folder):
            kind = "a file" if os.path.exists(folder) else "a broken link"  # noqa: PTH110 - as above
            raise InputError(f"{folder}: is {kind}, expected a folder.")


def _refuse_read_only_folder(path: Path) -> None:
    """Refuse an output whose folder, or the one in which its folder would be made, cannot be written to."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112, PTH113
        return  # a device or a pipe
    folder = next((folder for folder in (path, *path.parents) if os.path.isdir(folder)), None)  # noqa: PTH112
    if folder is not None and not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written to. Choose another folder.")


def _holds_files(folder: Path) -> bool:
    """True if a folder holds a file at any depth, apart from the unfinished files of a killed run."""
    return any(not name.startswith(PARTIAL_PREFIX) for _, _, names in os.walk(folder) for name in names)
