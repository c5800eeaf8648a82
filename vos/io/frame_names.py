"""Match mask files to frames by name: equal names first, then names that are equal as numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Zeros at the beginning of a number; those after a decimal point belong to its value.
_LEADING_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")


@dataclass
class NameMatch:
    """Match of files to frames by name.

    Attributes:
        files: file by frame name, in the order of the frames; only frames that have one.
        renamed: frames whose file has another name (``0.png`` for frame ``00000``).
        unmatched: files that match no frame, in order.
        ambiguous: files that match the same frame as another file, in order.
    """

    files: dict[str, Path] = field(default_factory=dict)
    renamed: list[str] = field(default_factory=list)
    unmatched: list[Path] = field(default_factory=list)
    ambiguous: list[Path] = field(default_factory=list)


def match_names(frames: Sequence[str], files: Iterable[Path]) -> NameMatch:
    """Match files to frames by their stems.

    A stem that equals a frame's name belongs to it. The others are compared without zeros at the beginning of numbers
    and without regard to upper and lower case, where that leaves one frame and one file.

    Args:
        frames: the frames' names, in order.
        files: the files, in order.
    Returns:
        The match.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in files:
        by_stem.setdefault(path.stem, []).append(path)
    match = NameMatch()
    exact = {name: by_stem.pop(name) for name in frames if name in by_stem}
    rest_of_frames = [name for name in frames if name not in exact]
    frame_keys = Counter(map(comparable, rest_of_frames))
    by_key: dict[str, list[Path]] = {}
    for stem, paths in by_stem.items():
        by_key.setdefault(comparable(stem), []).extend(paths)
    for name in frames:
        key = comparable(name)
        found = exact.get(name) or (by_key.pop(key, []) if frame_keys[key] == 1 else [])
        if len(found) > 1:
            match.ambiguous += found
        elif found:
            match.files[name] = found[0]
            if name not in exact:
                match.renamed.append(name)
    match.unmatched = [path for paths in by_key.values() for path in paths]
    return match


def comparable(name: str) -> str:
    """A name without what programs write differently: ``Frame_007`` and ``frame_7`` are equal.

    Args:
        name: a frame's name or a file's stem.
    Returns:
        It in lower case, numbers without leading zeros.
    """
    return _LEADING_ZEROS.sub("", name.casefold())
