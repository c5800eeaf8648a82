"""Progress on stderr: a bar on a terminal, a line every half minute in a log file, or JSON lines for a program."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from vos.registry.hookspecs import hookimpl
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.prediction import Prediction
from vos.types.run import Run, RunSummary

ProgressForm: TypeAlias = Literal["auto", "bar", "lines", "json", "off"]

LINE_SECONDS = 30.0
"""A log file gets a line when so much time has passed since the last one."""

JSON_SECONDS = 0.5
"""A program gets a line when so much time has passed since the last one."""

_clock = time.monotonic


class Progress(Protocol):
    """Shows how far one task is."""

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        """Show how many units are done of how many, and what else there is to say."""

    def refresh(self) -> None:
        """Show how long the task has taken, where that is due."""

    def close(self, error: BaseException | None = None) -> None:
        """End the task; ``error`` says why it stopped early."""


@contextmanager
def show_progress(
    task: str, total: int | None, unit: str = "frame", form: ProgressForm = "auto", *, waiting: bool = False
) -> Iterator[Progress]:
    """Show a task's progress on stderr while a ``with`` block runs.

    Args:
        task: name of the task, such as a sequence's name.
        total: number of units; None if unknown.
        unit: name of a unit, such as ``"frame"``.
        form: ``"bar"`` appears after a second; ``"lines"`` writes a line every 30 seconds; ``"json"`` writes a JSON
            object a line when the task starts, twice a second at most while it runs, and when it ends: ``event``
            (``started``, ``progress``, ``finished`` or ``failed``), ``task``, ``unit``, ``done``, ``total``,
            ``seconds``, and ``note`` and ``error`` where there is one; ``"off"`` shows nothing; ``"auto"`` is a bar
            where stderr is a terminal, else lines.
        waiting: also show the time while nothing is updated, by a thread; for a task of one long step.
    Yields:
        The progress, to be updated.
    """
    progress = _begin(task, total, unit, form)
    ended = threading.Event()
    if waiting:
        threading.Thread(target=_refresh_until, args=(progress, ended), daemon=True, name="progress").start()
    try:
        yield progress
    except BaseException as error:
        ended.set()
        progress.close(error)
        raise
    ended.set()
    progress.close()


def _refresh_until(progress: Progress, ended: threading.Event) -> None:
    while not ended.wait(1.0):
        progress.refresh()


def _begin(task: str, total: int | None, unit: str, form: ProgressForm) -> Progress:
    if form == "auto":
        form = "bar" if sys.stderr.isatty() else "lines"
    if form == "bar":
        return _Bar(task, total, unit)
    state = _State(task, total, unit)
    return _Json(state) if form == "json" else _Lines(state) if form == "lines" else _Off()


class RunProgress:
    """Observer that shows a run's frames."""

    def __init__(self, form: ProgressForm = "auto") -> None:
        """Show nothing yet.

        Args:
            form: as for ``show_progress``.
        """
        self._form: ProgressForm = form
        self._progress: Progress = _Off()
        self._done = 0

    @hookimpl
    def vos_run_started(self, run: Run) -> None:
        """Start a progress display of the run's frames."""
        self._progress = _begin(run.sequence, run.frame_count, "frame", self._form)
        self._done = run.frames_before

    @hookimpl
    def vos_frame_done(self, run: Run, frame: Frame, prediction: Prediction, label_map: LabelMap) -> None:
        """Count a frame."""
        self._done += 1
        self._progress.update(self._done)

    @hookimpl
    def vos_run_finished(self, run: Run, summary: RunSummary) -> None:
        """Show the end."""
        self._progress.close()

    @hookimpl
    def vos_run_failed(self, run: Run, error: BaseException) -> None:
        """Show where the run stopped."""
        self._progress.close(error)


class _Off:
    def update(self, done: int, note: str = "", total: int | None = None) -> None: ...

    def refresh(self) -> None: ...

    def close(self, error: BaseException | None = None) -> None: ...


class _Bar:
    def __init__(self, task: str, total: int | None, unit: str) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(total=total, desc=task, unit=unit, delay=1.0, disable=False)

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        if total is not None:
            self._bar.total = total
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def refresh(self) -> None:
        self._bar.refresh()

    def close(self, error: BaseException | None = None) -> None:
        self._bar.close()


@dataclass
class _State:
    """A task's state, and when it was last written."""

    task: str
    total: int | None
    unit: str
    done: int = 0
    note: str = ""
    began: float = field(init=False)
    written: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.written = _clock()

    @property
    def seconds(self) -> float:
        return _clock() - self.began

    def update(self, done: int, note: str, total: int | None) -> None:
        self.done, self.note, self.total = done, note, self.total if total is None else total

    def due(self, every: float) -> bool:
        """True at most once in ``every`` seconds."""
        now = _clock()
        if now - self.written < every:
            return False
        self.written = now
        return True


class _Lines:
    def __init__(self, state: _State) -> None:
        self._state = state
        self._said = False

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        self._state.update(done, note, total)
        if done != self._state.total:
            self.refresh()

    def refresh(self) -> None:
        if self._state.due(LINE_SECONDS):
            self._write()

    def close(self, error: BaseException | None = None) -> None:
        if self._said:
            self._write(", stopped" if error is not None else ", finished")

    def _write(self, end: str = "") -> None:
        state, self._said = self._state, True
        seconds = state.seconds
        rate = state.done / seconds if seconds > 0 else 0.0
        of = "" if state.total is None else f" of {state.total}"
        facts = [f"{state.done}{of} {state.unit}s in {_span(seconds)}"]
        if rate:
            facts.append(f"{rate:.1f} {state.unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s a {state.unit}")
        if rate and state.total and not end:
            facts.append(f"{_span((state.total - state.done) / rate)} left")
        facts += [state.note] if state.note else []
        _write_line(f"vos: {state.task}: {', '.join(facts)}{end}")


class _Json:
    def __init__(self, state: _State) -> None:
        self._state = state
        self._write("started")

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        self._state.update(done, note, total)
        self.refresh()

    def refresh(self) -> None:
        if self._state.due(JSON_SECONDS):
            self._write("progress")

    def close(self, error: BaseException | None = None) -> None:
        if error is None:
            self._write("finished")
        else:
            self._write("failed", error=f"{type(error).__name__}: {error}".rstrip(": "))

    def _write(self, event: str, **more: str) -> None:
        state = self._state
        content = {
            "event": event,
            "task": state.task,
            "unit": state.unit,
            "done": state.done,
            "total": state.total,
            "seconds": round(state.seconds, 3),
            **({"note": state.note} if state.note else {}),
            **more,
        }
        _write_line(json.dumps(content))


def _write_line(text: str) -> None:
    with suppress(OSError):  # a reader that is gone does not end the run
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _span(seconds: float) -> str:
    """A time for people: ``42 s``, ``3 min 5 s`` or ``2 h 7 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
