"""What a command reads, and the refusal to write there: no input is ever replaced."""

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

    Files and folders are compared by what they are on the disk, so that a link, another spelling, or upper and lower
    case where they are the same, make no difference.

    Args:
        outputs: files to be written, and folders to be written into.
        inputs: files and folders that are read; only looked at where an output is there already.
    Raises:
        InputError: an output is an input, or two outputs are one.
    """
    there: dict[_Identity, Path] = {}
    places: set[str] = set()
    for output in outputs:
        place = os.path.normcase(os.path.realpath(output))
        if place in places:
            raise InputError(f"{output}: two outputs would go there. Give each of them a name of its own.")
        places.add(place)
        if (identity := _identity(output)) is not None:
            there.setdefault(identity, output)
    if not there:
        return
    for path in inputs:
        identity = _identity(path)
        if identity is not None and identity in there:
            output = there[identity]
            other = "" if output == path else f" ({path})"
            raise InputError(f"{output}: is an input{other}, and no input is replaced. Choose another output.")


def files_of_run(info: SourceInfo, annotations: GivenAnnotations = None) -> Iterator[Path]:
    """List what a run reads: its frames and its annotations.

    Args:
        info: the source; the files of a folder of images count one by one, and so does the folder.
        annotations: as they were given; None takes those that the layout puts beside the frames, ``{}`` none.
    Yields:
        Paths; not all of them need be there.
    """
    names = frozenset(info.frame_names or ())
    # A source that is no file may be called as a folder that has nothing to do with it.
    if names or _is_file(info.location):
        yield Path(info.location)
        yield from (path for path in _files_in(info.location) if path.stem in names)
    given = info.annotation_folder if annotations is None else annotations
    yield from _mask_paths(given)


def _mask_paths(given: object) -> Iterator[Path]:
    """The files and folders of given annotations, and the masks in the folders, also one folder for each object."""
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
    """List what options name: a checkpoint, a mask, ``ARCHITECTURE:FILE``, a program and its script.

    Args:
        given: texts, paths, mappings or dataclasses of them; what else is in them is passed over.
    Yields:
        The paths, and the files named by a text or by a word in it; a folder may have a word's name by chance.
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
    """List what is read of data sets and of folders of masks, as far as an output may replace it.

    Args:
        roots: folders of images, label maps and lists of names, at any depth.
        outputs: files to be written.
    Yields:
        Those outputs that are such a file; a table or a report among the masks is none.
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
    except (OSError, ValueError):  # longer than a name can be
        return False


def _identity(path: Path) -> _Identity | None:
    """What a path leads to, or None where nothing is there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
