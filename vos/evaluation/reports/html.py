"""Scores as one HTML file: tables, curves of J and F over time, and the worst frames; no file beside it."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image as PillowImage

from vos.errors import InputError
from vos.evaluation.datasets.sequence_folders import png_files
from vos.evaluation.metrics.boundary_accuracy import boundary_of
from vos.evaluation.reports.tables import percent, summary_columns
from vos.evaluation.video.black_and_white import annotated_in_black_and_white
from vos.evaluation.video.object_scores import ObjectScores, SequenceScores
from vos.evaluation.video.scores import Scores, SequenceFiles
from vos.io.frame_names import match_names
from vos.io.images.image_file import read_image
from vos.io.masks.mask_file import read_stored_label_map
from vos.types.arrays import AnyArray, BoolArray, Image, LabelMap
from vos.types.label_map import VOID
from vos.types.palette import PALETTE
from vos.version import __version__

COLOURS = ("#1c7ed6", "#e8590c", "#2f9e44", "#9c36b5", "#c2255c", "#0c8599")
"""One for each set of predictions."""

GENERATOR = b'<meta name="generator" content="vos">'
"""Stands at the beginning of each report."""

TRUTH_COLOUR, PREDICTION_COLOUR = (47, 158, 68), (224, 49, 49)
WORST_FRAMES = 12
PICTURE_WIDTH = 640

_WIDTH, _HEIGHT, _LEFT, _SPAN, _TOP, _RISE = 460, 130, 28, 424, 8, 104


def is_html_report(path: Path) -> bool:
    """Test whether a file is a report of ``html_report``."""
    try:
        return GENERATOR in path.read_bytes()[:200]
    except OSError:
        return False


def html_report(results: Sequence[Scores]) -> str:
    """Write a report of one file that needs no network.

    Args:
        results: one for each set of predictions, of the same sequences; all are drawn, the first is
            what the others are compared with.
    Returns:
        HTML text.
    """
    first = results[0]
    facts = [
        f"protocol {first.protocol.name}" + (" (official)" if first.protocol.official else ""),
        f"{len(first.sequences)} sequences",
        f"{len(first.objects)} objects",
        f"{sum(len(scores.frames) for _, scores in first.objects)} masks scored",
        f"boundary tolerance {first.tolerance:g}",
        f"vos {__version__}",
    ]
    notes = list(dict.fromkeys(note for scores in results for note in scores.notes))
    page = Template(resources.files("vos.evaluation.reports").joinpath("report.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape("J&F: " + ", ".join(scores.name for scores in results)),
        facts=escape(" · ".join(facts)),
        notes="".join(f"<p>{escape(note)}.</p>" for note in notes),
        summary=_summary(results),
        objects=_objects(results),
        legend=_legend(results),
        curves="\n".join(_curves(results)),
        worst="\n".join(_worst(scores, titled=len(results) > 1) for scores in results),
        width=_WIDTH,
        left=_LEFT,
        span=_SPAN,
    )


def _summary(results: Sequence[Scores]) -> str:
    columns = summary_columns(results)
    rows = []
    for scores in results:
        numbers = scores.summary()
        rows.append([_text_cell(scores.name), *(_cell(numbers.get(key, math.nan)) for key in columns.values())])
    return _table(["", *columns], rows)


def _objects(results: Sequence[Scores]) -> str:
    """A row for each object: all numbers of one result, or J&F (else J) of several with differences to the first."""
    if len(results) == 1:
        heads = ["Object", "Frames", "J&F", "J", "J recall", "J decay", "F", "F recall", "F decay"]
        rows = []
        for sequence, scores in results[0].objects:
            j, f = scores.j_statistics, scores.f_statistics
            numbers = (scores.j_and_f, j.mean, j.recall, j.decay, f.mean, f.recall, f.decay)
            rows.append([
                _text_cell(f"{sequence}_{scores.label}"),
                f'<td data-value="{len(scores.frames)}">{len(scores.frames)}</td>',
                *map(_cell, numbers),
            ])  # fmt: skip
        return _table(heads, rows, sortable=True)
    heads = ["Object", results[0].name, *(head for scores in results[1:] for head in (scores.name, "+/-"))]
    rows = []
    for sequence, same in _same_objects(results):
        values = [scores.main for scores in same]
        cells = [_text_cell(f"{sequence}_{same[0].label}"), _cell(values[0])]
        for value in values[1:]:
            cells += [_cell(value), _cell(value - values[0], signed=True)]
        rows.append(cells)
    return _table(heads, rows, sortable=True)


def _same_objects(results: Sequence[Scores]) -> Iterator[tuple[str, tuple[ObjectScores, ...]]]:
    """Each object with its sequence's name, as every result has it; in official order each has one of its own."""
    for sequences in zip(*(scores.sequences for scores in results), strict=True):
        ordered = (sorted(sequence.objects, key=lambda one: one.object_id) for sequence in sequences)
        for same in zip(*ordered, strict=True):
            yield sequences[0].name, same


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, sortable: bool = False) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    kind = ' class="sortable"' if sortable else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text_cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _cell(value: float, *, signed: bool = False) -> str:
    sort_key = -1e9 if math.isnan(value) else value
    shown = percent(value, signed=signed)
    colour = ""
    if signed and shown not in ("-", "+0.0", "-0.0"):
        colour = ' class="up"' if value > 0 else ' class="down"'
    return f'<td data-value="{sort_key:.6f}"{colour}>{shown}</td>'


def _legend(results: Sequence[Scores]) -> str:
    text = "J solid, F dashed. Move over a curve to read it."
    if len(results) == 1:
        return text
    keys = (
        f'<span class="key" style="border-color:{_colour(n)}"></span>{escape(scores.name)}'
        for n, scores in enumerate(results)
    )
    return text + "".join(keys)


def _colour(n: int) -> str:
    return COLOURS[n % len(COLOURS)]


def _curves(results: Sequence[Scores]) -> list[str]:
    figures = []
    for sequence, same in _same_objects(results):
        # With sa-v, predictions determine the first scored frame; the last one is the same.
        frames = max((scores.frames for scores in same), key=len)
        if not frames:
            continue
        data = {
            "frames": frames,
            "series": [
                {"name": result.name, "j": _rounded(other.j, len(frames)), "f": _rounded(other.f, len(frames))}
                for result, other in zip(results, same, strict=True)
            ],
        }
        lines = "".join(_polylines(other, _colour(n), len(frames)) for n, other in enumerate(same))
        caption = f"{sequence}_{same[0].label}: " + " · ".join(
            f"J {percent(other.j_statistics.mean)}, F {percent(other.f_statistics.mean)}" for other in same
        )
        figures.append(
            f"<figure><figcaption>{escape(caption)}</figcaption>{_axes(frames, lines)}"
            f'<div class="reading"></div><script type="application/json">{_script_json(data)}</script></figure>'
        )
    return figures


def _rounded(values: AnyArray, count: int) -> list[float | None]:
    """Values of the last of ``count`` frames for JSON: None where there is none."""
    rounded = [None if math.isnan(v) else round(float(v), 4) for v in values]
    return [None] * (count - len(rounded)) + rounded


def _script_json(data: object) -> str:
    """JSON that cannot end the script element that holds it."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _polylines(scores: ObjectScores, colour: str, count: int) -> str:
    """The curves of J and F in the last of ``count`` frames."""
    last = max(count - 1, 1)
    parts = []
    for kind, values in (("j", scores.j), ("f", scores.f)):
        if np.isnan(values).all():  # F, where it is not measured
            continue
        points = " ".join(
            f"{_LEFT + _SPAN * n / last:.1f},{_TOP + _RISE * (1 - value):.1f}"
            for n, value in enumerate(values, start=count - len(values))
        )
        parts.append(f'<polyline class="{kind}" stroke="{colour}" points="{points}"/>')
    return "".join(parts)


def _axes(frames: Sequence[str], lines: str) -> str:
    grid = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SPAN}" y1="{y}" y2="{y}"/>'
        f'<text x="{_LEFT - 5}" y="{y + 3}" text-anchor="end">{label}</text>'
        for label, y in ((0, _TOP + _RISE), (50, _TOP + _RISE / 2), (100, _TOP))
    )
    low = _TOP + _RISE + 13
    names = (
        f'<text x="{_LEFT}" y="{low}">{escape(frames[0])}</text>'
        f'<text x="{_LEFT + _SPAN}" y="{low}" text-anchor="end">{escape(frames[-1])}</text>'
    )
    cursor = f'<line class="cursor" x1="0" x2="0" y1="{_TOP}" y2="{_TOP + _RISE}"/>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{grid}{names}{lines}{cursor}</svg>'


def _worst(scores: Scores, *, titled: bool) -> str:
    """Pictures of the worst frame of each of the lowest objects."""
    found: list[tuple[float, SequenceScores, ObjectScores, int]] = []
    for sequence in scores.sequences:
        for object_scores in sequence.objects:
            if object_scores.frames:
                both = np.where(np.isnan(object_scores.f), object_scores.j, (object_scores.j + object_scores.f) / 2)
                n = int(both.argmin())
                found.append((float(both[n]), sequence, object_scores, n))
    found.sort(key=lambda item: item[0])
    figures = [_figure(scores, sequence, object_scores, n) for _, sequence, object_scores, n in found[:WORST_FRAMES]]
    title = f"<h3>{escape(scores.name)}</h3>" if titled else ""
    return f'{title}<div class="worst">{"".join(figures)}</div>'


def _figure(scores: Scores, sequence: SequenceScores, object_scores: ObjectScores, n: int) -> str:
    frame = object_scores.frames[n]
    caption = (
        f"{sequence.name}_{object_scores.label}, frame {frame}: "
        f"J {percent(object_scores.j[n])}, F {percent(object_scores.f[n])}"
    )
    files = scores.files_of(sequence.name, object_scores.object_id)
    picture = ""
    if files is not None:
        proposals = scores.protocol.max_proposals is not None
        predicted_id = object_scores.proposal_id if proposals else object_scores.object_id
        drawn = _draw(files, frame, object_scores.object_id, predicted_id, merged=scores.protocol.merge)
        picture = f'<img alt="{escape(caption)}" src="data:image/jpeg;base64,{_jpeg(drawn)}">'
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _draw(files: SequenceFiles, frame: str, object_id: int, predicted_id: int | None, *, merged: bool) -> Image:
    """A frame with the outlines of truth and prediction, at most ``PICTURE_WIDTH`` wide."""
    truth_file = read_stored_label_map(_mask_path(files.truth, frame))
    black_and_white = annotated_in_black_and_white(png_files(files.truth))
    truth = _mask(truth_file.label_map, object_id, merged=merged, black_and_white=black_and_white)
    try:
        file = read_stored_label_map(_mask_path(files.predictions, frame))
        prediction = _mask(file.label_map, predicted_id, merged=merged, black_and_white=file.binary)
    except InputError:
        prediction = np.zeros_like(truth)
    size_wh = (truth.shape[1], truth.shape[0])
    image = _image(files.frames, frame, size_wh)
    if image is None:
        image = PALETTE[truth_file.label_map] // 2 + 60
    scale = max(1, -(-size_wh[0] // PICTURE_WIDTH))
    image = np.array(image[::scale, ::scale])  # a copy: images as they are read cannot be written to
    for mask, colour in ((truth, TRUTH_COLOUR), (prediction, PREDICTION_COLOUR)):
        image[_thick(boundary_of(mask[::scale, ::scale]))] = colour
    return image


def _mask_path(folder: Path, frame: str) -> Path:
    """The mask of a frame, also where its name has other zeros or capitals than the annotation's."""
    path = folder / f"{frame}.png"
    return path if path.is_file() else match_names([frame], png_files(folder)).files.get(frame, path)


def _mask(label_map: LabelMap, object_id: int | None, *, merged: bool, black_and_white: bool) -> BoolArray:
    if black_and_white:
        return np.asarray(label_map == VOID)
    if merged:
        return np.asarray((label_map > 0) & (label_map < VOID))
    return np.asarray(label_map == object_id) if object_id is not None else np.zeros(label_map.shape, dtype=np.bool_)


def _image(folder: Path | None, frame: str, size_wh: tuple[int, int]) -> Image | None:
    if folder is None:
        return None
    for ending in (".jpg", ".jpeg", ".png"):
        path = folder / f"{frame}{ending}"
        if path.is_file():
            return np.asarray(PillowImage.fromarray(read_image(path)).resize(size_wh))
    return None


def _thick(outline: BoolArray) -> BoolArray:
    thick: BoolArray = outline.copy()
    thick[1:] |= outline[:-1]
    thick[:, 1:] |= thick[:, :-1].copy()
    return thick


def _jpeg(image: Image) -> str:
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, format="JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
