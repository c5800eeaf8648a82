"""Reading and computing ahead, writing behind: bounded, order kept, errors surfaced once."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

from vos.errors import PluginFailedError
from vos.registry.plugin_errors import in_words

logger = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")

_POLL_SECONDS = 0.2
_JOIN_SECONDS = 10.0
_PATIENCE_SECONDS = 3.0


class ReadAhead(Generic[T]):
    """Runs an iterator in a thread of its own, at most ``depth`` items ahead.

    An exception of the iterator is raised where its item would have come. ``close`` stops the thread
    and closes the iterator there; leaving the ``with`` block does that too.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="vos-read-ahead", daemon=True)
        self._thread.start()

    def __enter__(self) -> ReadAhead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        while True:
            item, error = self._queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # None only with an error

    def close(self) -> None:
        """Stop reading; items not yet taken are dropped."""
        self._stopping.set()
        self._thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        iterator: Iterator[T] | None = None
        try:
            iterator = iter(self._items)
            for item in iterator:
                if not self._put((item, None)):
                    return
        except BaseException as error:
            # In this thread neither Ctrl-C nor the end of a generator is meant: a source raised them.
            told = error if isinstance(error, Exception) else PluginFailedError(f"the source failed: {in_words(error)}")
            self._put((None, told))
        else:
            self._put((None, StopIteration()))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _put(self, entry: tuple[T | None, BaseException | None]) -> bool:
        while not self._stopping.is_set():
            try:
                self._queue.put(entry, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def map_ahead(function: Callable[[S], T], items: Iterable[S], workers: int) -> Generator[T]:
    """Map items in worker threads, in order, at most ``workers`` items ahead of the consumer.

    An exception of the function or of the items is raised where its result would have come. Closing drops what has
    not begun and waits ``_PATIENCE_SECONDS`` for what has: a call that hangs, as on a device that is gone, keeps
    neither Ctrl-C nor an error from ending the run.
    """
    waiting: deque[Future[T]] = deque()
    ended: Exception | None = None
    iterator = iter(items)
    tasks: queue.SimpleQueue[tuple[Future[T], S] | None] = queue.SimpleQueue()

    def work() -> None:
        while (task := tasks.get()) is not None:
            future, item = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)

    # Daemon threads, unlike those of ThreadPoolExecutor, do not keep the process from ending.
    threads = [threading.Thread(target=work, name=f"vos-map-ahead_{n}", daemon=True) for n in range(workers)]
    for thread in threads:
        thread.start()
    try:
        while ended is None or waiting:
            if ended is not None or len(waiting) > workers:
                yield waiting.popleft().result()
                continue
            try:
                item = next(iterator)
            except Exception as error:
                ended = error
                continue
            waiting.append(Future())
            tasks.put((waiting[-1], item))
    finally:
        for future in waiting:
            future.cancel()
        for _ in threads:
            tasks.put(None)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        if any(thread.is_alive() for thread in threads):
            logger.warning("a call that was made ahead is still running and was left behind.")
    if not isinstance(ended, StopIteration):
        raise ended


class WriteBehind(Generic[T]):
    """Hands items to a function in a thread of its own, at most ``depth`` items behind.

    The function's first exception is raised by the next ``put`` or by ``drain``; items after it are
    dropped.
    """

    def __init__(self, function: Callable[[T], None], depth: int) -> None:
        self._function = function
        self._queue: queue.Queue[T | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="vos-write-behind", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand an item over; waits while the queue is full."""
        self._raise()
        self._queue.put(item)

    def flush(self) -> None:
        """Wait until all items are done, and raise the function's error if it had one."""
        self._queue.join()
        self._raise()

    def drain(self) -> None:
        """Wait until all items are done, end the thread, and raise its error if it had one."""
        self._queue.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._function(item)
                except BaseException as error:
                    self._error = error
            self._queue.task_done()
