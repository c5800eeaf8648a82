"""Frames that are tracked backward wait on disk, so that writers of whole files get all frames in ascending order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vos.host.both_ways.spool import BackwardSpool
from vos.host.loop.tracked_frame import TrackedFrame
from vos.types.frame import Frame


class WaitingFrames:
    """Tracked frames on disk: put in by descending index, taken out by ascending index."""

    def __init__(self, *, with_images: bool) -> None:
        """Prepare; nothing is stored yet.

        Args:
            with_images: False stores no images: the frames come back black.
        """
        self._with_images = with_images
        self._spool = BackwardSpool()
        self._held: list[tuple[int, str, float | None]] = []

    def put(self, tracked: TrackedFrame) -> None:
        """Store a frame.

        Raises:
            InputError: the temporary folder cannot hold it.
        """
        frame, prediction = tracked.frame, tracked.prediction
        if self._with_images:
            self._spool.put_image(frame.index, frame.image)
        self._spool.put(frame.index, tracked.label_map, prediction, prediction.object_ids)
        self._held.append((frame.index, frame.name, frame.time))

    def drain(self) -> Iterator[TrackedFrame]:
        """Yield the frames by ascending index, and remove them."""
        for index, name, time in sorted(self._held):
            stored, image = self._spool.take(index), self._spool.take_image(index)
            assert stored is not None, "put in before"
            label_map, prediction = stored
            if image is None:
                image = np.zeros((*label_map.shape, 3), np.uint8)
            yield TrackedFrame.of(Frame(index, image, name, time), prediction, label_map)
        self.close()

    def close(self) -> None:
        """Remove what waits."""
        self._held = []
        self._spool.close()
