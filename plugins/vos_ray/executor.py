"""Jobs on Ray actors: an actor makes its worker once; one whose process dies is replaced, and its job tried again."""

from __future__ import annotations

import os
import queue
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vos.plugin import ExtraMissingError, Job, JobEvent, VosError, WorkerPlan
from vos_batch.one_job import run_job
from vos_ray.options import RayOptions

POLL_SECONDS = 0.2
CONNECT_SECONDS = 10.0


class RayExecutor:
    """Runs jobs on Ray actors."""

    def __init__(self, options: RayOptions) -> None:
        self._options = options

    def run(self, plan: WorkerPlan, jobs: Sequence[Job]) -> Iterator[JobEvent]:
        """Run all jobs; see ``vos.plugin.Executor``."""
        ray = _import_ray()
        started = self._connect(ray)
        try:
            if started:
                self._refuse_more_than(ray.cluster_resources())
            yield from _Run(ray, self._options, plan, jobs).events()
        finally:
            if started:
                ray.shutdown()

    def _connect(self, ray: Any) -> bool:
        """Join or start Ray; return whether it was started here."""
        if ray.is_initialized():
            return False
        address = self._options.address
        if address in ("", "auto"):
            address = os.environ.get("RAY_ADDRESS") or address  # as Ray has it
        try:
            _check_reachable(address)
            ray.init(
                address=address or None,
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": str(max(1, int(self._options.cpus)))}},
            )
        except Exception as error:
            where = address or "this machine"
            raise VosError(
                f"Ray on {where} cannot be reached ({type(error).__name__}: {error})."
                + " Give -E address= of a cluster that runs, or -E address=local to start Ray here." * bool(address)
            ) from error
        return True

    def _refuse_more_than(self, here: Mapping[str, float]) -> None:
        """Refuse an actor that needs more than this machine has; Ray would wait for it without end."""
        for name, option, wanted in (("CPU", "cpus", self._options.cpus), ("GPU", "gpus", self._options.gpus)):
            if wanted > here.get(name, 0):
                raise VosError(
                    f"Ray on this machine has {here.get(name, 0):g} {name}s, and an actor takes {wanted:g}. "
                    f"Give a smaller -E {option}=, or a cluster's -E address=."
                )


def _check_reachable(address: str) -> None:
    """Connect to the host and port of an address, if it names them: Ray itself would try for many minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.queue
    except ImportError as error:
        raise ExtraMissingError(
            f'ray is not installed ({error}). Install it: pip install "vos-toolkit[ray]"'
        ) from error
    return ray


class _Actor:
    """Ray actor: a worker in a process of its own."""

    def __init__(self, plan: WorkerPlan, name: str) -> None:
        self._worker = plan.make()
        self._name = name

    def run(self, job: Job, progress: Any) -> JobEvent:
        """Run a job: progress goes to the queue, the last event is returned."""
        last: list[JobEvent] = []

        def send(event: JobEvent) -> None:
            if event.kind in ("done", "failed"):
                last.append(event)
            else:
                progress.put(event)

        run_job(self._worker, job, self._name, send)
        return last[0]


@dataclass
class _Run:
    """One call of the executor: its actors, what each does, and what waits."""

    ray: Any
    options: RayOptions
    plan: WorkerPlan
    jobs: Sequence[Job]
    attempts: dict[str, int] = field(default_factory=dict)

    def events(self) -> Iterator[JobEvent]:
        """Yield events until every job is done or failed."""
        progress = self.ray.util.queue.Queue()
        waiting = deque(self.jobs)
        actors = [self._actor(number) for number in range(min(self.options.workers, len(self.jobs)))]
        idle = list(actors)
        at_work: dict[Any, tuple[Any, Job]] = {}
        try:
            while waiting or at_work:
                while idle and waiting:
                    actor, job = idle.pop(), waiting.popleft()
                    at_work[actor.run.remote(job, progress)] = (actor, job)
                while idle:  # nothing waits: an actor that has no processors yet gets theirs
                    actor = idle.pop()
                    actors.remove(actor)
                    self.ray.kill(actor)
                ready, _ = self.ray.wait(list(at_work), timeout=POLL_SECONDS)
                yield from _drained(progress)
                for reference in ready:
                    actor, job = at_work.pop(reference)
                    event = self._outcome(reference, job, waiting)
                    if not event.worker:  # its process is gone
                        actors.remove(actor)
                        actor = self._actor(len(self.attempts) + self.options.workers)
                        actors.append(actor)
                    idle.append(actor)
                    yield event
            yield from _drained(progress)
        finally:
            for actor in actors:
                self.ray.kill(actor)
            progress.shutdown(force=True)

    def _actor(self, number: int) -> Any:
        actor = self.ray.remote(_Actor).options(
            num_cpus=self.options.cpus,
            num_gpus=self.options.gpus,
            max_restarts=0,  # a restarting actor refuses tasks for a while; a new one takes them at once
            max_task_retries=0,  # attempts are counted and reported here
        )
        return actor.remote(self.plan, f"actor {number + 1}")

    def _outcome(self, reference: Any, job: Job, waiting: deque[Job]) -> JobEvent:
        try:
            event: JobEvent = self.ray.get(reference)
            return event
        except self.ray.exceptions.RayActorError as error:
            self.attempts[job.job_id] = self.attempts.get(job.job_id, 0) + 1
            reason = str(error).splitlines()[0]
            if self.attempts[job.job_id] > self.options.retries:
                return JobEvent(
                    job.job_id, "failed", message=f"its actor died {self.attempts[job.job_id]} times: {reason}"
                )
            waiting.appendleft(job)
            return JobEvent(job.job_id, "retried", message=reason)
        except self.ray.exceptions.RayTaskError as error:
            return JobEvent(
                job.job_id, "failed", "actor", message=f"unexpected {type(error.cause).__name__}: {error.cause}"
            )


def _drained(progress: Any) -> Iterator[JobEvent]:
    """Everything that the queue holds now."""
    while True:
        try:
            yield progress.get_nowait()
        except queue.Empty:
            return
