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
        hint: what else the names show, as a clause for a message.
    """

    predictions: list[Path | None]
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    hint: str = ""


def pair_by_name(scored: Sequence[Path], files: Sequence[Path], annotated: Sequence[Path]) -> FramePairs:
    """Pair annotations and predictions by equal names, else all of them by equal numbers.

    Numbers are taken only where every annotation finds exactly one file with its number (``1.png`` for
    ``00001.png``): with gaps, a renumbered result could be scored against other frames.

    Args:
        scored: the annotations that count.
        files: PNG files of the predictions' folder.
        annotated: all annotations of the sequence.
    Returns:
        The pairs.
    """
    by_stem = {path.stem: path for path in files}
    if by_stem.keys() == {path.stem for path in annotated}:
        return FramePairs([by_stem[path.stem] for path in scored])
    found = [by_stem.get(path.stem) for path in scored]
    shifted = _shifted(annotated, files)
    if None not in found:
        return FramePairs(found, (shifted,) if shifted else ())
    by_number: dict[int, list[Path]] = defaultdict(list)
    for path in files:
        if path.stem.isdecimal():
            by_number[int(path.stem)].append(path)
    fits = all(path.stem.isdecimal() and len(by_number.get(int(path.stem), ())) == 1 for path in scored)
    if not any(found) and fits and not shifted:
        numbered: list[Path | None] = [by_number[int(path.stem)][0] for path in scored]
        first = numbered[0]
        assert first is not None
        return FramePairs(
            numbered, (f"predictions are paired with annotations by number ({first.name}: {scored[0].name})",)
        )
    used = {path.stem for path in annotated}
    unused = tuple(path.name for path in files if path.stem not in used)
    # As many files as annotations, or as those after the first, are theirs by order: 00000 to 00007 of annotations in
    # every fifth frame.
    by_order = 0 <= len(annotated) - len(files) <= 1 and len(unused) >= found.count(None)
    renamed = not any(found) or by_order
    return FramePairs(found, unused=unused if renamed else (), hint=f" ({shifted})" if shifted else "")


def _shifted(annotated: Sequence[Path], files: Sequence[Path]) -> str:
    """Hint that the predictions are numbered from another first number, such as 1; empty if they are not."""
    if len(annotated) != len(files) or not all(path.stem.isdecimal() for path in (*annotated, *files)):
        return ""
    truth, mine = sorted(int(path.stem) for path in annotated), sorted(int(path.stem) for path in files)
    offset = mine[0] - truth[0]
    if not offset or [number - offset for number in mine] != truth:
        return ""
    return (
        f"predictions are numbered from {mine[0]} to {mine[-1]}, annotations from {truth[0]} to {truth[-1]}: "
        "if the first prediction is of the first frame, number them as the annotations"
    )
