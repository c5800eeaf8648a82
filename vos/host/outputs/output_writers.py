"""Run the writers of a run in a background thread; each output is complete or absent."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vos.errors import InputError, WriterError
from vos.host.loop.tracked_frame import TrackedFrame
from vos.host.outputs.ascending_frames import WaitingFrames
from vos.host.threads import WriteBehind
from vos.protocols.writer import Writer
from vos.registry.plugin_errors import in_words, is_stop
from vos.types.run import Run

logger = logging.getLogger(__name__)

WRITE_BEHIND_FRAMES = 8
"""Number of tracked frames that may wait for the writers."""


class Outputs:
    """The writers of a run, called frame by frame in a background thread.

    Writers with ``per_frame`` get each frame as it is tracked; the others get all frames in ascending order.
    """

    def __init__(self, writers: Sequence[Writer], names: Sequence[str] = (), backward: range = range(0)) -> None:
        """Store the writers without opening them.

        Args:
            writers: called in this order for each frame.
            names: the writers' names in messages; empty for the names of their classes.
            backward: indices of the frames that come first, in descending order.
        """
        self._writers = writers
        self._names = dict(zip(map(id, writers), names, strict=False))
        self._opened: list[Writer] = []
        self._behind: WriteBehind[TrackedFrame] | None = None
        self._backward = backward
        ascending = [writer for writer in writers if not _is_per_frame(writer)]
        self._waiting = WaitingFrames(with_images=any(getattr(one, "needs_images", True) for one in ascending))

    def open(self, run: Run) -> None:
        """Open every writer; an error names the writer."""
        for writer in self._writers:
            with self._naming(writer, "cannot begin"):
                writer.open(run)
            self._opened.append(writer)
        if self._opened:
            self._behind = WriteBehind(self._write, WRITE_BEHIND_FRAMES)

    def put(self, tracked: TrackedFrame) -> None:
        """Queue a frame for the writers; raises the error of an earlier frame."""
        if self._behind is not None:
            self._behind.put(tracked)

    def flush(self) -> None:
        """Wait until every queued frame is written; raises the error of a frame."""
        if self._behind is not None:
            self._behind.flush()

    def close(self) -> None:
        """Write the queued frames, and close every writer."""
        self._drain()
        self._write_waiting()
        while self._opened:
            writer = self._opened[0]
            with self._naming(writer, "cannot finish"):
                writer.close()
            self._opened.pop(0)

    def abort(self, error: BaseException) -> None:
        """Write the queued frames, and abort every writer because of ``error``; later errors are logged."""
        try:
            self._drain()
        except BaseException as later:  # also a second Ctrl-C: the writers are aborted even then
            logger.debug("while stopping: %s", later)
        self._waiting.close()
        for writer in self._opened:
            try:
                writer.abort(error)
            except BaseException as later:
                logger.warning("%s could not stop cleanly: %s", self._name(writer), in_words(later))
        self._opened = []

    def _drain(self) -> None:
        behind, self._behind = self._behind, None
        if behind is not None:
            behind.drain()

    def _write(self, tracked: TrackedFrame) -> None:
        if tracked.frame.index not in self._backward:
            self._write_waiting()
            self._give(tracked, self._opened)
            return
        per_frame = [writer for writer in self._opened if _is_per_frame(writer)]
        self._give(tracked, per_frame)
        if len(per_frame) < len(self._opened):
            self._waiting.put(tracked)

    def _write_waiting(self) -> None:
        ascending = [writer for writer in self._opened if not _is_per_frame(writer)]
        for tracked in self._waiting.drain():
            self._give(tracked, ascending)

    def _give(self, tracked: TrackedFrame, writers: Sequence[Writer]) -> None:
        frame = tracked.frame
        for writer in writers:
            with self._naming(writer, f"failed on frame {frame.name} (index {frame.index})"):
                writer.write(frame, tracked.label_map, tracked.prediction)

    def _name(self, writer: Writer) -> str:
        return self._names.get(id(writer), type(writer).__name__)

    @contextmanager
    def _naming(self, writer: Writer, what: str) -> Iterator[None]:
        """Turn an error of the block into a ``WriterError`` that names the writer."""
        try:
            yield
        except InputError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            raise WriterError(f"{self._name(writer)} {what}: {in_words(error)}") from error


def _is_per_frame(writer: Writer) -> bool:
    return bool(getattr(writer, "per_frame", False))
