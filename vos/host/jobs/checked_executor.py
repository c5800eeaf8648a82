"""An executor as the host runs it: failures name it, its events are checked, and each job ends."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from vos.errors import PluginFailedError
from vos.protocols.executor import EventKind, Executor, Job, JobEvent, NoResult, WorkerPlan
from vos.registry.plugin_errors import blaming

LAST_KINDS = ("done", "failed")
"""Kinds of the last event of a job."""


@dataclass(frozen=True)
class CheckedExecutor:
    """Runs jobs on another executor.

    Attributes:
        executor: does the work.
        who: its name and plugin, as messages begin: ``executor "local" of plugin batch``.
    """

    executor: Executor
    who: str

    def run(self, plan: WorkerPlan, jobs: Sequence[Job]) -> Generator[JobEvent, None, None]:
        """Run all jobs, as ``Executor.run``; a job of which the executor reports no end has failed.

        Raises:
            VosError: from the executor.
            PluginFailedError: the executor failed otherwise, or gave what is no event of a job at work.
        """
        unfinished = dict.fromkeys(job.job_id for job in jobs)
        with blaming(f"{self.who} failed", leaving=True):
            events = iter(self.executor.run(plan, jobs))
            try:
                for event in events:
                    self._check(event, unfinished)
                    if event.kind in LAST_KINDS:
                        del unfinished[event.job_id]
                    yield event
            finally:
                close = getattr(events, "close", None)
                if close is not None:
                    close()
        for job_id in unfinished:
            yield JobEvent(job_id, "failed", message=f"{self.who} ended without this job's result.")

    def _check(self, event: Any, unfinished: Mapping[str, None]) -> None:
        if not isinstance(event, JobEvent):
            raise PluginFailedError(f"{self.who} gave a {type(event).__name__}, expected a JobEvent.")
        if event.kind not in get_args(EventKind):
            kinds = ", ".join(get_args(EventKind))
            raise PluginFailedError(f"{self.who} gave an event of kind {event.kind!r}, expected one of {kinds}.")
        if not isinstance(event.result, Mapping):
            raise PluginFailedError(f"{self.who} gave the result {event.result!r:.80}, expected that of the worker.")
        if event.job_id not in unfinished:
            raise PluginFailedError(
                f'{self.who} reports "{event.kind}" of {event.job_id!r}, which is no job of this run, or ended before.'
            )
        if event.kind == "done" and isinstance(event.result, NoResult):
            raise PluginFailedError(f'{self.who} reports "done" of "{event.job_id}" without its result.')
