"""``run.json``: what a run was and whether it finished; and what to do with one that is there already."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from vos.errors import InputError, OutputExistsError
from vos.host.timing import FrameTimes
from vos.io.atomic_files import PARTIAL_PREFIX, atomic_write
from vos.registry.hookspecs import hookimpl
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.prediction import Prediction
from vos.types.run import Run, RunSummary
from vos.version import __version__

logger = logging.getLogger(__name__)

RECORD_NAME = "run.json"


class RunRecord:
    """Observer that keeps ``OUT/<sequence>/run.json``: unfinished from the first moment, finished at the end."""

    def __init__(self, folder: Path, outputs: Sequence[Mapping[str, str]]) -> None:
        """Begin with nothing done.

        Args:
            folder: the run's own; an earlier run's masks in it are removed once this one has started.
            outputs: the writers of the run with their options, as ``prepare_output`` takes them.
        """
        self._earlier = [] if read_record(folder) is None else _masks_in(folder)
        self._outputs = [dict(output) for output in outputs]
        self._times = FrameTimes()
        self._frames = 0
        self._began = ""

    @hookimpl
    def vos_run_started(self, run: Run) -> None:
        """Remove an earlier run's masks, and write the record of a run that has begun."""
        assert run.output is not None, "added only to runs with an output folder"
        _remove(run.output, self._earlier)
        self._began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._write(run, "running")
        self._times.start()

    @hookimpl
    def vos_frame_done(self, run: Run, frame: Frame, prediction: Prediction, label_map: LabelMap) -> None:
        """Count a frame and its time."""
        self._frames += 1
        self._times.tick()

    @hookimpl
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
            mask_files=len(_masks_in(run.output)),
        )

    @hookimpl
    def vos_run_failed(self, run: Run, error: BaseException) -> None:
        """Write the record of a run that stopped early."""
        stopped = isinstance(error, (KeyboardInterrupt, GeneratorExit))
        self._write(run, "stopped" if stopped else "failed", error=f"{type(error).__name__}: {error}".rstrip(": "))

    def _write(self, run: Run, state: str, **more: Any) -> None:
        assert run.output is not None, "added only to runs with an output folder"
        record = {
            "finished": state == "finished",
            "state": state,
            "sequence": run.sequence,
            "frames": self._frames,
            **identity_of(run),
            "source_kind": run.source.kind,
            "outputs": self._outputs,
            "runtime": dict(run.runtime),
            "started": self._began,
            "milliseconds_per_frame": self._times.summary(),
            "versions": versions(),
            **more,
        }
        atomic_write(run.output / RECORD_NAME, json.dumps(record, indent=2, default=str) + "\n")


def identity_of(run: Run) -> dict[str, Any]:
    """What makes two runs the same, as it stands in ``run.json``: equal values give equal masks.

    Args:
        run: a run.
    Returns:
        JSON-ready values: source, frames, tracker, its options, annotations, precision, seed.
    """
    identity = {
        "source": str(run.source.location),
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
    plain: dict[str, Any] = json.loads(json.dumps(identity, default=str))
    return plain


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of a run.

    Args:
        folder: ``OUT/<sequence>``.
    Returns:
        The record, or None where there is none that can be read.
    """
    try:
        record = json.loads((folder / RECORD_NAME).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def replaceable(folder: Path) -> list[Path]:
    """List what a run may replace or remove in its own folder, and the folder itself.

    Args:
        folder: ``OUT/<sequence>``; need not be there.
    Returns:
        Paths.
    """
    try:
        masks = _masks_in(folder)
    except OSError:  # a name that is too long, say: nothing is there, and preparing the output will say so
        masks = []
    return [folder, folder / RECORD_NAME, *(folder / name for name in masks)]


def prepare_output(
    run: Run, outputs: Sequence[Mapping[str, str]], *, resume: bool, overwrite: bool
) -> RunSummary | None:
    """Make the output folder ready, or find that there is nothing to do. An earlier run's masks stay until
    the run has started.

    Args:
        run: with its output folder.
        outputs: what is asked for: ``writer``, its name, and its options as text.
        resume: skip a finished run of the same identity, redo one that is unfinished or lacks an output.
        overwrite: replace whatever an earlier run left.
    Returns:
        A summary of the finished run, if it is to be skipped; else None.
    Raises:
        OutputExistsError: there is an earlier run, and it may not be touched.
        InputError: the folder cannot be made.
    """
    folder = run.output
    assert folder is not None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record, held = read_record(folder), _masks_in(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as the output folder ({error.strerror}).") from error
    if record is None and held and not overwrite:
        raise OutputExistsError(
            f"{folder} holds {len(held)} PNG files that no run of vos recorded (first {held[0]}). "
            "Choose another folder with -o, or --overwrite."
        )
    if record is not None and not overwrite:
        if not resume:
            state = "a finished run" if record.get("finished") else "an unfinished run"
            raise OutputExistsError(
                f"{folder} holds {state} of tracker {record.get('tracker')!r}. "
                "Use --resume to continue, --overwrite to replace it, or -o for another folder."
            )
        other = _difference(record, run)
        if other is not None:
            raise OutputExistsError(
                f"{folder}: --resume found a run with another {other}. Use --overwrite, or -o for another folder."
            )
        missing = _missing_outputs(record, outputs)
        if record.get("finished") and len(held) == record.get("mask_files") and missing:
            logger.info("%s: finished, but without %s: tracked again.", folder, " and ".join(missing))
        elif record.get("finished") and len(held) == record.get("mask_files"):
            logger.info("%s: finished, skipped.", folder)
            return RunSummary(
                run,
                int(record.get("frames", 0)),
                tuple(record.get("object_ids", ())),
                float(record.get("seconds", 0.0)),
                truncated=record.get("truncated"),
                skipped=True,
            )
    _remove(folder, [path.name for path in folder.glob(f"{PARTIAL_PREFIX}*")])
    return None


def versions() -> dict[str, str]:
    """Versions of Python, the toolkit and the libraries that decide masks.

    Returns:
        Version by name; libraries that are not installed are left out.
    """
    found = {"python": platform.python_version(), "vos": __version__}
    for name in ("numpy", "opencv-python", "torch", "av", "pillow"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _difference(record: Mapping[str, Any], run: Run) -> str | None:
    """Name the first fact in which a recorded run differs from one that is asked for."""
    for name, wanted in identity_of(run).items():
        found = record.get(name)
        if isinstance(found, dict) and isinstance(wanted, dict):
            for key in (*wanted, *found):
                if found.get(key) != wanted.get(key):
                    return f"{key} in its {name} ({found.get(key)!r}, now {wanted.get(key)!r})"
        elif found != wanted:
            return f"{name.replace('_', ' ')} ({found!r}, now {wanted!r})"
    return None


def _masks_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*.png"))


def _missing_outputs(record: Mapping[str, Any], outputs: Sequence[Mapping[str, str]]) -> list[str]:
    """Name the outputs that a recorded run did not write, or whose file is gone."""
    there = record.get("outputs", [{"writer": "davis"}])
    return [
        output["writer"]
        for output in outputs
        if dict(output) not in there or ("path" in output and not Path(output["path"]).exists())
    ]


def _remove(folder: Path, names: list[str]) -> None:
    """Remove an earlier run's masks, or what a crash left behind; nothing else in the folder."""
    try:
        for name in names:
            (folder / name).unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as the output folder ({error.strerror}).") from error
