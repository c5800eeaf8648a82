"""Scores as tables: for the terminal, and CSV files in the official tool's layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from vos.errors import OutputError
from vos.evaluation.video.object_scores import SequenceScores
from vos.evaluation.video.scores import Scores
from vos.io.atomic_files import atomic_write

GLOBAL_COLUMNS = {
    "J&F-Mean": "j_and_f",
    "J-Mean": "j_mean",
    "J-Recall": "j_recall",
    "J-Decay": "j_decay",
    "F-Mean": "f_mean",
    "F-Recall": "f_recall",
    "F-Decay": "f_decay",
}
"""Columns of the official table, and the numbers of ``Scores.summary`` in them."""

CATEGORY_COLUMNS = {"G": "g", "J-Seen": "j_seen", "F-Seen": "f_seen", "J-Unseen": "j_unseen", "F-Unseen": "f_unseen"}


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align texts in columns, the first to the left and the others to the right.

    Args:
        rows: of equal length, the first one a heading.
    Returns:
        Lines, without a line end after the last.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def percent(value: float, *, signed: bool = False) -> str:
    """Write a score as it is printed in papers: times 100, one digit after the point."""
    if math.isnan(value):
        return "-"
    return f"{100 * value:{'+' if signed else ''}.1f}"


def summary_table(results: Sequence[Scores]) -> str:
    """Make the table of the seven DAVIS numbers (and those by category), a row for each result, times 100.

    Args:
        results: one for each set of predictions.
    Returns:
        The table's text.
    """
    columns = dict(GLOBAL_COLUMNS)
    if any(scores.by_category() for scores in results):
        columns |= CATEGORY_COLUMNS
    rows = [["", *columns]]
    for scores in results:
        numbers = scores.summary()
        rows.append([scores.name, *(percent(numbers.get(key, math.nan)) for key in columns.values())])
    return table(rows)


def sequence_table(results: Sequence[Scores]) -> str:
    """Make the table of sequences: J&F, J and F of one result, or J&F of several with differences to the first.

    Args:
        results: one for each set of predictions, of the same sequences.
    Returns:
        The table's text, times 100.
    """
    if len(results) == 1:
        rows = [["Sequence", "J&F", "J", "F", "Objects"]]
        rows += [
            [sequence.name, percent(sequence.j_and_f), percent(sequence.j.mean), percent(sequence.f.mean),
             str(len(sequence.objects))]
            for sequence in results[0].sequences
        ]  # fmt: skip
        return table(rows)
    first, *others = results
    rows = [["Sequence", first.name, *(cell for scores in others for cell in (scores.name, "+/-"))]]
    for sequences in zip(*(scores.sequences for scores in results), strict=True):
        rows.append([sequences[0].name, *_compared([sequence.j_and_f for sequence in sequences])])
    rows.append(["All objects", *_compared([scores.j_and_f for scores in results])])
    return table(rows)


def _compared(values: Sequence[float]) -> list[str]:
    cells = [percent(values[0])]
    for value in values[1:]:
        cells += [percent(value), percent(value - values[0], signed=True)]
    return cells


def global_csv(scores: Scores) -> str:
    """Write the official global table: one row, [0, 1], three digits."""
    numbers = scores.summary()
    values = ",".join(_three_digits(numbers[key]) for key in GLOBAL_COLUMNS.values())
    return f"{','.join(GLOBAL_COLUMNS)}\n{values}\n"


def per_sequence_csv(scores: Scores) -> str:
    """Write the official table of objects: ``SEQUENCE_1`` and so on, [0, 1], three digits."""
    lines = ["Sequence,J-Mean,F-Mean"]
    for sequence in scores.sequences:
        lines += _object_lines(sequence)
    return "\n".join(lines) + "\n"


def _object_lines(sequence: SequenceScores) -> list[str]:
    return [
        f"{sequence.name}_{scores.label},{_three_digits(scores.j_statistics.mean)},"
        f"{_three_digits(scores.f_statistics.mean)}"
        for scores in sequence.objects
    ]


def csv_files(path: Path, set_name: str = "val") -> tuple[Path, Path]:
    """Name the files of the official tables: the global one, and that of objects; as for ``write_csv``."""
    if path.suffix.lower() == ".csv":
        return path.with_name(f"{path.stem}-global.csv"), path
    return path / f"global_results-{set_name}.csv", path / f"per-sequence_results-{set_name}.csv"


def write_csv(path: Path, scores: Scores, set_name: str = "val") -> list[Path]:
    """Write both official tables.

    Args:
        path: a folder, which then holds ``global_results-SET.csv`` and ``per-sequence_results-SET.csv``;
            or a file ``X.csv`` for the table of objects, beside which ``X-global.csv`` is written.
        scores: what to write.
        set_name: for the files' names in a folder.
    Returns:
        The files written.
    Raises:
        OutputError: they cannot be written.
    """
    files = csv_files(path, set_name)
    for file, text in zip(files, (global_csv(scores), per_sequence_csv(scores)), strict=True):
        write_text(file, text)
    return list(files)


def write_text(path: Path, text: str) -> None:
    """Write a report's file and make its folder.

    Args:
        path: the file.
        text: its content.
    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot be made ({error.strerror}).") from None
    atomic_write(path, text)


def _three_digits(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
