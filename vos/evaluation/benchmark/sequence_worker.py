"""The worker of ``vos davis``: tracks and scores one sequence after another, and keeps its tracker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vos.errors import InputError
from vos.evaluation.benchmark.first_masks import FirstMask, first_mask
from vos.evaluation.benchmark.results import NOTHING_FOUND, BenchmarkJob, SequenceResult
from vos.evaluation.datasets.mask_folders import NAME_THE_OTHERS, evaluate
from vos.evaluation.reports.environment import compute_facts
from vos.host.annotations.annotation_loading import GivenAnnotations
from vos.host.jobs.job_progress import FrameReporter
from vos.host.outputs.run_record import RECORD_NAME, read_record, remove_files, versions
from vos.host.tracker_making import MadeTracker, make_tracker
from vos.host.tracking import track
from vos.io.atomic_files import safe_name
from vos.io.masks.mask_file import read_label_map, write_label_map
from vos.protocols.executor import ReportFrame
from vos.registry.discovery import load_plugins
from vos.registry.hookspecs import hookimpl
from vos.types.annotation import Annotation
from vos.types.arrays import LabelMap
from vos.types.label_map import VOID, object_ids
from vos.types.run import Run, RunSummary

SEQUENCE_WORKER = "vos.evaluation.benchmark.sequence_worker:worker_of"


def worker_of(job: Mapping[str, Any]) -> SequenceWorker:
    """Make a worker from plain data, as a ``WorkerPlan`` needs it.

    Args:
        job: ``BenchmarkJob.to_plain``.
    """
    return SequenceWorker(BenchmarkJob.from_plain(job))


class SequenceWorker:
    """Tracks and scores sequences of one benchmark with one tracker, which is made for the first of them."""

    def __init__(self, job: BenchmarkJob) -> None:
        """Load the plugins.

        Args:
            job: what to run.
        """
        self._job = job
        self._plugins = load_plugins(job.plugin_modules, job.blocked)
        self._made: MadeTracker | None = None

    def __call__(self, work: Mapping[str, Any], report: ReportFrame) -> dict[str, Any]:
        """Run one sequence in a worker process.

        Args:
            work: ``sequence``, its name.
            report: called at each frame.
        Returns:
            ``SequenceResult.to_plain``.
        """
        return self.run(work["sequence"], [FrameReporter(report)]).to_plain()

    def run(self, name: str, observers: Sequence[object] = ()) -> SequenceResult:
        """Track and score one sequence.

        Args:
            name: of the sequence.
            observers: objects with observation hooks.
        Raises:
            VosError: the sequence cannot be read, tracked or scored.
        """
        job = self._job
        try:
            first = None if job.initializer is None else first_mask(job, name, anew=to_replace(job, name))
            if first is not None and first.empty:
                summary = None
                _write_empty(job, name, first)
            else:
                summary = self._track(name, _first_annotation(job, name, first), observers)
            scores = evaluate(
                job.tree.annotation_folder, job.output, protocol=job.rules, sequences=[name], name=job.tracker
            )
        except OSError as error:
            raise InputError(f"{error.filename or name}: cannot be read ({error.strerror}).") from error
        seconds = None if first is None else first.seconds
        compute = compute_facts(job.runtime)
        if summary is None:
            (sequence,) = scores.sequences
            scores = replace(scores, sequences=(replace(sequence, notes=(*sequence.notes, NOTHING_FOUND)),))
            return SequenceResult(name, len(job.tree.frames(name)), 0.0, False, {}, scores, seconds, compute)
        return SequenceResult(
            name,
            summary.frames,
            summary.seconds,
            summary.skipped,
            dict(summary.run.details),
            scores,
            seconds,
            compute,
            summary.run.frames_before,
        )

    def close(self) -> None:
        """Close the tracker."""
        if self._made is not None:
            self._made.close()

    def _track(self, name: str, annotation: GivenAnnotations, observers: Sequence[object]) -> RunSummary:
        job = self._job
        if self._made is None:
            self._made = make_tracker(job.tracker, job.options, job.runtime, self._plugins)
        replace_it = to_replace(job, name)
        return track(
            (job.tree.frame_folder / name).resolve(),
            annotation,
            tracker=self._made,
            output=job.output,
            runtime=job.runtime,
            max_side=job.max_side,
            resume=False if replace_it else "exact",
            overwrite=replace_it,
            sequence=name,
            plugins=self._plugins,
            observers=[*observers, _EmptyMasks({path.stem for path in job.tree.annotations(name)})],
        )


class _EmptyMasks:
    """Observer that writes a mask without objects for each scored frame before the first object appears.

    The host calls it before the run's record, which counts the masks.
    """

    def __init__(self, scored: Collection[str]) -> None:
        self._scored = scored

    @hookimpl
    def vos_run_finished(self, run: Run) -> None:
        """Write the masks."""
        assert run.output is not None, "a benchmark writes masks"
        assert run.source.size is not None, "a folder of images has a size"
        names = (run.source.frame_names or ())[: run.annotated[0]]
        for name in (name for name in names if name in self._scored):
            write_label_map(run.output / f"{safe_name(name)}.png", np.zeros(run.source.size, np.uint8))


def to_replace(job: BenchmarkJob, name: str) -> bool:
    """True if earlier masks are replaced: the user asked for it, or other versions of the toolkit made them."""
    record = read_record(job.output / safe_name(name))
    outdated = record is not None and record.get("versions") != versions()
    wanted = not job.sequences or name in job.sequences
    return (job.overwrite and wanted) or outdated


def _write_empty(job: BenchmarkJob, name: str, first: FirstMask) -> None:
    """Write a label map without objects for each frame of a sequence in which nothing was found."""
    folder = job.output / safe_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    remove_files(folder, [RECORD_NAME])  # of an earlier run, whose masks are replaced
    for frame in job.tree.frames(name):
        write_label_map(folder / f"{frame.stem}.png", first.label_map)


def _first_annotation(job: BenchmarkJob, name: str, first: FirstMask | None) -> GivenAnnotations:
    """Read a sequence's first label map; None if each object starts where it first appears."""
    rules = job.rules
    if first is not None:
        return Annotation(_merged(first.label_map) if rules.merge else first.label_map, 0)
    if rules.objects == "from-appearance":
        return None
    path = job.tree.annotations(name)[0]
    label_map = read_label_map(path, allow_empty=True)
    if not object_ids(label_map):
        raise InputError(
            f"{path}: no object in the first annotated frame, which the tracker is given. Take --protocol youtube-vos, "
            f"which gives each object where it first appears, or leave the sequence out {NAME_THE_OTHERS}."
        )
    frames = [frame.stem for frame in job.tree.frames(name)]
    if path.stem not in frames:
        raise InputError(f"{path}: no frame of that name in {job.tree.frame_folder / name}.")
    return Annotation(_merged(label_map) if rules.merge else label_map, frames.index(path.stem))


def _merged(label_map: LabelMap) -> LabelMap:
    """All objects as one; void is background."""
    return ((label_map > 0) & (label_map < VOID)).astype(np.uint8)
