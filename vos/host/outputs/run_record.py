"""``run.json``: what a run was and whether it finished."""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from vos.errors import InputError, OutputError, VosError
from vos.host.doubts import DoubtDetector
from vos.host.timing import FrameTimes
from vos.io.atomic_files import PARTIAL_PREFIX, atomic_write
from vos.io.json_file import plain_json, read_json
from vos.io.output_lock import output_lock
from vos.io.source_identity import absolute_path, content_of
from vos.registry.hookspecs import hookimpl
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.prediction import Prediction
from vos.types.run import DoubtfulSpan, Run, RunSummary
from vos.version import __version__

logger = logging.getLogger(__name__)

RECORD_NAME = "run.json"

_KINDS: Mapping[str, tuple[type, ...]] = {
    "finished": (bool,),
    "state": (str,),
    "sequence": (str,),
    "source": (str,),
    "source_path": (str, type(None)),
    "source_content": (dict, type(None)),
    "tracker": (str,),
    "frames": (int,),
    "mask_files": (int,),
    "seconds": (int, float),
    "fps": (int, float),
    "truncated": (str, type(None)),
    "object_ids": (list,),
    "annotated": (list,),
    "outputs": (list,),
    "resumed": (list,),
    "look_at": (list,),
    "options": (dict,),
    "selection": (dict,),
    "details": (dict,),
    "versions": (dict,),
}
"""Types of a record's values, where a reader relies on them."""


class RunRecord:
    """Observer that keeps ``OUT/<sequence>/run.json``: unfinished from the first moment, finished at the end."""

    def __init__(
        self,
        outputs: Sequence[Mapping[str, str]],
        doubts: DoubtDetector,
        stale: Sequence[str] = (),
        kept: int = 0,
        resumed: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Prepare the record of a run that has not started.

        Args:
            outputs: the writers of the run with their options, as ``describe_writer`` gives them.
            doubts: collects the run's doubtful spans.
            stale: masks in the folder that this run writes again; removed once it has started.
            kept: number of masks of a continued earlier run that this run does not write again.
            resumed: each resumption of the run: the number of frames before it, and ``from``, "state" or "mask".
        """
        self._resumed = [dict(one) for one in resumed]
        self._kept = kept
        self._stale = list(stale)
        self._doubts = doubts
        self._outputs = [dict(output) for output in outputs]
        self._times = FrameTimes()
        self._frames = 0
        self._began = ""
        self._replaces = True
        self._identity: dict[str, Any] = {}

    @hookimpl(trylast=True)
    def vos_run_started(self, run: Run) -> None:
        """Remove an earlier run's masks of these frames, and write the record of a run that has begun."""
        assert run.output is not None, "added only to runs with an output folder"
        remove_files(run.output, self._stale)
        self._replaces = (run.output / RECORD_NAME).exists()
        self._began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._write(run, "running")
        self._times.start()

    @hookimpl(trylast=True)
    def vos_frame_done(self, run: Run, frame: Frame, prediction: Prediction, label_map: LabelMap) -> None:
        """Count a frame and its time."""
        self._frames += 1
        self._times.tick()

    @hookimpl(trylast=True)
    def vos_run_finished(self, run: Run, summary: RunSummary) -> None:
        """Write the record of a run that is done."""
        assert run.output is not None, "added only to runs with an output folder"
        self._write(
            run,
            "finished",
            object_ids=list(summary.object_ids),
            seconds=round(summary.seconds, 3),
            fps=round(summary.fps, 2),
            truncated=summary.truncated,
            mask_files=len(masks_in(run.output)),
        )

    @hookimpl(trylast=True)
    def vos_run_failed(self, run: Run, error: BaseException) -> None:
        """Write the record of a run that stopped early; none of a new run that bad input ended before any frame."""
        assert run.output is not None, "added only to runs with an output folder"
        if isinstance(error, InputError) and not self._frames and not self._replaces:
            remove_files(run.output, [RECORD_NAME])
            return
        try:
            self._write(run, **ended_by(error))
        except OutputError as again:
            if str(again) != str(error):  # else the run failed by this very error, which is shown once
                raise

    def _write(self, run: Run, state: str, **more: Any) -> None:
        assert run.output is not None, "added only to runs with an output folder"
        self._identity = self._identity or identity_of(run)  # of the video as it was when the run began
        record = {
            "finished": state == "finished",
            "state": state,
            "sequence": run.sequence,
            "frames": self._kept + self._frames,
            **self._identity,
            "source_kind": run.source.kind,
            "outputs": self._outputs,
            "resumed": self._resumed,
            "runtime": dict(run.runtime),
            "threads": threads_of(run),
            "started": self._began,
            "look_at": [dataclasses.asdict(span) for span in self._doubts.spans],
            "milliseconds_per_frame": self._times.summary(),
            "versions": versions(),
            **more,
        }
        atomic_write(run.output / RECORD_NAME, _as_text(record))


def identity_of(run: Run) -> dict[str, Any]:
    """Identity of a run, as stored in ``run.json``: runs of equal identity give equal masks.

    Args:
        run: a run.
    Returns:
        JSON-ready values: source, frames, tracker, its options, annotations, precision, seed. ``source`` is what the
        user typed; ``source_path`` is absolute, and None for what is no file or folder; ``source_content`` is that of
        a file, or the number of frames, and None where neither is known.
    """
    location = str(run.source.location)
    path = absolute_path(location)
    content = content_of(str(run.source.local_copy or path or ""))
    if content is None and run.source.frame_count is not None:
        content = {"frames": min(run.source.frame_count, run.selection.get("stop", run.source.frame_count))}
    identity = {
        "source": location,
        "source_path": path,
        "source_content": content,
        "selection": dict(run.selection),
        "both_ways": run.both_ways,
        "annotated": list(run.annotated),
        "annotation_digest": run.annotation_digest,
        "tracker": run.tracker,
        "options": dict(run.options),
        "details": dict(run.details),
        "seed": run.runtime.get("seed"),
        "precision": run.runtime.get("precision"),
    }
    plain: dict[str, Any] = plain_json(identity)
    return plain


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of a run.

    Args:
        folder: ``OUT/<sequence>``.
    Returns:
        The record, or None where there is none that can be read, or its values have other types.
    """
    try:
        record = read_json(folder / RECORD_NAME)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and _has_types(record) else None


def remove_partials(folder: Path) -> None:
    """Remove the temporary files that a killed run left in its folder; called while the folder is locked."""
    remove_files(folder, [path.name for path in folder.glob(f"{PARTIAL_PREFIX}*")])


def record_interruption(folder: Path, error: BaseException) -> None:
    """End a run whose process was killed: its record says "running", and its temporary files stayed.

    Args:
        folder: ``OUT/<sequence>``.
        error: why; ``KeyboardInterrupt`` makes a stopped run of it, any other a failed one.
    """
    record = read_record(folder)
    if record is None or record.get("state") != "running":
        return
    try:
        with output_lock(folder):
            remove_partials(folder)
            atomic_write(folder / RECORD_NAME, _as_text({**record, **ended_by(error)}))
    except VosError as later:  # another process runs it, or the disk is full
        logger.debug("%s: %s", folder, later)


def ended_by(error: BaseException) -> dict[str, Any]:
    """The state of a run that an error ended, as its record has it."""
    stopped = isinstance(error, (KeyboardInterrupt, GeneratorExit))
    return {"state": "stopped" if stopped else "failed", "error": f"{type(error).__name__}: {error}".rstrip(": ")}


def threads_of(run: Run) -> int | None:
    """CPU threads of torch in this process, or the setting if the process has not loaded torch."""
    torch = sys.modules.get("torch")
    return run.runtime.get("threads") if torch is None else int(torch.get_num_threads())


def _as_text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, default=str) + "\n"


def _has_types(record: Mapping[str, Any]) -> bool:
    """True if a record's values have the types that a run writes."""
    if any(key in record and not isinstance(record[key], kinds) for key, kinds in _KINDS.items()):
        return False
    if not all(isinstance(output, dict) for output in record.get("outputs", ())):
        return False
    numbers = [*record.get("object_ids", ()), *record.get("annotated", ())]
    return all(type(number) is int for number in numbers)


def versions() -> dict[str, str]:
    """Versions of Python, the toolkit and the libraries that decide masks.

    Returns:
        Version by name; libraries that are not installed are left out.
    """
    return dict(_versions())


@cache  # each version is read from a file, and a batch asks for them with every job
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "vos": __version__}
    for name in ("numpy", "opencv-python", "torch", "av", "pillow"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def recorded_doubts(record: Mapping[str, Any]) -> tuple[DoubtfulSpan, ...]:
    """Return the spans to look at that a record holds; none where they cannot be read."""
    try:
        return tuple(
            DoubtfulSpan(int(one["object_id"]), int(one["first"]), int(one["last"]), tuple(map(str, one["reasons"])))
            for one in record.get("look_at", ())
        )
    except (TypeError, KeyError, ValueError):
        return ()


def masks_in(folder: Path) -> list[str]:
    """List the mask files of a run's folder by name, sorted."""
    return sorted(path.name for path in folder.glob("[!.]*.png"))


def remove_files(folder: Path, names: Sequence[str]) -> None:
    """Remove files of a folder by name.

    Raises:
        InputError: one cannot be removed.
    """
    try:
        for name in names:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as the output folder ({error.strerror}).") from error
