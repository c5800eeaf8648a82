"""Pair a sequence's annotations with its predictions, by file name or by number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FramePairs:
    """The predictions of a sequence's scored annotations.

    Attributes:
        predictions: one for each annotation; None where there is none.
        notes: how they were paired, if not by equal names.
        unused: names of PNG files that belong to no annotation, listed where an annotation has no prediction.
    """

    predictions: list[Path | None]
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def pair_by_name(annotations: Sequence[Path], files: Sequence[Path]) -> FramePairs:
    """Pair annotations and predictions by equal names, else all of them by equal numbers.

    Numbers are taken only where every annotation finds exactly one file with its number (``1.png`` for
    ``00001.png``): with gaps, a renumbered result could be scored against other frames.

    Args:
        annotations: the scored annotations.
        files: PNG files of the predictions' folder.
    Returns:
        The pairs.
    """
    by_stem = {path.stem: path for path in files}
    found = [by_stem.get(path.stem) for path in annotations]
    if None not in found:
        return FramePairs(found)
    by_number: dict[int, list[Path]] = defaultdict(list)
    for path in files:
        if path.stem.isdecimal():
            by_number[int(path.stem)].append(path)
    if not any(found) and all(
        path.stem.isdecimal() and len(by_number.get(int(path.stem), ())) == 1 for path in annotations
    ):
        numbered: list[Path | None] = [by_number[int(path.stem)][0] for path in annotations]
        first = numbered[0]
        assert first is not None
        return FramePairs(
            numbered, (f"predictions are paired with annotations by number ({first.name}: {annotations[0].name})",)
        )
    used = {path.stem for path in annotations}
    unused = [path.name for path in files if path.stem not in used]
    return FramePairs(found, unused=tuple(unused) if not any(found) else ())
