"""Signals that end a command, and worker processes that end with it."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")


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

    SIGTERM and SIGHUP end it at once; its parent cleans up.
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
        os._exit(1)

    threading.Thread(target=watch, name="vos-end-with-parent", daemon=True).start()


def _stop(number: int, frame: FrameType | None) -> None:
    for name in _NAMES:
        other = getattr(signal, name, None)
        if other is not None and signal.getsignal(other) is _stop:
            signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt
