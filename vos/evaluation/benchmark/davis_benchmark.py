"""Run a tracker on a DAVIS tree: track every sequence, score it when it ends, and write one table.

Sequences are run in this process, or by an executor's workers; each worker takes the next sequence when it is idle. A
later run skips finished sequences if tracker, options, annotations and versions are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from vos.errors import InputError, OutputExistsError, VosError
from vos.evaluation.benchmark.first_masks import found_nothing, refuse_other_first_mask
from vos.evaluation.benchmark.result_files import (
    RESULTS_JSON,
    RESULTS_TEXT,
    refuse_other_files,
    refuse_other_results,
    tables_of,
)
from vos.evaluation.benchmark.results import BenchmarkJob, BenchmarkResult, SequenceResult
from vos.evaluation.benchmark.sequence_worker import SEQUENCE_WORKER, SequenceWorker
from vos.evaluation.datasets.davis_layout import DavisTree
from vos.evaluation.reports.results_json import results_json
from vos.evaluation.reports.tables import write_csv, write_text
from vos.evaluation.video.scores import Scores
from vos.host.jobs.executor_making import LOCAL, make_executor
from vos.host.jobs.running import error_of, failure_of, run_jobs
from vos.host.outputs.input_protection import refuse_replacing
from vos.host.outputs.run_record import read_record, versions
from vos.host.tracker_making import tracker_options
from vos.io.atomic_files import safe_name
from vos.io.json_file import plain_json, read_json
from vos.protocols.executor import Executor, Job, JobEvent, WorkerPlan
from vos.registry.discovery import load_plugins
from vos.registry.options import make_options
from vos.types.runtime import Runtime


@dataclass(frozen=True)
class BenchmarkCallbacks:
    """Callbacks and observers of a running benchmark.

    Attributes:
        on_result: called with each sequence's result as it ends.
        on_event: called with every event of the workers; without any, with the end of each sequence.
        observers: objects with observation hooks, for runs in this process.
    """

    on_result: Callable[[SequenceResult], None] = lambda result: None
    on_event: Callable[[JobEvent], None] = lambda event: None
    observers: Sequence[object] = ()


def benchmark(
    job: BenchmarkJob,
    workers: int = 1,
    *,
    executor: Executor | None = None,
    callbacks: BenchmarkCallbacks = BenchmarkCallbacks(),
) -> BenchmarkResult:
    """Track and score every sequence of a set, and write the results.

    Writes ``results.json``, ``results.txt`` and the two official CSV tables to the output folder.

    Args:
        job: what to run.
        workers: processes on this machine; more than one are started with ``spawn``, so a script that calls
            this needs the usual ``if __name__ == "__main__":``. Not used with an executor.
        executor: runs the sequences; None runs them here.
        callbacks: called while the benchmark runs.
    Returns:
        The results.
    Raises:
        InputError: bad tree, set, tracker or option, or an output folder that holds another run.
        OutputExistsError: a file that no benchmark wrote has the name of a result, or the results of another set or
            protocol are there.
        VosError: sequences that failed; the others are done, and a second run skips those.
    """
    job.check()
    names = sequences_of(job)
    refuse_replacing(
        [job.output / safe_name(name) for name in names],
        [folder / name for folder in (job.tree.frame_folder, job.tree.annotation_folder) for name in names],
    )
    refuse_other_files(job)
    plugins = load_plugins(job.plugin_modules, job.blocked)
    options = asdict(tracker_options(job.tracker, job.options, plugins)[1])
    if job.initializer is not None:
        make_options(
            plugins.initializers.get(job.initializer).options, job.init_options, f'initializer "{job.initializer}"'
        )
    if not job.overwrite:
        _refuse_other_runs(job, names, options)
        refuse_other_results(job)
    workers = max(1, min(workers, len(names)))
    if workers > 1 and executor is None:
        threads = job.runtime.threads or Runtime.threads_of_worker(workers)
        job = replace(job, runtime=replace(job.runtime, threads=threads))
        executor = make_executor(plugins, LOCAL, {"workers": workers, "threads": threads})
    results, names_of_workers = _all_results(job, names, executor, callbacks)
    scores = Scores(
        job.tracker,
        job.rules,
        results[0].scores.tolerance,
        tuple(result.scores.sequences[0] for result in results),
        files={name: files for result in results for name, files in result.scores.files.items()},
    )
    result = BenchmarkResult(job, options, versions(), len(names_of_workers) or 1, results, scores)
    write_text(job.output / RESULTS_JSON, results_json([(scores, result.run_facts())], result.workers))
    write_text(job.output / RESULTS_TEXT, result.table() + "\n")
    write_csv(tables_of(job), scores)
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
    job: BenchmarkJob, names: Sequence[str], executor: Executor | None, callbacks: BenchmarkCallbacks
) -> tuple[tuple[SequenceResult, ...], set[str]]:
    """Run all sequences, then raise one error for those that failed.

    Returns:
        Results in the order of ``names``, and the names of the workers that were at work; none for this process.
    """
    results: dict[str, SequenceResult] = {}
    failed: dict[str, VosError] = {}
    workers: set[str] = set()

    def take(name: str, outcome: SequenceResult | VosError) -> None:
        if isinstance(outcome, VosError):
            failed[name] = outcome
        else:
            results[name] = outcome
            callbacks.on_result(outcome)

    if executor is None:
        with closing(SequenceWorker(job)) as worker:
            for name in names:
                try:
                    take(name, worker.run(name, callbacks.observers))
                except VosError as error:
                    take(name, error)
                callbacks.on_event(JobEvent(name, "failed" if name in failed else "done"))
    else:
        sequences = {str(job.output / safe_name(name)): name for name in _longest_first(job.tree, names)}

        def follow(event: JobEvent) -> None:
            callbacks.on_event(event)
            workers.update([event.worker] if event.kind == "started" else [])
            if event.kind == "done":
                take(sequences[event.job_id], SequenceResult.from_plain(event.result, job.rules))
            elif event.kind == "failed":
                take(sequences[event.job_id], error_of(event))

        plan = WorkerPlan(SEQUENCE_WORKER, {"job": job.to_plain()})
        run_jobs(executor, plan, [Job(job_id, {"sequence": name}) for job_id, name in sequences.items()], follow)
    if failed:
        raise failure_of(failed, len(names))
    return tuple(results[name] for name in names), workers


def finished_before(job: BenchmarkJob) -> tuple[str, ...]:
    """List the sequences in the output folder's results that ``--sequence`` adds to.

    Args:
        job: what to run.
    Returns:
        Sequences that an earlier run finished with the installed versions; they are scored again, not tracked.
    """
    try:
        earlier = read_json(job.output / RESULTS_JSON)
        names = [str(sequence["name"]) for sequence in earlier["results"][0]["sequences"]]
    except (OSError, ValueError, IndexError, KeyError, TypeError):
        return ()
    return tuple(name for name in names if _finished(job, name))


def _finished(job: BenchmarkJob, name: str) -> bool:
    """True if a sequence's masks are complete and were made by the installed versions."""
    record = read_record(job.output / safe_name(name))
    if record is None:
        return job.initializer is not None and found_nothing(job, name)
    return record.get("state") == "finished" and record.get("versions") == versions()


def _refuse_other_runs(job: BenchmarkJob, names: Sequence[str], options: Mapping[str, Any]) -> None:
    """Refuse, before anything is tracked, an output folder with masks of another tracker or other options."""
    wanted = {
        "tracker": job.tracker,
        "options": plain_json(dict(options)),
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


def _longest_first(tree: DavisTree, names: Sequence[str]) -> list[str]:
    """Sort sequences by length, longest first, to keep all workers busy; one without images comes last."""

    def length(name: str) -> int:
        try:
            return len(tree.frames(name))
        except InputError:
            return 0

    return sorted(names, key=length, reverse=True)
