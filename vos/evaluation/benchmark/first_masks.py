"""First masks that an initializer makes for a benchmark in which no object is given (DAVIS, unsupervised).

They are kept in ``OUTPUT/first-masks/SEQUENCE/`` with a record of how they were made, so that a second run takes them
from there.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vos.errors import EmptyMaskError, OutputExistsError
from vos.evaluation.benchmark.results import BenchmarkJob
from vos.evaluation.reports.tables import write_text
from vos.host.opening import open_source
from vos.host.outputs.run_record import versions
from vos.initialization.initialize import find_objects, make_initializer, read_clip
from vos.initialization.object_selection import ObjectSelection, select_objects
from vos.io.atomic_files import safe_name
from vos.io.json_file import plain_json, read_json
from vos.io.masks.mask_file import read_label_map, write_label_map
from vos.protocols.initializer import Initializer
from vos.registry.discovery import load_plugins
from vos.registry.options import make_options
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.label_map import object_ids
from vos.types.runtime import Runtime

FOLDER = "first-masks"
RECORD = "init.json"


@dataclass(frozen=True, eq=False)
class FirstMask:
    """The label map of a sequence's first frame, as an initializer made it.

    Attributes:
        label_map: uint8 (H, W), 0 and ids; without ids where the initializer found nothing.
        seconds: wall time of making it.
    """

    label_map: LabelMap
    seconds: float

    @property
    def empty(self) -> bool:
        """True if the initializer found no object."""
        return not self.label_map.any()


def first_mask(job: BenchmarkJob, sequence: str, *, anew: bool = False) -> FirstMask:
    """Make the first mask of a sequence, or take the one that an equal run has kept.

    Args:
        job: what to run; it names the initializer and its options.
        sequence: the sequence's name.
        anew: make it again in any case.
    Returns:
        The mask.
    Raises:
        VosError: the initializer cannot be made or failed, or the frame cannot be read.
    """
    folder = job.output / FOLDER / safe_name(sequence)
    record = _record_in(folder)
    settings = _mask_settings(job)
    if not anew and record is not None and _matches(record, settings):
        return FirstMask(read_label_map(folder / record["mask"], allow_empty=True), float(record["seconds"]))
    began = time.perf_counter()
    frame, label_map = _label_map(job, sequence)
    seconds = time.perf_counter() - began
    name = f"{frame.name}.png"
    folder.mkdir(parents=True, exist_ok=True)
    write_label_map(folder / name, label_map)
    content = {**settings, "mask": name, "objects": len(object_ids(label_map)), "seconds": round(seconds, 3)}
    write_text(folder / RECORD, json.dumps(content, indent=1) + "\n")
    return FirstMask(label_map, seconds)


def found_nothing(job: BenchmarkJob, sequence: str) -> bool:
    """Test whether an earlier run of the same initializer found no object in a sequence.

    Args:
        job: what to run; it names the initializer and its options.
        sequence: the sequence's name.
    Returns:
        True if so; False where it found some, or was not run with the installed versions.
    """
    record = _record_in(job.output / FOLDER / safe_name(sequence))
    return record is not None and record.get("objects") == 0 and _matches(record, _mask_settings(job))


def refuse_other_first_mask(job: BenchmarkJob, sequence: str, tracked: bool) -> None:
    """Refuse a sequence's output whose first mask was made in another way.

    Args:
        job: what to run.
        sequence: the sequence's name.
        tracked: the output holds masks of this sequence.
    Raises:
        OutputExistsError: its first mask is another initializer's, of other options, or was given.
    """
    folder = job.output / FOLDER / safe_name(sequence)
    record = _record_in(folder)
    if record is None:
        if not tracked or job.initializer is None:
            return
        found = "a given first mask"
    elif job.initializer is None:
        found = f"a first mask of {record.get('initializer')}"
    else:
        wanted = {key: value for key, value in _mask_settings(job).items() if key != "versions"}
        other = next((key for key in wanted if record.get(key) != wanted[key]), None)
        if other is None:
            return
        found = f"a first mask of another {other} ({record.get(other)!r}, now {wanted[other]!r})"
    raise OutputExistsError(
        f"{job.output / safe_name(sequence)} holds a run with {found}. Use --overwrite, or -o for another folder."
    )


def _record_in(folder: Path) -> dict[str, Any] | None:
    """The record of a kept mask; None where there is none that fits."""
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError):
        return None
    fits = isinstance(record, dict) and isinstance(record.get("mask"), str)
    return record if fits and isinstance(record.get("seconds"), (int, float)) else None


def _matches(record: dict[str, Any], settings: dict[str, Any]) -> bool:
    """True if a record has the same values for these keys."""
    return {key: record.get(key) for key in settings} == settings


def _mask_settings(job: BenchmarkJob) -> dict[str, Any]:
    """Settings that determine a first mask, as stored in its record."""
    assert job.initializer is not None, "first masks are made by an initializer"
    spec = load_plugins(job.plugin_modules, job.blocked).initializers.get(job.initializer)
    options = asdict(make_options(spec.options, job.init_options, f'initializer "{job.initializer}"'))
    settings: dict[str, Any] = {
        "initializer": job.initializer,
        "init_options": plain_json(options),
        "max_objects": job.most_objects,
        "precision": job.runtime.precision,
        "seed": job.runtime.seed,
        "versions": versions(),
    }
    return settings


def _label_map(job: BenchmarkJob, sequence: str) -> tuple[Frame, LabelMap]:
    """Run the initializer on a sequence's first frame, and choose at most as many objects as the protocol takes."""
    assert job.initializer is not None, "first masks are made by an initializer"
    options = json.dumps(dict(job.init_options), sort_keys=True, default=str)
    made, segments = _initializer(job.initializer, options, job.runtime, job.plugin_modules, job.blocked)
    most = job.most_objects
    source = open_source((job.tree.frame_folder / sequence).resolve(), load_plugins(job.plugin_modules, job.blocked))
    try:
        frame, others = read_clip(source, 0, made)
    finally:
        source.close()
    if "torch" in sys.modules:
        job.runtime.torch_device()  # seeds torch: masks do not depend on the sequences that came before
    try:
        label_map = find_objects(frame, made, job.initializer, others=others)
        if segments:
            return frame, select_objects(label_map, ObjectSelection(max_objects=most))
    except EmptyMaskError:
        return frame, np.zeros(frame.size, dtype=np.uint8)
    if len(object_ids(label_map)) > most:
        all_of_them = ObjectSelection(max_objects=most, min_area=0.0, max_area=1.0, max_border=1.0)
        return frame, select_objects(label_map, all_of_them)
    return frame, label_map


@lru_cache(maxsize=1)
def _initializer(
    name: str, options: str, runtime: Runtime, modules: tuple[str, ...], blocked: tuple[str, ...]
) -> tuple[Initializer, bool]:
    """The initializer, made once for all sequences of a process, and whether it gives segments of the whole frame."""
    made, spec = make_initializer(name, json.loads(options), runtime, load_plugins(modules, blocked))
    return made, spec.segments
