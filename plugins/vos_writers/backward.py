"""Pictures of frames that were tracked backward: they wait on disk until the first frame forward."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vos.plugin import AnyArray, output_errors


class BackwardSpool:
    """A stack of pictures on disk: the last one put in is the first one out."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._held: list[tuple[Path, float | None]] = []

    def put(self, pixels: AnyArray, time: float | None) -> None:
        """Store a picture of 8 or 16 bits with 1, 3 or 4 channels, and its time."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="vos-backward-")
        path = Path(self._folder.name) / f"{len(self._held)}.png"
        good, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        assert good, "pictures of 8 and 16 bits can be encoded"
        with output_errors(path):
            path.write_bytes(content.tobytes())
        self._held.append((path, time))

    def drain(self) -> Iterator[tuple[AnyArray, float | None]]:
        """Yield the pictures in ascending order of frames, and remove them."""
        while self._held:
            path, time = self._held.pop()
            yield np.asarray(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)), time
        self.close()

    def close(self) -> None:
        """Remove what waits."""
        self._held = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
