"""Frames as JPEG by index: one decoding thread, a cache bounded in bytes, the next frames decoded ahead."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from typing import NamedTuple

import cv2
import numpy as np

from vos.plugin import Frame, Source, SourceError, SourceInfo

JPEG_QUALITY = 88
CACHE_BYTES = 192 * 2**20
AHEAD_FRAMES = 48
BEHIND_FRAMES = 16
"""Frames decoded together when a page steps backward: a seek costs as much as decoding many frames."""
SKIP_FRAMES = 12
"""A gap up to this many frames is decoded through, a larger one is sought."""


class EncodedFrame(NamedTuple):
    """A frame as the page gets it.

    Attributes:
        jpeg: the picture.
        time: seconds, or None where the source has no times.
    """

    jpeg: bytes
    time: float | None


class FrameServer:
    """Serves one source's frames, and is a source itself; its memory does not grow with the source."""

    def __init__(self, source: Source, cache_bytes: int = CACHE_BYTES) -> None:
        """Serve an open, seekable source.

        Args:
            source: closed by ``close``.
            cache_bytes: most bytes of JPEG that are kept.
        """
        self._source = source
        self._count = source.info.frame_count or 0
        self._cache_bytes = cache_bytes
        self._cached: OrderedDict[int, EncodedFrame] = OrderedDict()
        self._size = 0
        self._wanted: OrderedDict[int, list[Future[EncodedFrame]]] = OrderedDict()
        self._wanted_raw: list[tuple[int, Future[Frame]]] = []
        self._condition = threading.Condition()
        self._position = 0
        self._frames: Iterator[Frame] | None = None
        self._last = 0
        self._idle_allowed = True
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="vos-web-frames", daemon=True)
        self._thread.start()

    def encoded(self, index: int) -> EncodedFrame:
        """Return a frame as JPEG, with its time; blocks until it is decoded.

        Args:
            index: of the frame, from 0.
        Raises:
            SourceError: it cannot be read.
        """
        with self._condition:
            found = self._cached.get(index)
            if found is not None:
                self._cached.move_to_end(index)
                self._last = index
                self._condition.notify()
                return found
            future: Future[EncodedFrame] = Future()
            self._wanted.setdefault(index, []).append(future)
            self._condition.notify()
        return future.result()

    def frame(self, index: int) -> Frame:
        """Return a frame's pixels; blocks until it is decoded."""
        future: Future[Frame] = Future()
        with self._condition:
            self._wanted_raw.append((index, future))
            self._condition.notify()
        return future.result()

    @property
    def info(self) -> SourceInfo:
        """Facts of the source."""
        return self._source.info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Yield frames, all or those of a range, in its order."""
        for index in range(self._count) if indices is None else indices:
            yield self.frame(index)

    def allow_decoding_ahead(self, allowed: bool) -> None:
        """Allow or forbid decoding ahead in idle time; a running tracker needs the cores."""
        with self._condition:
            self._idle_allowed = allowed
            self._condition.notify()

    def close(self) -> None:
        """Stop the thread and close the source."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()
        self._source.close()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not (self._closed or self._wanted or self._wanted_raw or self._next_ahead() is not None):
                    self._condition.wait()
                if self._closed:
                    waiting = [f for futures in self._wanted.values() for f in futures]
                    break
                raw = self._wanted_raw.pop() if self._wanted_raw else None
                index, futures = (0, []) if raw or not self._wanted else self._wanted.popitem()
                ahead = None if raw or futures else self._next_ahead()
            if raw is not None:
                self._serve_raw(*raw)
            elif futures:
                self._serve(index, futures)
            elif ahead is not None:
                self._decode_ahead(ahead)
        for future in waiting:
            future.cancel()

    def _serve_raw(self, index: int, future: Future[Frame]) -> None:
        try:
            future.set_result(self._decode(index))
        except Exception as error:
            self._frames = None
            future.set_exception(error)

    def _serve(self, index: int, futures: list[Future[EncodedFrame]]) -> None:
        first = max(0, index - BEHIND_FRAMES) if index < self._last else index
        self._last = index
        try:
            for earlier in range(first, index):
                if earlier not in self._cached:
                    self._store(self._decode(earlier))
            content = self._cached.get(index) or self._store(self._decode(index))
        except Exception as error:
            self._frames = None
            for future in futures:
                future.set_exception(error)
            return
        for future in futures:
            future.set_result(content)

    def _decode_ahead(self, index: int) -> None:
        try:
            self._store(self._decode(index))
        except Exception:
            self._frames = None
            with self._condition:
                self._count = min(self._count, index)  # the page hears of it when it asks for that frame

    def _next_ahead(self) -> int | None:
        """The next frame worth decoding while nobody asks, or None."""
        if not self._idle_allowed:
            return None
        mean = self._size / max(1, len(self._cached))
        room = int(self._cache_bytes / max(mean, 1.0))
        ahead = self._count if room > self._count * 1.1 else min(AHEAD_FRAMES, room // 2)
        for index in range(self._last, min(self._count, self._last + ahead)):
            if index not in self._cached:
                return index
        if room > self._count * 1.1:
            return next((index for index in range(self._last) if index not in self._cached), None)
        return None

    def _decode(self, index: int) -> Frame:
        if self._frames is None or not self._position <= index <= self._position + SKIP_FRAMES:
            self._position = index
            count = self._source.info.frame_count or 0
            self._frames = self._source.frames(range(index, count))
        while True:
            frame = next(self._frames, None)
            if frame is None:
                self._frames = None
                raise SourceError(f"{self._source.info.location}: frame {index} cannot be read.")
            self._position += 1
            if frame.index == index:
                return frame

    def _store(self, frame: Frame) -> EncodedFrame:
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        good, content = cv2.imencode(".jpg", np.asarray(bgr), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert good, "uint8 BGR pictures can be encoded"
        data = EncodedFrame(content.tobytes(), frame.time)
        with self._condition:
            self._cached[frame.index] = data
            self._size += len(data.jpeg)
            while self._size > self._cache_bytes and len(self._cached) > 1:
                _, dropped = self._cached.popitem(last=False)
                self._size -= len(dropped.jpeg)
        return data
