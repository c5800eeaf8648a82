"""The local executor: processes of this machine, each with its share of the processor cores or a GPU of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from vos.plugin import (
    Job,
    JobEvent,
    Runtime,
    VosError,
    WorkerPlan,
    end_with_parent,
    end_workers,
    ending_cleanly,
)
from vos_batch.one_job import run_job
from vos_batch.options import LocalOptions

SECONDS_BETWEEN_EVENTS = 0.2
"""Frames of a job are reported this far apart: they are for people, and each costs time in both processes."""
MAX_STILLBORN = 3
"""So many workers in a row may end before they begin a job; a plugin that ends its process would be tried for hours."""

GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")
"""Device files of NVIDIA's driver, of AMD's, and of Windows' for its Linux."""


@dataclass
class _Process:
    """One worker process and the job that it has."""

    name: str
    process: BaseProcess
    pipe: Connection
    environment: Mapping[str, str]
    job: Job | None = None
    has_begun: bool = False


@dataclass
class _Queue:
    """Jobs that wait, how often each was tried, and how many workers in a row ended before they began one."""

    waiting: deque[Job]
    attempts: dict[str, int] = field(default_factory=dict)
    stillborn: int = 0


class LocalExecutor:
    """Runs jobs in processes of this machine."""

    def __init__(self, options: LocalOptions) -> None:
        self._options = options

    def run(self, plan: WorkerPlan, jobs: Sequence[Job]) -> Iterator[JobEvent]:
        """Run all jobs; see ``vos.plugin.Executor``."""
        queue = _Queue(deque(jobs))
        environments = worker_environments(self._options, len(jobs))
        processes = [_start(plan, f"process {number}", env) for number, env in enumerate(environments, 1)]
        remaining = len(jobs)
        try:
            for process in processes:
                _give_next(process, queue)
            while remaining:
                for process in list(processes):
                    if not process.pipe.poll() and process.process.is_alive():
                        continue
                    for event in self._receive(process, queue, processes, plan):
                        remaining -= event.kind in ("done", "failed")
                        yield event
                if remaining:
                    wait([end for p in processes for end in (p.pipe, p.process.sentinel)])
        finally:
            _stop(processes)

    def _receive(
        self, process: _Process, queue: _Queue, processes: list[_Process], plan: WorkerPlan
    ) -> Iterator[JobEvent]:
        """Read one event of a process, or replace a process that died."""
        try:
            event: JobEvent = process.pipe.recv()
        except (EOFError, OSError):
            processes.remove(process)
            process.process.join()
            yield from self._lost(process, queue)
            if queue.waiting:
                replacement = _start(plan, process.name, process.environment)
                processes.append(replacement)
                _give_next(replacement, queue)
            return
        process.has_begun, queue.stillborn = True, 0
        if event.kind in ("done", "failed"):
            process.job = None
            _give_next(process, queue)
        yield event

    def _lost(self, process: _Process, queue: _Queue) -> Iterator[JobEvent]:
        """Queue the job of a dead worker again, or report it as failed after the last attempt."""
        job = process.job
        if job is None:
            if queue.waiting:
                raise VosError(f"{process.name} ended before its first job ({_ending(process)}).")
            return
        if not process.has_begun:
            queue.stillborn += 1
            if queue.stillborn > MAX_STILLBORN:
                raise VosError(f"{queue.stillborn} workers in a row ended before their first job ({_ending(process)}).")
        queue.attempts[job.job_id] = queue.attempts.get(job.job_id, 1) + 1
        if queue.attempts[job.job_id] > 1 + self._options.retries:
            tries = 1 + self._options.retries
            times = f"{tries} times" if tries > 1 else "once"
            message = f"its worker died {times} ({_ending(process)}; out of memory, or killed). Try fewer workers (-j)."
            yield JobEvent(job.job_id, "failed", process.name, message=message)
            return
        queue.waiting.appendleft(job)
        yield JobEvent(job.job_id, "retried", process.name, message=f"its worker died ({_ending(process)})")


def worker_environments(options: LocalOptions, jobs: int) -> list[dict[str, str]]:
    """Choose the number of workers, and the threads or the GPU of each.

    Args:
        options: ``workers`` (0: one a GPU, else one for every two cores) and ``threads`` (0: an even share of the
            cores, or a smaller ``OMP_NUM_THREADS``).
        jobs: their number; no more workers than jobs are made.
    Returns:
        Environment variables for each worker.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = _visible_gpus()
    workers = options.workers or len(gpus) or max(1, cores // 2)
    workers = max(1, min(workers, jobs))
    threads = str(options.threads or Runtime.threads_of_worker(workers))
    environments = []
    for number in range(workers):
        environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        environments.append(environment)
    return environments


def _visible_gpus() -> list[str]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu.strip()]
    if sys.platform == "linux" and not any(found for name in GPU_DEVICES for found in Path("/dev").glob(name)):
        return []  # torch would say the same, and takes seconds to import
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _start(plan: WorkerPlan, name: str, environment: Mapping[str, str]) -> _Process:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(plan, name, dict(environment), theirs), daemon=True, name=name)
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)  # libraries read it when the new interpreter starts
    try:
        process.start()
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})
    theirs.close()
    return _Process(name, process, ours, environment)


def _give_next(process: _Process, queue: _Queue) -> None:
    if not queue.waiting:
        return
    process.job = queue.waiting.popleft()
    with suppress(OSError):  # it died; the next look at its pipe finds that out
        process.pipe.send(process.job)


def _stop(processes: list[_Process]) -> None:
    end_workers(process.process for process in processes)
    for process in processes:
        process.pipe.close()


def _ending(process: _Process) -> str:
    code = process.process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _work(plan: WorkerPlan, name: str, environment: dict[str, str], pipe: Connection) -> None:
    """Do jobs until the pipe closes; this is the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops the workers
    end_with_parent()
    import cv2

    cv2.setNumThreads(int(environment["OMP_NUM_THREADS"]))
    worker = plan.make()
    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            with ending_cleanly():
                run_job(worker, job, name, _thinned(pipe))
        except KeyboardInterrupt:  # the signal came as the block ended
            return


def _thinned(pipe: Connection) -> Any:
    """A sender that leaves out frame events between the first and the last which follow another at once."""
    sent = 0.0

    def send(event: JobEvent) -> None:
        nonlocal sent
        now = time.monotonic()
        if event.kind == "frame" and event.frame not in (1, event.frame_count) and now - sent < SECONDS_BETWEEN_EVENTS:
            return
        sent = now
        pipe.send(event)

    return send
