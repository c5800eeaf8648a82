"""Jobs of ``vos batch``: read from a manifest, a pattern of video files, or a DAVIS or YouTube-VOS tree."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vos.evaluation import DavisTree
from vos.plugin import InputError, Job, OptionError, Runtime, safe_name, sequence_name

MASK_SUFFIXES = (".png", "-mask.png", "_mask.png")
COLUMNS = (
    "video",
    "masks",
    "tracker",
    "options",
    "output",
    "sequence",
    "start",
    "stop",
    "step",
    "max_side",
    "both_ways",
)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CAMERA = re.compile(r"[0-9]{1,4}")
_OF_A_PLUGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # such as noise:64x48; one letter would be a drive
SHOWN_CHARACTERS = 200
"""Characters of a manifest's value that a message shows at most."""
_NUMBERS = ("start", "stop", "step", "max_side")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")  # as those of options


@dataclass(frozen=True)
class TrackJob:
    """One video to track.

    Attributes:
        source: a video, a folder of images or an address.
        masks: a mask file or a folder of masks; mask files by frame index; None for masks beside the frames.
        tracker: a tracker's name.
        options: its options by name.
        output: folder; masks go to ``output/sequence``.
        sequence: the folder's name.
        writers: names and options.
        selection: arguments of ``vos.track`` that choose frames and their size.
        runtime: arguments of ``Runtime``.
        overwrite: replace an earlier run.
    """

    source: str
    masks: str | Mapping[str, str] | None
    output: str
    sequence: str
    tracker: str = "propagation"
    options: Mapping[str, Any] = field(default_factory=dict)
    writers: tuple[tuple[str, Mapping[str, Any]], ...] = (("davis", {}),)
    selection: Mapping[str, Any] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False

    def to_job(self) -> Job:
        """The job for an executor; its id is the folder that it writes."""
        folder = self.output.rstrip("/") if "://" in self.output else str(Path(self.output))
        return Job(f"{folder}/{self.sequence}", asdict(self))


def find_jobs(where: str, defaults: TrackJob, set_name: str | None = None) -> list[TrackJob]:
    """Find jobs.

    Args:
        where: a manifest (``.jsonl`` or ``.csv``), the root of a DAVIS or YouTube-VOS tree, or a pattern such as
            ``clips/*.mp4`` whose masks lie beside the videos (``dog.png``, ``dog-mask.png``, or a folder ``dog``).
        defaults: what a job has unless its line says otherwise.
        set_name: with a tree, the set; None for all sequences.
    Returns:
        At least one job; no two write the same folder.
    Raises:
        InputError: nothing there, a line that cannot be read, or two jobs with one output.
        OptionError: a set that the tree lacks, or of what is no tree.
    """
    if _ADDRESS.match(where):
        raise InputError(f"{where}: is an address, expected a manifest, a tree or a pattern on the disk.")
    path = Path(where)
    if set_name is not None and not path.is_dir():
        raise OptionError(f"{where}: is no tree, whose sequences --set {set_name} names. Leave out --set.")
    if path.suffix.lower() in (".jsonl", ".ndjson", ".csv"):
        jobs = list(_from_manifest(path, defaults))
    elif path.is_dir():
        jobs = list(_from_tree(path, defaults, set_name))
    else:
        jobs = list(_from_pattern(where, defaults))
    if not jobs:
        raise InputError(f"{where}: no job in it.")
    seen: dict[str, str] = {}
    for job in jobs:
        job_id = job.to_job().job_id
        folder = job_id if "://" in job_id else os.path.realpath(job_id)  # whatever the spelling of its path
        if folder in seen:
            raise InputError(
                f"{where}: {seen[folder]} and {job.source} would both be written to {job_id}. "
                'Give one of them another "sequence" or "output".'
            )
        seen[folder] = job.source
    return jobs


def _from_manifest(path: Path, defaults: TrackJob) -> Iterator[TrackJob]:
    """Paths in a manifest are relative to its folder."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a manifest ({error}).") from None
    rows = _table_rows(path, text) if path.suffix.lower() == ".csv" else _json_lines(path, text)
    for number, row in rows:
        yield _job_of(row, f"{path}, line {number}", path.parent, defaults)


def _table_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row of a table by the names in its first one, with the number of the line where it begins."""
    names: list[str] = []
    for number, cells in _table_cells(path, text):
        if not names:
            names = cells
            twice = next((name for name in names if name and names.count(name) > 1), None)
            if twice is not None:
                raise InputError(f'{path}, line {number}: two fields are called "{ascii(twice)[1:-1]}".')
            continue
        if len(cells) > len(names):
            raise InputError(
                f"{path}, line {number}: {len(cells)} cells, but the first row names {len(names)} fields. "
                'Write a value with a comma in quotes, such as "a,b.mp4".'
            )
        yield number, dict(zip(names, cells, strict=False))


def _table_cells(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that is not empty; a quote left open would take the rows after it into one cell."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    advice = 'Close each quote, and write a quote in a cell twice ("").'
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path}, line {number}: not CSV ({error}). {advice}") from None
        if cells is None:
            return
        if any("\n" in cell and not cell.lstrip().startswith("{") for cell in cells):  # JSON may have several lines
            raise InputError(f"{path}, line {number}: a cell goes on in the next line. {advice}")
        if cells:
            yield number, cells


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would also split at characters that JSON may hold
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise InputError(f"{path}, line {number}: not JSON. Expected an object on each line.") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: a {type(row).__name__}, expected an object.")
        yield number, row


def _job_of(row: dict[str, Any], where: str, folder: Path, defaults: TrackJob) -> TrackJob:
    row = {key: value for key, value in row.items() if value not in (None, "")}
    unknown = [key for key in row if key not in COLUMNS]
    if unknown:
        raise InputError(f'{where}: unknown field "{ascii(str(unknown[0])[:80])[1:-1]}". Known: {", ".join(COLUMNS)}.')
    if "video" not in row:
        raise InputError(f'{where}: no "video".')
    texts = {name: _text(row[name], name, where) for name in ("video", "tracker", "output", "sequence") if name in row}
    video = texts["video"]
    selection = dict(defaults.selection)
    for name in _NUMBERS:
        if name in row:
            selection[name] = _whole_number(row[name], name, where)
    if "both_ways" in row:
        selection["both_ways"] = _truth(row["both_ways"], "both_ways", where)
    is_path = os.path.lexists(folder / video) or not (_CAMERA.fullmatch(video) or _OF_A_PLUGIN.match(video))
    source = _relative(video, folder) if is_path else video
    return replace(
        defaults,
        source=source,
        masks=_masks(row.get("masks"), where, folder) or defaults.masks or _mask_beside(source),
        tracker=texts.get("tracker", defaults.tracker),
        options={**defaults.options, **_options(row.get("options", {}), where)},
        output=_relative(texts["output"], folder) if "output" in row else defaults.output,
        sequence=safe_name(texts["sequence"]) if "sequence" in row else sequence_name(source),
        selection=selection,
    )


def _text(value: Any, name: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InputError(f'{where}: "{name}" is {_shortened(value)}, expected text.')
    return str(value)


def _masks(given: Any, where: str, folder: Path) -> str | dict[str, str] | None:
    if given is None:
        return None
    if isinstance(given, str) and given.lstrip().startswith("{"):
        given = _parsed(given, "masks", where)
    if isinstance(given, str):
        return _relative(given, folder)
    if isinstance(given, Mapping) and all(str(key).isdecimal() and isinstance(v, str) for key, v in given.items()):
        by_index = {str(int(key)): _relative(value, folder) for key, value in given.items()}
        if len(by_index) == len(given):
            return by_index
    raise InputError(f'{where}: "masks" is {_shortened(given)}, expected a path, or paths by frame index.')


def _options(given: Any, where: str) -> dict[str, Any]:
    if isinstance(given, str):
        given = _parsed(given, "options", where)
    if not isinstance(given, dict):
        raise InputError(f'{where}: "options" is {_shortened(given)}, expected an object.')
    return given


def _parsed(text: str, name: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f'{where}: "{name}" is {_shortened(text)}, expected JSON.') from None


def _whole_number(value: Any, name: str, where: str) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise InputError(f'{where}: "{name}" is {_shortened(value)}, expected a whole number.') from None


def _truth(value: Any, name: str, where: str) -> bool:
    word = str(value).lower()
    if word not in _TRUE + _FALSE:
        raise InputError(f'{where}: "{name}" is {_shortened(value)}, expected true or false.')
    return word in _TRUE


def _relative(path: str, folder: Path) -> str:
    return path if _ADDRESS.match(path) else str(folder / path)


def _from_pattern(pattern: str, defaults: TrackJob) -> Iterator[TrackJob]:
    names = [pattern] if os.path.lexists(pattern) else glob.glob(pattern, recursive=True)  # noqa: PTH207  # absolute too
    paths = map(Path, names)
    found = sorted(str(path) for path in paths if path.suffix.lower() != ".png")
    if not found:
        raise InputError(
            f"{pattern}: no such manifest, tree or video. Expected a .jsonl or .csv file, a folder, or a pattern."
        )
    beside = {source: _mask_beside(source) for source in found}
    for source, masks in beside.items():
        name = sequence_name(source)
        if source in beside.values():  # a folder of another one's masks
            continue
        if masks is None:
            raise InputError(
                f"{source}: no mask beside it. Expected {name}.png, {name}-mask.png or a folder {name}/; "
                "a manifest is a .jsonl or .csv file."
            )
        yield replace(defaults, source=source, masks=masks, sequence=name)


def _mask_beside(source: str) -> str | None:
    if "://" in source:
        return None
    video, of_images = Path(source), os.path.isdir(source)  # noqa: PTH112 - Path.is_dir raises for some names
    for name in (video.name if of_images else video.stem, sequence_name(source)):  # vos init writes the second
        for suffix in MASK_SUFFIXES:
            mask = video.with_name(name + suffix)
            if mask.is_file():
                return str(mask)
    folder = video.with_suffix("")
    return str(folder) if folder.is_dir() and not of_images else None


def _from_tree(root: Path, defaults: TrackJob, set_name: str | None) -> Iterator[TrackJob]:
    tree = DavisTree(root)
    if set_name is not None and set_name not in tree.sets():
        raise OptionError(f"{root} has no set {set_name}. It has: {', '.join(tree.sets()) or 'none'}.")
    for name in tree.sequences(set_name):
        yield replace(defaults, source=str(tree.frame_folder / name), masks=None, sequence=safe_name(name))


def runtime_arguments(runtime: Runtime) -> dict[str, Any]:
    """A runtime as plain data; the cache folder is each machine's own."""
    return {"device": runtime.device, "precision": runtime.precision, "threads": runtime.threads, "seed": runtime.seed}


def _shortened(value: object) -> str:
    """Show a value of a manifest in a message: at most ``SHOWN_CHARACTERS`` of its text."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
