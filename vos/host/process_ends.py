"""Signals that end a command, and worker processes that end with it; a run that they stop is recorded as stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")
PATIENCE_SECONDS = 5.0
"""Time limit, in seconds, for a worker to record its run after a signal to end."""


def stop_on_signals() -> None:
    """Make SIGTERM and SIGHUP stop the command as Ctrl-C does: outputs are left whole and the run can be resumed.

    A signal that is ignored, as SIGHUP under ``nohup``, stays ignored. The first signal counts: a terminal that is
    closed sends SIGHUP twice, and the second would interrupt the clean end.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # Python sets handlers in the main thread alone
    for name in _NAMES:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)


def end_with_parent() -> None:
    """Prepare a worker process of ``multiprocessing``: it ends when its parent does, even by SIGKILL.

    SIGTERM and SIGHUP end it at once, unless it works within ``ending_cleanly``.
    """
    import multiprocessing

    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _stop:  # inherited by fork
            signal.signal(number, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="vos-end-with-parent", daemon=True).start()


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Run a block of a worker process that SIGTERM and SIGHUP stop as Ctrl-C stops a command.

    The block gets ``KeyboardInterrupt`` and records what it has done; the process ends after it, with exit code 1.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, _stop)
    try:
        yield
    except KeyboardInterrupt:
        os._exit(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_workers(workers: Iterable[BaseProcess]) -> None:
    """End worker processes: by SIGTERM, and those that have not ended after ``PATIENCE_SECONDS`` by SIGKILL.

    Args:
        workers: processes of this one.
    """
    workers = list(workers)
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + PATIENCE_SECONDS
    for worker in workers:
        worker.join(max(deadline - time.monotonic(), 0))
        if worker.is_alive():
            worker.kill()
            worker.join()


def _stop(number: int, frame: FrameType | None) -> None:
    for name in _NAMES:
        other = getattr(signal, name, None)
        if other is not None and signal.getsignal(other) is _stop:
            signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt
