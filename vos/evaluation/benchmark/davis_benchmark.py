"""A tracker over a DAVIS tree: every sequence tracked, scored as it ends, and joined in one table.

Worker processes take sequences as they come free; each has its share of the CPU threads, so that they do not
fight. What is finished is skipped in a later run, if tracker, options, annotations and versions are the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vos.errors import InputError, OptionError, OutputExistsError, VosError
from vos.evaluation.datasets.davis_layout import DavisTree
from vos.evaluation.datasets.mask_folders import evaluate
from vos.evaluation.reports.tables import percent, table, write_csv, write_text
from vos.evaluation.video.protocol import Protocol, protocol_named, protocol_of_set
from vos.evaluation.video.scores import Scores
from vos.host.input_protection import refuse_replacing
from vos.io.atomic_files import safe_name
from vos.io.mask_file import read_label_map
from vos.registry.discovery import load_plugins
from vos.types.annotation import Annotation
from vos.types.label_map import VOID
from vos.types.runtime import Runtime

if TYPE_CHECKING:
    from vos.host.annotation_loading import GivenAnnotations
    from vos.types.run import RunSummary


@dataclass(frozen=True)
class BenchmarkJob:
    """What to run; plain data, so that it reaches worker processes.

    Attributes:
        root: root of a DAVIS-like tree.
        output: folder; masks go to ``output/SEQUENCE``, results beside them.
        set_name: a set of the tree (``"2017/val"``); None for all annotated sequences.
        tracker: a tracker's name.
        options: its options by name.
        protocol: a protocol's name; None for what fits the set.
        resolution: folder of the tree (``"480p"``); None for the first that is there.
        sequences: only these of the set; empty for all.
        max_side: the tracker sees frames at most this long, pixels.
        runtime: device, precision, threads, seed; threads are those of each worker.
        overwrite: replace what an earlier run left.
        plugin_modules: as ``-p``.
        blocked: as ``--no-plugin``.
    """

    root: Path
    output: Path
    set_name: str | None
    tracker: str
    options: Mapping[str, Any]
    protocol: str | None = None
    resolution: str | None = None
    sequences: tuple[str, ...] = ()
    max_side: int | None = None
    runtime: Runtime = field(default_factory=Runtime)
    overwrite: bool = False
    plugin_modules: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @property
    def rules(self) -> Protocol:
        """The protocol: the one given, else DAVIS-2016 for its sets, YouTube-VOS for a tree without sets."""
        if self.protocol is not None:
            return protocol_named(self.protocol)
        if self.set_name is None and not self.tree.sets():
            return protocol_named("youtube-vos")
        return protocol_named(protocol_of_set(self.set_name))

    @property
    def tree(self) -> DavisTree:
        """The data set."""
        return DavisTree(self.root, self.resolution)


@dataclass(frozen=True)
class SequenceResult:
    """One sequence, tracked and scored.

    Attributes:
        sequence: its name.
        frames: how many frames were tracked.
        seconds: wall time of tracking them, reading and writing included.
        skipped: an earlier run had finished it; the time is that run's.
        details: what the tracker says of itself.
        scores: of this sequence alone.
    """

    sequence: str
    frames: int
    seconds: float
    skipped: bool
    details: Mapping[str, Any]
    scores: Scores

    @property
    def fps(self) -> float:
        """Frames per second; 0 if the time is not known."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def line(self) -> str:
        """One line for people."""
        sequence = self.scores.sequences[0]
        before = ", finished before" if self.skipped else ""
        return (
            f"{self.sequence}: J&F {percent(sequence.j_and_f)}, J {percent(sequence.j.mean)}, "
            f"F {percent(sequence.f.mean)}; {self.frames} frames, {self.fps:.1f} frames/s{before}"
        )


@dataclass(frozen=True)
class BenchmarkResult:
    """All sequences of a set, and what made them.

    Attributes:
        job: what was asked for.
        options: the tracker's options, defaults included.
        versions: of the toolkit and the libraries that decide masks.
        workers: processes.
        sequences: results in the order of the set.
        scores: of the whole set.
    """

    job: BenchmarkJob
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    workers: int
    sequences: tuple[SequenceResult, ...]
    scores: Scores

    @property
    def fps(self) -> float:
        """Frames per second of one worker: all frames over the sum of the sequences' times."""
        seconds = sum(result.seconds for result in self.sequences)
        return sum(result.frames for result in self.sequences) / seconds if seconds else 0.0

    def table(self) -> str:
        """The final table: who, how, with what, and the scores times 100."""
        options = ", ".join(f"{key}={value}" for key, value in self.options.items()) or "none"
        details = {key: value for result in self.sequences[:1] for key, value in result.details.items()}
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        threads = self.job.runtime.threads
        facts = [
            f"set:      {self.job.set_name or 'all'} of {self.job.root} ({self.scores.protocol.name})",
            f"tracker:  {self.job.tracker}" + "".join(f", {key} {value}" for key, value in details.items()),
            f"options:  {options}",
            f"versions: {versions}",
            f"speed:    {self.fps:.2f} frames/s in each of {self.workers} process{'es' if self.workers > 1 else ''}"
            + (f" of {threads} thread{'s' if threads > 1 else ''}" if threads else ""),
        ]
        rows = [["Sequence", "J&F", "J", "F", "frames/s"]]
        for result in self.sequences:
            scores = result.scores.sequences[0]
            numbers = (scores.j_and_f, scores.j.mean, scores.f.mean)
            rows.append([result.sequence, *map(percent, numbers), f"{result.fps:.1f}"])
        whole = self.scores
        rows.append(["All objects", *map(percent, (whole.j_and_f, whole.j.mean, whole.f.mean)), f"{self.fps:.1f}"])
        more = (
            f"J recall {percent(whole.j.recall)}, J decay {percent(whole.j.decay)}, "
            f"F recall {percent(whole.f.recall)}, F decay {percent(whole.f.decay)}"
        )
        return "\n".join([*facts, "", table(rows), "", more])

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "set": self.job.set_name,
            "tracker": self.job.tracker,
            "options": json.loads(json.dumps(dict(self.options), default=str)),
            "details": dict(self.sequences[0].details) if self.sequences else {},
            "versions": dict(self.versions),
            "seed": self.job.runtime.seed,
            "max_side": self.job.max_side,
            "workers": self.workers,
            "fps": self.fps,
            "timing": [
                {"sequence": r.sequence, "frames": r.frames, "seconds": r.seconds, "skipped": r.skipped}
                for r in self.sequences
            ],
            **self.scores.to_json(),
        }


def benchmark(
    job: BenchmarkJob,
    workers: int = 1,
    *,
    told: Callable[[SequenceResult], None] | None = None,
    observers: Sequence[object] = (),
) -> BenchmarkResult:
    """Track and score every sequence of a set, and write the results.

    Writes ``results.json``, ``results.txt`` and the two official CSV tables to the output folder.

    Args:
        job: what to run.
        workers: processes; with more than one, each starts anew (``spawn``), so a script that calls this
            needs the usual ``if __name__ == "__main__":``.
        told: called with each sequence's result as it ends.
        observers: objects with observation hooks, for a run in this process (one worker).
    Returns:
        The results.
    Raises:
        InputError: bad tree, set, tracker or option, or an output folder that holds another run.
        VosError: sequences that failed; the others are done, and a second run takes up from there.
    """
    from vos.host.run_record import versions
    from vos.host.tracking import tracker_options

    rules = job.rules
    if rules.max_proposals is not None:
        raise OptionError(f"{rules.name} is for methods without a first mask; trackers take a first mask.")
    names = job.tree.sequences(job.set_name)
    unknown = [name for name in job.sequences if name not in names]
    if unknown:
        raise InputError(f"{job.set_name or job.root} has no sequence {unknown[0]}. It has: {', '.join(names)}.")
    names = [name for name in names if not job.sequences or name in job.sequences]
    refuse_replacing(
        [job.output / safe_name(name) for name in names],
        [folder / name for folder in (job.tree.frame_folder, job.tree.annotation_folder) for name in names],
    )
    plugins = load_plugins(job.plugin_modules, job.blocked)
    options = asdict(tracker_options(job.tracker, job.options, plugins)[1])
    if not job.overwrite:
        _refuse_other_runs(job, names, options)
    workers = max(1, min(workers, len(names)))
    if workers > 1 and job.runtime.threads is None:
        job = replace(job, runtime=replace(job.runtime, threads=max(1, _cpu_count() // workers)))
    results: dict[str, SequenceResult] = {}
    failed: dict[str, VosError] = {}
    for name, outcome in _outcomes(job, names, workers, observers):
        if isinstance(outcome, VosError):
            failed[name] = outcome
            continue
        results[name] = outcome
        if told is not None:
            told(outcome)
    if failed:
        kind = InputError if all(isinstance(error, InputError) for error in failed.values()) else VosError
        lines = "\n".join(f"  {name}: {error}" for name, error in failed.items())
        raise kind(f"{len(failed)} of {len(names)} sequences failed; the others are done.\n{lines}")
    ordered = tuple(results[name] for name in names)
    scores = Scores(
        job.tracker,
        rules,
        ordered[0].scores.tolerance,
        tuple(result.scores.sequences[0] for result in ordered),
        files={name: files for result in ordered for name, files in result.scores.files.items()},
    )
    result = BenchmarkResult(job, options, versions(), workers, ordered, scores)
    write_text(job.output / "results.json", json.dumps(result.to_json(), indent=1) + "\n")
    write_text(job.output / "results.txt", result.table() + "\n")
    write_csv(job.output, scores, (job.set_name or "all").rsplit("/", 1)[-1])
    return result


def _refuse_other_runs(job: BenchmarkJob, names: Sequence[str], options: Mapping[str, Any]) -> None:
    """Refuse, before anything is tracked, an output folder with masks of another tracker or other options."""
    from vos.host.run_record import read_record

    wanted = {
        "tracker": job.tracker,
        "options": json.loads(json.dumps(dict(options), default=str)),
        "selection": {} if job.max_side is None else {"max_side": job.max_side},
        "precision": job.runtime.precision,
        "seed": job.runtime.seed,
    }
    for name in names:
        folder = job.output / safe_name(name)
        record = read_record(folder)
        for key, value in wanted.items():
            if record is not None and record.get(key) != value:
                other = {"options": "other options", "selection": "another --max-side"}.get(key, f"another {key}")
                raise OutputExistsError(
                    f"{folder} holds a run with {other} ({record.get(key)!r}, now {value!r}). "
                    "Use --overwrite, or -o for another folder."
                )


def _outcomes(
    job: BenchmarkJob, names: Sequence[str], workers: int, observers: Sequence[object]
) -> Iterator[tuple[str, SequenceResult | VosError]]:
    """Run all sequences, and give each result, or error, as it ends."""
    if workers == 1:
        for name in names:
            yield name, _run(job, name, observers)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _prepare_worker, (job.runtime.threads or 1,)) as pool:
        futures = {pool.submit(_run, job, name): name for name in _longest_first(job.tree, names)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise VosError(
                "a worker process died (out of memory, or killed). What is finished is kept; "
                "run again, with fewer processes (-j)."
            ) from None
        except BaseException:
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def _longest_first(tree: DavisTree, names: Sequence[str]) -> list[str]:
    """The order that keeps all workers busy to the end; a sequence without images comes last, and fails alone."""

    def length(name: str) -> int:
        try:
            return len(tree.frames(name))
        except InputError:
            return 0

    return sorted(names, key=length, reverse=True)


def _prepare_worker(threads: int) -> None:
    """Give a new process its share of the CPU, before a library counts the cores."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    import cv2

    cv2.setNumThreads(threads)


def _run(job: BenchmarkJob, name: str, observers: Sequence[object] = ()) -> SequenceResult | VosError:
    """Track and score one sequence; a failure is returned, so that the others go on."""
    try:
        summary = _track(job, name, observers)
        scores = evaluate(
            job.tree.annotation_folder, job.output, protocol=job.rules, sequences=[name], name=job.tracker
        )
    except VosError as error:
        return error
    except OSError as error:
        return InputError(f"{error.filename or name}: cannot be read ({error.strerror}).")
    details = dict(summary.run.details)
    return SequenceResult(name, summary.frames, summary.seconds, summary.skipped, details, scores)


def _track(job: BenchmarkJob, name: str, observers: Sequence[object]) -> RunSummary:
    from vos.host.run_record import read_record, versions
    from vos.host.tracking import track

    record = read_record(job.output / safe_name(name))
    outdated = record is not None and record.get("versions") != versions()
    replace_it = job.overwrite or outdated
    return track(
        (job.tree.frame_folder / name).resolve(),
        _first_annotation(job, name),
        tracker=job.tracker,
        options=job.options,
        output=job.output,
        runtime=job.runtime,
        max_side=job.max_side,
        resume=not replace_it,
        overwrite=replace_it,
        sequence=name,
        plugins=load_plugins(job.plugin_modules, job.blocked),
        observers=observers,
    )


def _first_annotation(job: BenchmarkJob, name: str) -> GivenAnnotations:
    """What the benchmark gives a tracker: the first label map, or each object where it first appears."""
    rules = job.rules
    if rules.objects == "from-appearance":
        return None
    path = job.tree.annotations(name)[0]
    label_map = read_label_map(path)
    if rules.merge:
        label_map = ((label_map > 0) & (label_map < VOID)).astype(np.uint8)
    frames = [frame.stem for frame in job.tree.frames(name)]
    if path.stem not in frames:
        raise InputError(f"{path}: no frame of that name in {job.tree.frame_folder / name}.")
    return Annotation(label_map, frames.index(path.stem))


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
