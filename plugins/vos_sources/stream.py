"""Frames from a camera or a network stream, as they come."""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np

from vos.plugin import Frame, SourceError, SourceInfo, sequence_name
from vos_sources.quiet import quieten

logger = logging.getLogger("vos.sources")

STALLED_SECONDS = 10.0
"""A stream that waits this long before it ends was interrupted; OpenCV gives up after 30 s."""
LEAST_SHARE = 0.95
"""A stream that ends before this share of the frames that it states was cut short; some state an estimate."""
CLOSING_SECONDS = 0.5


class StreamSource:
    """A live source: forward only, no length, times by the clock from the first frame."""

    def __init__(self, address: int | str) -> None:
        """Open a camera or stream.

        Args:
            address: camera index, or an address such as ``rtsp://...``.
        Raises:
            SourceError: it cannot be opened or gives no picture.
        """
        quieten()
        self._capture = cv2.VideoCapture(address)
        self._reading = threading.Lock()
        self._closed = False
        self._began: float | None = None
        # In messages and records: no user, password or query, which may be a token.
        what = f"camera {address}" if isinstance(address, int) else re.sub(r"(?<=://)[^/?#]*@|[?#].*", "", address)
        if not self._capture.isOpened():
            advice = "Is it connected, and not used by another program?"
            if not isinstance(address, int):
                advice = "Is the address right, and its server up? That of a video file ends as the file does (.mp4)."
            raise SourceError(f"{what}: cannot be opened. {advice}")
        self._what = what
        self._stated = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))  # below 0 where there is no length
        first = self._read(0)
        if first is None:
            self.close()
            raise SourceError(f"{what}: opened, but gives no picture.")
        self._latest = first
        fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or None
        self._info = SourceInfo(
            location=str(address) if isinstance(address, int) else what,
            name=sequence_name(str(address)),
            kind="live stream (OpenCV)",
            size=first.size,
            fps=fps,
            seekable=False,
        )

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames until the stream ends; see ``vos.plugin.Source``. A later call may begin at the latest frame.

        Raises:
            SourceError: the range goes backward, or begins before the latest frame that was read.
        """
        if indices is not None and indices.step < 0:
            raise SourceError(f"{self._what}: a live stream cannot go backward.")
        if (0 if indices is None else indices.start) < self._latest.index:
            raise SourceError(f"{self._what}: a live stream can be read once.")
        self._began = self._began or time.monotonic()
        for index in itertools.count() if indices is None else range(indices[-1] + 1 if indices else 0):
            if index > self._latest.index:
                frame = self._read(index)
                if frame is None:
                    return
                self._latest = frame
            if index == self._latest.index and (indices is None or index in indices):
                yield self._latest

    def close(self) -> None:
        """Release the device. A read that still waits in another thread releases it: OpenCV crashes otherwise."""
        self._closed = True
        if self._reading.acquire(timeout=CLOSING_SECONDS):
            self._capture.release()
            self._reading.release()

    def _read(self, index: int) -> Frame | None:
        """Wait for the next frame; None where the stream has ended, or was closed."""
        asked = time.monotonic()
        with self._reading:
            good, image = (False, None) if self._closed else self._capture.read()
            if self._closed:
                self._capture.release()
                return None
        now = time.monotonic()
        if not good or image is None:
            self._warn_of_the_end(index, now - asked)
            return None
        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return Frame(index, rgb, f"{index:05d}", 0.0 if self._began is None else now - self._began)

    def _warn_of_the_end(self, frames: int, waited: float) -> None:
        """Warn where a stream was interrupted: it stalled, is a camera, or a file that states more frames."""
        of = f" of {self._stated:.0f} stated frames" if frames < LEAST_SHARE * self._stated else ""
        if frames and (of or waited >= STALLED_SECONDS or self._what.startswith("camera ")):
            logger.warning(
                "%s: gives no picture after frame %d%s (%.0f s waited); the masks stop there.",
                self._what,
                frames - 1,
                of,
                waited,
            )
