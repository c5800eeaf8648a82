"""Run a tracker on a DAVIS tree: track every sequence, score it when it ends, and write one table.

Idle worker processes take the next sequence; each has an equal share of the CPU threads. A later run skips
finished sequences if tracker, options, annotations and versions are the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vos.errors import InputError, OutputExistsError, VosError
from vos.evaluation.benchmark.first_masks import FirstMask, first_mask, found_nothing, refuse_other_first_mask
from vos.evaluation.benchmark.results import NOTHING_FOUND, BenchmarkJob, BenchmarkResult, SequenceResult
from vos.evaluation.datasets.davis_layout import DavisTree
from vos.evaluation.datasets.mask_folders import evaluate
from vos.evaluation.reports.environment import compute_facts
from vos.evaluation.reports.tables import write_csv, write_text
from vos.evaluation.video.scores import Scores
from vos.host.outputs.input_protection import refuse_replacing
from vos.io.atomic_files import safe_name
from vos.io.json_file import read_json
from vos.io.masks.mask_file import read_label_map, write_label_map
from vos.registry.discovery import load_plugins
from vos.registry.options import make_options
from vos.types.annotation import Annotation
from vos.types.arrays import LabelMap
from vos.types.label_map import VOID

if TYPE_CHECKING:
    from vos.host.annotations.annotation_loading import GivenAnnotations
    from vos.types.run import RunSummary


def benchmark(
    job: BenchmarkJob,
    workers: int = 1,
    *,
    on_result: Callable[[SequenceResult], None] | None = None,
    observers: Sequence[object] = (),
) -> BenchmarkResult:
    """Track and score every sequence of a set, and write the results.

    Writes ``results.json``, ``results.txt`` and the two official CSV tables to the output folder.

    Args:
        job: what to run.
        workers: processes; with more than one, each starts anew (``spawn``), so a script that calls this
            needs the usual ``if __name__ == "__main__":``.
        on_result: called with each sequence's result as it ends.
        observers: objects with observation hooks, for a run in this process (one worker).
    Returns:
        The results.
    Raises:
        InputError: bad tree, set, tracker or option, or an output folder that holds another run.
        VosError: sequences that failed; the others are done, and a second run skips those.
    """
    from vos.host.outputs.run_record import versions
    from vos.host.tracker_making import tracker_options

    job.check()
    names = sequences_of(job)
    refuse_replacing(
        [job.output / safe_name(name) for name in names],
        [folder / name for folder in (job.tree.frame_folder, job.tree.annotation_folder) for name in names],
    )
    plugins = load_plugins(job.plugin_modules, job.blocked)
    options = asdict(tracker_options(job.tracker, job.options, plugins)[1])
    if job.initializer is not None:
        make_options(
            plugins.initializers.get(job.initializer).options, job.init_options, f'initializer "{job.initializer}"'
        )
    if not job.overwrite:
        _refuse_other_runs(job, names, options)
    workers = max(1, min(workers, len(names)))
    if workers > 1 and job.runtime.threads is None:
        job = replace(job, runtime=replace(job.runtime, threads=max(1, _cpu_count() // workers)))
    results = _all_results(job, names, workers, on_result, observers)
    scores = Scores(
        job.tracker,
        job.rules,
        results[0].scores.tolerance,
        tuple(result.scores.sequences[0] for result in results),
        files={name: files for result in results for name, files in result.scores.files.items()},
    )
    result = BenchmarkResult(job, options, versions(), workers, results, scores)
    write_text(job.output / "results.json", json.dumps(result.to_json(), indent=1) + "\n")
    write_text(job.output / "results.txt", result.table() + "\n")
    write_csv(job.output, scores, (job.set_name or "all").rsplit("/", 1)[-1])
    return result


def sequences_of(job: BenchmarkJob) -> list[str]:
    """List the sequences of a run, those that an earlier run finished among them.

    Args:
        job: what to run.
    Returns:
        Names, in the order of the set.
    Raises:
        InputError: no such set, or a sequence that it does not have.
    """
    names = job.tree.sequences(job.set_name)
    unknown = [name for name in job.sequences if name not in names]
    if unknown:
        raise InputError(f"{job.set_name or job.root} has no sequence {unknown[0]}. It has: {', '.join(names)}.")
    added = finished_before(job) if job.sequences else ()
    return [name for name in names if not job.sequences or name in job.sequences or name in added]


def _all_results(
    job: BenchmarkJob,
    names: Sequence[str],
    workers: int,
    on_result: Callable[[SequenceResult], None] | None,
    observers: Sequence[object],
) -> tuple[SequenceResult, ...]:
    """Run all sequences, then raise one error for those that failed; results are in the order of ``names``."""
    results: dict[str, SequenceResult] = {}
    failed: dict[str, VosError] = {}
    for name, outcome in _outcomes(job, names, workers, observers):
        if isinstance(outcome, VosError):
            failed[name] = outcome
            continue
        results[name] = outcome
        if on_result is not None:
            on_result(outcome)
    if failed:
        kind = InputError if all(isinstance(error, InputError) for error in failed.values()) else VosError
        (first, *others) = dict.fromkeys(str(error) for error in failed.values())
        if len(failed) == len(names) > 1 and not others:
            raise kind(f"all {len(names)} sequences failed: {first}")
        lines = "\n".join(f"  {name}: {error}" for name, error in failed.items())
        raise kind(f"{len(failed)} of {len(names)} sequences failed; the others are done.\n{lines}")
    return tuple(results[name] for name in names)


def finished_before(job: BenchmarkJob) -> tuple[str, ...]:
    """List the sequences in the output folder's results that ``--sequence`` adds to.

    Args:
        job: what to run.
    Returns:
        Sequences that an earlier run finished with the installed versions; they are scored again, not tracked.
    """
    try:
        earlier = read_json(job.output / "results.json")
        names = [str(sequence["name"]) for sequence in earlier["sequences"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple(name for name in names if _finished(job, name))


def _finished(job: BenchmarkJob, name: str) -> bool:
    """Whether a sequence's masks are whole and of the installed versions."""
    from vos.host.outputs.run_record import read_record, versions

    record = read_record(job.output / safe_name(name))
    if record is None:
        return job.initializer is not None and found_nothing(job, name)
    return record.get("state") == "finished" and record.get("versions") == versions()


def _refuse_other_runs(job: BenchmarkJob, names: Sequence[str], options: Mapping[str, Any]) -> None:
    """Refuse, before anything is tracked, an output folder with masks of another tracker or other options."""
    from vos.host.outputs.run_record import read_record

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
        refuse_other_first_mask(job, name, tracked=record is not None)


def _outcomes(
    job: BenchmarkJob, names: Sequence[str], workers: int, observers: Sequence[object]
) -> Iterator[tuple[str, SequenceResult | VosError]]:
    """Run all sequences, and yield each result or error when its sequence ends."""
    if workers == 1:
        for name in names:
            yield name, _run(job, name, observers)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    from vos.host.outputs.run_record import record_interruption
    from vos.host.process_ends import end_workers

    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _prepare_worker, (job.runtime.threads or 1,))
    try:
        futures = {pool.submit(_run_in_worker, job, name): name for name in _longest_first(job.tree, names)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException as error:
        end_workers(set(multiprocessing.active_children()) - before)
        pool.shutdown(cancel_futures=True)
        told = _worker_died() if isinstance(error, BrokenProcessPool) else error
        for name in names:
            record_interruption(job.output / safe_name(name), told)
        if told is error:
            raise
        raise told from None
    pool.shutdown()


def _worker_died() -> VosError:
    return VosError(
        "a worker process died (out of memory, or killed). Finished sequences are kept; "
        "run again, with fewer processes (-j)."
    )


def _longest_first(tree: DavisTree, names: Sequence[str]) -> list[str]:
    """Sort sequences by length, longest first, to keep all workers busy; one without images comes last."""

    def length(name: str) -> int:
        try:
            return len(tree.frames(name))
        except InputError:
            return 0

    return sorted(names, key=length, reverse=True)


def _prepare_worker(threads: int) -> None:
    """Set a new worker's thread counts, before a library counts the cores."""
    import signal

    from vos.host.process_ends import end_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops the workers
    end_with_parent()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    import cv2

    cv2.setNumThreads(threads)


def _run_in_worker(job: BenchmarkJob, name: str) -> SequenceResult | VosError:
    """As ``_run``, in a worker process; a signal that ends it leaves a record that says so."""
    from vos.host.process_ends import ending_cleanly

    with ending_cleanly():
        return _run(job, name)


def _run(job: BenchmarkJob, name: str, observers: Sequence[object] = ()) -> SequenceResult | VosError:
    """Track and score one sequence; return a failure, so that the other sequences still run."""
    try:
        first = None if job.initializer is None else first_mask(job, name, anew=_to_replace(job, name))
        if first is not None and first.empty:
            summary = None
            _write_empty(job, name, first)
        else:
            summary = _track(job, name, _first_annotation(job, name, first), observers)
        scores = evaluate(
            job.tree.annotation_folder, job.output, protocol=job.rules, sequences=[name], name=job.tracker
        )
    except VosError as error:
        return error
    except OSError as error:
        return InputError(f"{error.filename or name}: cannot be read ({error.strerror}).")
    seconds = None if first is None else first.seconds
    compute = compute_facts(job.runtime)
    if summary is None:
        (sequence,) = scores.sequences
        scores = replace(scores, sequences=(replace(sequence, notes=(*sequence.notes, NOTHING_FOUND)),))
        return SequenceResult(
            name, len(job.tree.frames(name)), 0.0, False, {}, scores, seconds, compute_facts(job.runtime)
        )
    details = dict(summary.run.details)
    return SequenceResult(name, summary.frames, summary.seconds, summary.skipped, details, scores, seconds, compute)


def _to_replace(job: BenchmarkJob, name: str) -> bool:
    """Whether a sequence's earlier masks are replaced: because the user wants it, or other versions made them."""
    from vos.host.outputs.run_record import read_record, versions

    record = read_record(job.output / safe_name(name))
    outdated = record is not None and record.get("versions") != versions()
    wanted = not job.sequences or name in job.sequences
    return (job.overwrite and wanted) or outdated


def _write_empty(job: BenchmarkJob, name: str, first: FirstMask) -> None:
    """Write a label map without objects for each frame of a sequence in which nothing was found."""
    from vos.host.outputs.run_record import RECORD_NAME, remove_files

    folder = job.output / safe_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    remove_files(folder, [RECORD_NAME])  # of an earlier run, whose masks are replaced
    for frame in job.tree.frames(name):
        write_label_map(folder / f"{frame.stem}.png", first.label_map)


def _track(job: BenchmarkJob, name: str, annotation: GivenAnnotations, observers: Sequence[object]) -> RunSummary:
    from vos.host.tracking import track

    replace_it = _to_replace(job, name)
    return track(
        (job.tree.frame_folder / name).resolve(),
        annotation,
        tracker=job.tracker,
        options=job.options,
        output=job.output,
        runtime=job.runtime,
        max_side=job.max_side,
        resume=False if replace_it else "exact",
        overwrite=replace_it,
        sequence=name,
        plugins=load_plugins(job.plugin_modules, job.blocked),
        observers=observers,
    )


def _first_annotation(job: BenchmarkJob, name: str, first: FirstMask | None) -> GivenAnnotations:
    """Give a sequence's first label map; None if each object starts where it first appears."""
    rules = job.rules
    if first is not None:
        return Annotation(_merged(first.label_map) if rules.merge else first.label_map, 0)
    if rules.objects == "from-appearance":
        return None
    path = job.tree.annotations(name)[0]
    label_map = read_label_map(path)
    frames = [frame.stem for frame in job.tree.frames(name)]
    if path.stem not in frames:
        raise InputError(f"{path}: no frame of that name in {job.tree.frame_folder / name}.")
    return Annotation(_merged(label_map) if rules.merge else label_map, frames.index(path.stem))


def _merged(label_map: LabelMap) -> LabelMap:
    """All objects as one; void is background."""
    return ((label_map > 0) & (label_map < VOID)).astype(np.uint8)


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
