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

from vos.errors import InputError, OptionError, OutputExistsError, VosError
from vos.evaluation.benchmark.results import BenchmarkJob, BenchmarkResult, SequenceResult
from vos.evaluation.datasets.davis_layout import DavisTree
from vos.evaluation.datasets.mask_folders import evaluate
from vos.evaluation.reports.tables import write_csv, write_text
from vos.evaluation.video.scores import Scores
from vos.host.outputs.input_protection import refuse_replacing
from vos.io.atomic_files import safe_name
from vos.io.json_file import read_json
from vos.io.masks.mask_file import read_label_map
from vos.registry.discovery import load_plugins
from vos.types.annotation import Annotation
from vos.types.label_map import VOID

if TYPE_CHECKING:
    from vos.host.annotations.annotation_loading import GivenAnnotations
    from vos.types.run import RunSummary


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
        VosError: sequences that failed; the others are done, and a second run skips those.
    """
    from vos.host.outputs.run_record import versions
    from vos.host.tracker_making import tracker_options

    rules = job.rules
    if rules.max_proposals is not None:
        raise OptionError(f"{rules.name} is for methods without a first mask; trackers take a first mask.")
    names = job.tree.sequences(job.set_name)
    unknown = [name for name in job.sequences if name not in names]
    if unknown:
        raise InputError(f"{job.set_name or job.root} has no sequence {unknown[0]}. It has: {', '.join(names)}.")
    added = finished_before(job) if job.sequences else ()
    names = [name for name in names if not job.sequences or name in job.sequences or name in added]
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


def finished_before(job: BenchmarkJob) -> tuple[str, ...]:
    """List the sequences in the output folder's results that ``--sequence`` adds to.

    Args:
        job: what to run.
    Returns:
        Sequences that an earlier run finished with the installed versions; they are scored again, not tracked.
    """
    from vos.host.outputs.run_record import read_record, versions

    try:
        earlier = read_json(job.output / "results.json")
        names = [str(sequence["name"]) for sequence in earlier["sequences"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    records = {name: read_record(job.output / safe_name(name)) for name in names}
    return tuple(
        name
        for name, record in records.items()
        if record is not None and record.get("state") == "finished" and record.get("versions") == versions()
    )


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

    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _prepare_worker, (job.runtime.threads or 1,)) as pool:
        futures = {pool.submit(_run, job, name): name for name in _longest_first(job.tree, names)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise VosError(
                "a worker process died (out of memory, or killed). Finished sequences are kept; "
                "run again, with fewer processes (-j)."
            ) from None
        except BaseException:
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
            pool.shutdown(cancel_futures=True)
            raise


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

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    import cv2

    cv2.setNumThreads(threads)


def _run(job: BenchmarkJob, name: str, observers: Sequence[object] = ()) -> SequenceResult | VosError:
    """Track and score one sequence; return a failure, so that the other sequences still run."""
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
    from vos.host.outputs.run_record import read_record, versions
    from vos.host.tracking import track

    record = read_record(job.output / safe_name(name))
    outdated = record is not None and record.get("versions") != versions()
    wanted = not job.sequences or name in job.sequences
    replace_it = (job.overwrite and wanted) or outdated
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
    """Read the first label map of a sequence; None if each object starts where it first appears."""
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
