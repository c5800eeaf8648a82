"""Scores as tables: for the terminal, and CSV files in the official tool's layout."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from vos.errors import OutputError
from vos.evaluation.video.attributes import Slice, slices
from vos.evaluation.video.object_scores import ObjectScores, SequenceScores, Series, main_score
from vos.evaluation.video.scores import Scores
from vos.evaluation.video.significance import bootstrap_interval, paired_test
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

OBJECTS_HEADER = "Sequence,J-Mean,F-Mean"
"""First line of the official table of objects."""

PROTOCOL_COLUMNS = {
    "V": "v",
    "J_tr": "j_tr",
    "J&F-dot": "j_and_f_adaptive",
    "F-dot": "f_adaptive",
    "J&F-dot-d": "disappearance",
    "J&F-dot-r": "reappearance",
    "B-Mean": "b_mean",
    "B-Tube": "b_tube",
}
"""Columns that only some protocols have (LVOS, VOST, MOSEv2: gone and back), and the boundary IoU."""

Style = Literal["text", "md", "latex"]

CATEGORY_COLUMNS = {"G": "g", "J-Seen": "j_seen", "F-Seen": "f_seen", "J-Unseen": "j_unseen", "F-Unseen": "f_unseen"}


def table(rows: Sequence[Sequence[str]], style: Style = "text") -> str:
    """Align texts in columns, the first to the left and the others to the right.

    Args:
        rows: of equal length, the first one a heading.
        style: plain text, a Markdown table, or a LaTeX ``tabular`` with ``booktabs`` rules.
    Returns:
        Lines, without a line end after the last.
    """
    if style == "latex":
        escaped = [[re.sub(r"([&%_#$])", r"\\\1", cell) for cell in row] for row in rows]
        head, *body = [f"{' & '.join(row)} \\\\" for row in escaped]
        columns = f"l{'r' * (len(rows[0]) - 1)}"
        inside = ["\\toprule", head, "\\midrule", *body, "\\bottomrule"]
        return "\n".join([f"\\begin{{tabular}}{{{columns}}}", *inside, "\\end{tabular}"])
    if style == "md":
        marked = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        head, *body = [f"| {' | '.join(row)} |" for row in marked]
        return "\n".join([head, f"|---|{'---:|' * (len(rows[0]) - 1)}", *body])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def percent(value: float, *, signed: bool = False, digits: int = 1) -> str:
    """Write a score as it is printed in papers: times 100, by default one digit after the point."""
    if math.isnan(value):
        return "-"
    return f"{100 * value:{'+' if signed else ''}.{digits}f}"


def summary_columns(results: Sequence[Scores]) -> dict[str, str]:
    """Choose the columns of the table of results: label and key in ``Scores.summary`` of what some result measures."""
    columns = dict(GLOBAL_COLUMNS)
    columns |= {label: key for label, key in PROTOCOL_COLUMNS.items() if any(key in one.summary() for one in results)}
    if all(scores.protocol.measures == "j" for scores in results):
        columns = {label: key for label, key in columns.items() if key.startswith(("j_", "b_")) and "and" not in key}
    if any(scores.by_category() for scores in results):
        columns |= CATEGORY_COLUMNS
    return columns


def summary_table(results: Sequence[Scores], style: Style = "text", digits: int = 1) -> str:
    """Make the table of the DAVIS numbers and those of the protocol, a row for each result, times 100.

    Args:
        results: one for each set of predictions.
        style: as for ``table``.
        digits: digits after the point.
    Returns:
        The table's text.
    """
    columns = summary_columns(results)
    rows = [["", *columns]]
    for scores in results:
        numbers = scores.summary()
        rows.append([scores.name, *(percent(numbers.get(key, math.nan), digits=digits) for key in columns.values())])
    return table(rows, style)


def sequence_table(results: Sequence[Scores], style: Style = "text", digits: int = 1) -> str:
    """Make the table of sequences: J&F, J and F of one result, or J&F of several with differences to the first.

    Where F is not measured, several are compared by J.

    Args:
        results: one for each set of predictions, of the same sequences.
        style: as for ``table``.
        digits: digits after the point.
    Returns:
        The table's text, times 100.
    """
    if len(results) == 1:
        rows = [["Sequence", "J&F", "J", "F", "Objects"]]
        rows += [
            [
                sequence.name,
                *(percent(value, digits=digits) for value in (sequence.j_and_f, sequence.j.mean, sequence.f.mean)),
                str(len(sequence.objects)),
            ]
            for sequence in results[0].sequences
        ]  # fmt: skip
        return table(rows, style)
    first, *others = results
    rows = [["Sequence", first.name, *(cell for scores in others for cell in (scores.name, "+/-"))]]
    for sequences in zip(*(scores.sequences for scores in results), strict=True):
        rows.append([sequences[0].name, *_compared([sequence.main for sequence in sequences], digits)])
    rows.append(["All objects", *_compared([scores.main for scores in results], digits)])
    return table(rows, style)


def _compared(values: Sequence[float], digits: int) -> list[str]:
    cells = [percent(values[0], digits=digits)]
    for value in values[1:]:
        cells += [percent(value, digits=digits), percent(value - values[0], signed=True, digits=digits)]
    return cells


def interval_lines(results: Sequence[Scores], style: Style = "text", digits: int = 1) -> str:
    """Write the bootstrap interval of each result, and a paired test of each further one with the first.

    Args:
        results: one for each set of predictions, of the same sequences.
        style: plain text, a Markdown list, or comments of LaTeX.
        digits: digits after the point.
    Returns:
        Lines of text.
    """
    lines = []
    for scores in results:
        interval = bootstrap_interval(scores)
        low, high = percent(interval.low, digits=digits), percent(interval.high, digits=digits)
        lines.append(f"{scores.name}: 95 % interval over {interval.sequences} sequences: {low} to {high}")
    for scores in results[1:]:
        found = paired_test(results[0], scores)
        p_value = "-" if math.isnan(found.p_value) else f"{found.p_value:.4f}"
        lines.append(
            f"{scores.name} against {results[0].name}: {percent(found.difference, signed=True, digits=digits)} a "
            f"sequence, better on {found.wins} of {found.sequences}, p = {p_value} (sign flips)"
        )
    mark = {"text": "", "md": "- ", "latex": "% "}[style]
    return "\n".join(mark + line for line in lines)


def slice_table(results: Sequence[Scores], style: Style = "text", digits: int = 1) -> str:
    """Make the table of attributes, measured from the truth: objects that have one, and their J&F in each result."""
    tables = [{one.name: one for one in found} for found in slices(results)]
    rows = [["Attribute", "Objects", *(scores.name for scores in results)]]
    for name in sorted({name for one in tables for name in one}):
        found = [one.get(name, Slice(name, 0, math.nan, math.nan)) for one in tables]
        counts = [str(one.objects) for one in found]  # with sa-v, predictions determine which objects are scored
        shown = counts[0] if len({*counts}) == 1 else "/".join(counts)
        numbers = [main_score(one.j, one.f) for one in found]
        rows.append([name, shown, *(percent(value, digits=digits) for value in numbers)])
    return table(rows, style)


def global_csv(scores: Scores) -> str:
    """Write the official global table: one row, [0, 1], three digits."""
    numbers = scores.summary()
    values = ",".join(_three_digits(numbers[key]) for key in GLOBAL_COLUMNS.values())
    return f"{','.join(GLOBAL_COLUMNS)}\n{values}\n"


def per_sequence_csv(scores: Scores) -> str:
    """Write the official table of objects: ``SEQUENCE_1`` and so on, [0, 1], three digits."""
    lines = [OBJECTS_HEADER]
    for sequence in scores.sequences:
        lines += _object_lines(sequence)
    return "\n".join(lines) + "\n"


def _object_lines(sequence: SequenceScores) -> list[str]:
    return [
        f"{_quoted(f'{sequence.name}_{scores.label}')},{_three_digits(scores.j_statistics.mean)},"
        f"{_three_digits(scores.f_statistics.mean)}"
        for scores in sequence.objects
    ]


def per_frame_csv(results: Sequence[Scores]) -> str:
    """Write the scores of every object in every scored frame, in [0, 1]: one row each, names quoted where needed.

    Args:
        results: one for each set of predictions.
    Returns:
        Columns ``Result``, ``Sequence``, ``Object``, ``Frame``, ``J`` and ``F``; also ``F-dot`` (MOSEv2) and ``B``
        (boundary IoU) where some result has them. What a protocol does not measure is an empty field.
    """
    series: dict[str, Callable[[ObjectScores], Series | None]] = {
        "J": lambda one: one.j,
        "F": lambda one: one.f,
        "F-dot": lambda one: one.f_adaptive,
        "B": lambda one: one.b,
    }
    objects = [(scores.name, sequence, one) for scores in results for sequence, one in scores.objects]
    columns = {
        name: value
        for name, value in series.items()
        if name in ("J", "F") or any(value(one) is not None for _, _, one in objects)
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Result", "Sequence", "Object", "Frame", *columns])
    for result, sequence, one in objects:
        measured = [value(one) for value in columns.values()]
        for n, frame in enumerate(one.frames):
            numbers = [math.nan if found is None else float(found[n]) for found in measured]
            cells = ["" if math.isnan(number) else f"{number:.6f}" for number in numbers]
            writer.writerow([result, sequence, one.object_id, frame, *cells])
    return text.getvalue()


def tables_in(folder: Path, set_name: str) -> tuple[Path, Path]:
    """Name the files of the official tables in a folder: the global one, and that of objects."""
    return folder / f"global_results-{set_name}.csv", folder / f"per-sequence_results-{set_name}.csv"


def is_table_file(path: Path) -> bool:
    """True if ``tables_at`` takes a path for the file of the table of objects, and not for a folder."""
    return path.suffix.lower() == ".csv" and not path.is_dir()


def tables_at(path: Path, set_name: str) -> tuple[Path, Path]:
    """Name the files of the official tables: in a folder, or ``X-global.csv`` beside the table of objects ``X.csv``."""
    if is_table_file(path):
        return path.with_name(f"{path.stem}-global.csv"), path
    return tables_in(path, set_name)


def write_csv(files: tuple[Path, Path], scores: Scores) -> None:
    """Write both official tables.

    Args:
        files: from ``tables_in`` or ``tables_at``.
        scores: what to write.
    Raises:
        OutputError: they cannot be written.
    """
    for file, text in zip(files, (global_csv(scores), per_sequence_csv(scores)), strict=True):
        write_text(file, text)


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


def _quoted(text: str) -> str:
    """A CSV field, in quotes where it holds a comma, a quote or a line end."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\n\r]', text) else text
