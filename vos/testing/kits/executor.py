"""The kit for executors: tiny jobs that report, fail, or end their process."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, get_args

from vos.errors import VosError
from vos.protocols.executor import EventKind, Executor, Job, JobEvent
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.options import make_options
from vos.registry.plugin_errors import blaming
from vos.testing.contract import ContractCheck, ContractError, breaking, check_all
from vos.testing.kits.methods import check_methods
from vos.testing.kits.tiny_jobs import tiny_plan

ExecutorFactory: TypeAlias = Callable[[], Executor]
"""Makes a new executor, the same one each time."""

MAX_EVENTS = 2000
"""More events than this for a dozen jobs are an endless loop."""

MAX_ATTEMPTS = 20
"""More attempts than this at a job that ends every worker are an endless loop."""

GONE_SECONDS = 30.0
"""How long a worker process may take to end when the iterator is closed."""

SAME_PROCESS = "jobs run in the caller's process"

JOBS: dict[str, dict[str, Any]] = {
    "three-frames": {"kind": "good", "frames": 3},
    "bad-input": {"kind": "bad-input"},
    "failing": {"kind": "failing"},
    "broken": {"kind": "broken"},
    "dies-once": {"kind": "dies once"},
    "dies": {"kind": "dies"},
    "two-frames": {"kind": "good", "frames": 2},
    "no-frame": {"kind": "good"},
}
"""The jobs of the run that most clauses look at, by id."""


@dataclass
class _Settings:
    """The executor, and one run of all jobs, which is made when the first clause asks for it."""

    factory: ExecutorFactory
    folder: TemporaryDirectory[str] = field(default_factory=partial(TemporaryDirectory, prefix="vos-testing-"))

    @cached_property
    def events(self) -> list[JobEvent]:
        plan = tiny_plan(Path(self.folder.name))
        with breaking("executor-ends", "run"):
            events = list(islice(self.factory().run(plan, _jobs(JOBS)), MAX_EVENTS + 1))
        if len(events) > MAX_EVENTS:
            raise ContractError("executor-ends", f"{len(JOBS)} tiny jobs gave more than {MAX_EVENTS} events.")
        kinds = get_args(EventKind)
        for event in events:
            if not isinstance(event, JobEvent):
                raise ContractError("executor-methods", f"run gave a {type(event).__name__}, expected a JobEvent.")
            if event.kind not in kinds:
                found = f"run gave an event of kind {event.kind!r}, expected one of {', '.join(kinds)}."
                raise ContractError("executor-methods", found)
        return events

    @property
    def log(self) -> list[tuple[str, int]]:
        """Lines that the workers wrote: ``made`` or a job's name, and the process id."""
        self.events  # noqa: B018 - the run comes first
        return _read_log(Path(self.folder.name))

    @property
    def in_process(self) -> bool:
        return any(process == os.getpid() for _, process in self.log)

    def of(self, job_id: str) -> list[JobEvent]:
        return [event for event in self.events if event.job_id == job_id]


def executor_checks(
    executor: str | ExecutorFactory,
    *,
    options: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
) -> list[ContractCheck]:
    """List the checks of an executor without running them.

    They run a dozen tiny jobs with workers of the installed toolkit; most clauses look at one run. The
    workers log to a temporary folder, so they must share this machine's disk (``-O cluster=local`` and the like).

    Args:
        executor: an installed executor's name, or a function that makes a new executor each time.
        options: the named executor's options; two workers and one or two retries are enough.
        plugins: where to find the name; by default all installed plugins.
    Returns:
        One check for each clause.
    Raises:
        PluginError: no such executor.
        OptionError: the options do not fit it.
    """
    factory = _named(executor, options, plugins) if isinstance(executor, str) else executor
    settings = _Settings(factory)
    return [ContractCheck(clause, partial(check, settings)) for clause, check in _CHECKS.items()]


def check_executor(executor: str | ExecutorFactory, **settings: Any) -> list[str]:
    """Check that an executor keeps the contract.

    Args:
        executor: as for ``executor_checks``.
        settings: the other arguments of ``executor_checks``.
    Returns:
        The clauses that were checked.
    Raises:
        ContractError: the first clause that it breaks.
    """
    return check_all(executor_checks(executor, **settings))


def _named(name: str, options: Mapping[str, Any] | None, plugins: Plugins | None) -> ExecutorFactory:
    spec = (plugins or load_plugins()).executors.get(name)
    made: Any = make_options(spec.options, options, f'executor "{name}"')

    def make() -> Executor:
        with blaming(f'executor "{name}" cannot be made'):
            return spec.factory(made)

    return make


def _jobs(work: Mapping[str, Mapping[str, Any]]) -> list[Job]:
    return [Job(name, {"name": name, **data}) for name, data in work.items()]


def _read_log(folder: Path) -> list[tuple[str, int]]:
    path = folder / "log.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, int(process)) for name, process in map(str.split, lines)]


def _methods(settings: _Settings) -> None:
    check_methods("executor-methods", settings.factory(), {"run": 2}, {})
    settings.events  # noqa: B018 - they are checked when they are made


def _ends(settings: _Settings) -> None:
    clause = "executor-ends"
    for event in settings.events:
        if event.job_id not in JOBS:
            raise ContractError(clause, f"an event has the job id {event.job_id!r}, which is none of the jobs.")
    for name, work in JOBS.items():
        ends = [event for event in settings.of(name) if event.kind in ("done", "failed")]
        if len(ends) != 1 or settings.of(name)[-1] is not ends[0]:
            kinds = [event.kind for event in settings.of(name)]
            raise ContractError(clause, f'job "{name}" had the events {kinds}, expected one done or failed at last.')
        expected = {"name": name, "frames": work.get("frames", 0)}
        if ends[0].kind == "done" and ends[0].result != expected:
            raise ContractError(clause, f'job "{name}" has the result {ends[0].result}, its worker gave {expected}.')
    for name in ("three-frames", "two-frames", "no-frame"):
        if settings.of(name)[-1].kind != "done":
            raise ContractError(clause, f'job "{name}" failed: {settings.of(name)[-1].message}')


def _once(settings: _Settings) -> None:
    begun = Counter(name for name, _ in settings.log)
    for name, work in JOBS.items():
        if "dies" not in work["kind"] and begun[name] != 1:
            raise ContractError("executor-once", f'job "{name}" was begun {begun[name]} times, expected once.')


def _worker(settings: _Settings) -> None:
    made = Counter(process for name, process in settings.log if name == "made")
    for process, count in made.items():
        if count != 1:
            raise ContractError("executor-worker", f"process {process} made its worker {count} times, expected once.")


def _progress(settings: _Settings) -> None:
    clause = "executor-progress"
    for name in JOBS:
        events = settings.of(name)
        if events and events[0].kind != "started":
            raise ContractError(clause, f'the first event of job "{name}" is {events[0].kind}, expected started.')
    for name in ("three-frames", "two-frames"):
        frames = [event for event in settings.of(name) if event.kind == "frame"]
        numbers, count = [event.frame for event in frames], JOBS[name]["frames"]
        if numbers != sorted(set(numbers)) or any(not 1 <= number <= count for number in numbers):
            raise ContractError(clause, f'job "{name}" of {count} frames reported the frames {numbers}.')
        if any(event.frame_count != count for event in frames):
            found = [event.frame_count for event in frames]
            raise ContractError(clause, f'job "{name}" of {count} frames reported frame_count {found}.')


def _failures(settings: _Settings) -> None:
    clause = "executor-failures"
    expected = {
        "bad-input": (True, "there is no such video"),
        "failing": (False, "the tracker failed"),
        "broken": (False, "division by zero"),
    }
    for name, (bad_input, message) in expected.items():
        end = settings.of(name)[-1]
        if end.kind != "failed" or message not in end.message:
            raise ContractError(
                clause, f'job "{name}" ended {end.kind} with the message {end.message!r}, expected {message!r}.'
            )
        if end.bad_input is not bad_input:
            raise ContractError(clause, f'job "{name}" has bad_input {end.bad_input}, expected {bad_input}.')


def _lost_worker(settings: _Settings) -> str | None:
    clause = "executor-lost-worker"
    if settings.in_process:
        return SAME_PROCESS
    once = [event.kind for event in settings.of("dies-once")]
    if "retried" not in once or once[-1] != "done":
        raise ContractError(clause, f"a job whose worker died once had the events {once}, expected retried and done.")
    end = settings.of("dies")[-1]
    if end.kind != "failed" or not end.message:
        raise ContractError(clause, f"a job that ends every worker ended {end.kind} ({end.message!r}).")
    attempts = Counter(name for name, _ in settings.log)["dies"]
    if attempts > MAX_ATTEMPTS:
        raise ContractError(clause, f"a job that ends every worker was tried {attempts} times.")
    return None


def _close(settings: _Settings) -> str | None:
    clause = "executor-close"
    with TemporaryDirectory(prefix="vos-testing-") as name:
        folder = Path(name)
        jobs = _jobs({"waits": {"kind": "waits"}, "waits-too": {"kind": "waits"}})
        events: Any = settings.factory().run(tiny_plan(folder), jobs)
        try:
            with breaking(clause, "run"):
                next(events)
            with breaking(clause, "closing the iterator"):
                events.close()
            processes = {process for _, process in _read_log(folder)}
            if os.getpid() in processes:
                return SAME_PROCESS
            deadline = time.monotonic() + GONE_SECONDS
            while any(map(_alive, processes)):
                if time.monotonic() > deadline:
                    raise ContractError(clause, f"a worker process is left {GONE_SECONDS:.0f} s later.")
                time.sleep(0.02)
        finally:
            (folder / "stop").touch()
    return None


def _alive(process: int) -> bool:
    """True if a local process runs; a zombie process counts as ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _no_jobs(settings: _Settings) -> None:
    clause = "executor-no-jobs"
    with TemporaryDirectory(prefix="vos-testing-") as folder, breaking(clause, "run"):
        events = list(islice(settings.factory().run(tiny_plan(Path(folder)), []), MAX_EVENTS))
    if events:
        raise ContractError(clause, f"there were {len(events)} events without a job.")


def _no_worker(settings: _Settings) -> None:
    clause = "executor-no-worker"
    with TemporaryDirectory(prefix="vos-testing-") as folder:
        plan = tiny_plan(Path(folder), factory="no_worker")
        try:
            with breaking(clause, "run", allowed=(VosError,)):
                events = list(islice(settings.factory().run(plan, _jobs({"one": {"kind": "good"}})), MAX_EVENTS + 1))
        except VosError as error:
            if isinstance(error, ContractError):
                raise
            return
    if len(events) > MAX_EVENTS or not events or events[-1].kind != "failed":
        ended = events[-1].kind if events else "without an event"
        raise ContractError(clause, f"a worker that cannot be made: {len(events)} events, the job ended {ended}.")


_CHECKS: dict[str, Callable[[_Settings], str | None]] = {
    "executor-methods": _methods,
    "executor-ends": _ends,
    "executor-once": _once,
    "executor-worker": _worker,
    "executor-progress": _progress,
    "executor-failures": _failures,
    "executor-lost-worker": _lost_worker,
    "executor-close": _close,
    "executor-no-jobs": _no_jobs,
    "executor-no-worker": _no_worker,
}
