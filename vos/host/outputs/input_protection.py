"""Refuse outputs that would replace an input; list the files that a command reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vos.errors import InputError
from vos.host.annotations.annotation_loading import GivenAnnotations
from vos.io.masks.mask_decoding import MASK_SUFFIXES
from vos.types.source_info import SourceInfo

_Identity: TypeAlias = tuple[int, int]

_TREE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".txt"})


def refuse_replacing(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse outputs that are inputs; a command calls this before it begins to work.

    Files and folders are compared by device and inode: links, other spellings of a path, and upper and lower case on a
    disk that ignores case, make no difference.

    Args:
        outputs: files to be written, and folders to be written into.
        inputs: files and folders that are read; iterated only if an output exists already.
    Raises:
        InputError: an output is an input, or two outputs are one.
    """
    existing: dict[_Identity, Path] = {}
    targets: set[str] = set()
    for output in outputs:
        target = os.path.normcase(os.path.realpath(output))
        if target in targets:
            raise InputError(f"{output}: two outputs would go there. Give each of them a name of its own.")
        targets.add(target)
        if (identity := _identity(output)) is not None:
            existing.setdefault(identity, output)
    if not existing:
        return
    for path in inputs:
        identity = _identity(path)
        if identity is not None and identity in existing:
            output = existing[identity]
            other = "" if output == path else f" ({path})"
            raise InputError(f"{output}: is an input{other}, and no input is replaced. Choose another output.")


def files_of_run(info: SourceInfo, annotations: GivenAnnotations = None) -> Iterator[Path]:
    """List the files and folders that a run reads: its frames and its annotations.

    Args:
        info: the source; for a folder of images, the folder and each of its files are listed.
        annotations: the run's annotations; None for those that the layout puts beside the frames, ``{}`` for none.
    Yields:
        Paths; some of them may not exist.
    """
    names = frozenset(info.frame_names or ())
    # The name of a source without files may by chance be that of a folder.
    if names or _is_file(info.location):
        yield Path(info.location)
        yield from (path for path in _files_in(info.location) if path.stem in names)
    given = info.annotation_folder if annotations is None else annotations
    yield from _mask_paths(given)


def _mask_paths(given: object) -> Iterator[Path]:
    """List the files and folders of annotations, and the masks in these folders and in their subfolders."""
    if isinstance(given, Mapping):
        for one in given.values():
            yield from _mask_paths(one)
    elif isinstance(given, (str, Path)):
        yield Path(given)
        for path in _files_in(given):
            if path.suffix.lower() in MASK_SUFFIXES:
                yield path
            elif path.is_dir():
                yield from (mask for mask in _files_in(path) if mask.suffix.lower() in MASK_SUFFIXES)


def files_in_options(*given: Any) -> Iterator[Path]:
    """List the files that options name: a checkpoint, a mask, ``ARCHITECTURE:FILE``, a program and its script.

    Args:
        given: texts, paths, and mappings or dataclasses of them; other values are ignored.
    Yields:
        All paths, and each text or word of a text that is the name of a file.
    """
    for one in given:
        if isinstance(one, Path):
            yield one
        elif isinstance(one, str):
            yield from (Path(word) for word in {one, *re.split(r"[:\s]+", one)} if _is_file(word))
        elif isinstance(one, Mapping):
            yield from files_in_options(*one.values())
        elif hasattr(one, "__dataclass_fields__"):
            yield from files_in_options(vars(one))


def files_of_tree(roots: Iterable[Path], outputs: Iterable[Path]) -> Iterator[Path]:
    """List the outputs that would replace a file of a data set or of a folder of masks.

    Args:
        roots: folders of images, label maps and lists of names, at any depth.
        outputs: files to be written.
    Yields:
        Outputs inside the roots that are images, label maps or lists of names; not tables and reports.
    """
    folders = [os.path.realpath(root) for root in roots]
    for output in outputs:
        real = Path(os.path.realpath(output))
        read = real.suffix.lower() in _TREE_SUFFIXES or real.name == "meta.json"
        if read and any(real.is_relative_to(folder) for folder in folders):
            yield output


def _files_in(folder: Path | str) -> list[Path]:
    try:
        return list(Path(folder).iterdir())
    except OSError:
        return []


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # the text is too long for a file name
        return False


def _identity(path: Path) -> _Identity | None:
    """Return the device and inode of a path, or None if nothing exists there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
