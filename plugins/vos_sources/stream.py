"""Frames from a camera or a network stream, as they come."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator

import cv2
import numpy as np

from vos.plugin import Frame, SourceError, SourceInfo, safe_name
from vos_sources.quiet import quieten


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
        self._first: Frame | None = None
        what = f"camera {address}" if isinstance(address, int) else str(address)
        if not self._capture.isOpened():
            raise SourceError(f"{what}: cannot be opened. Is it connected, and not used by another program?")
        self._what = what
        first = self._read(0, None)
        if first is None:
            self.close()
            raise SourceError(f"{what}: opened, but gives no picture.")
        self._first = first
        fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or None
        name = f"camera-{address}" if isinstance(address, int) else safe_name(re.sub(r"^.*://([^@/]*@)?", "", what))
        self._info = SourceInfo(
            location=str(address), name=name, kind="live stream (OpenCV)", size=first.size, fps=fps, seekable=False
        )

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames until the stream ends; see ``vos.plugin.Source``.

        Raises:
            SourceError: the range goes backward, or the frames were read before.
        """
        if indices is not None and indices.step < 0:
            raise SourceError(f"{self._what}: a live stream cannot go backward.")
        if self._first is None:
            raise SourceError(f"{self._what}: a live stream can be read once.")
        frame: Frame | None = self._first
        self._first = None
        began = time.monotonic()
        for index in itertools.count():
            if frame is None or (indices is not None and indices.stop <= index):
                return
            if indices is None or index in indices:
                yield frame
            frame = self._read(index + 1, time.monotonic() - began)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()

    def _read(self, index: int, seconds: float | None) -> Frame | None:
        good, image = self._capture.read()
        if not good:
            return None
        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return Frame(index, rgb, f"{index:05d}", seconds or 0.0)
