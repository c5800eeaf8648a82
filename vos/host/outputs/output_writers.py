"""The writers of a run: fed in order, in a thread of their own, and left whole or absent."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vos.errors import InputError, WriterError
from vos.host.loop.tracked_frame import TrackedFrame
from vos.host.threads import WriteBehind
from vos.protocols.writer import Writer
from vos.registry.plugin_errors import in_words, is_stop
from vos.types.run import Run

logger = logging.getLogger(__name__)

WRITE_BEHIND_FRAMES = 8


class Outputs:
    """The writers of a run, in a thread of their own."""

    def __init__(self, writers: Sequence[Writer], names: Sequence[str] = ()) -> None:
        """Keep the writers; nothing is opened yet.

        Args:
            writers: fed in this order.
            names: what messages call each of them; empty for the names of their classes.
        """
        self._writers = writers
        self._names = dict(zip(map(id, writers), names, strict=False))
        self._opened: list[Writer] = []
        self._behind: WriteBehind[TrackedFrame] | None = None

    def open(self, run: Run) -> None:
        """Open every writer; a failure names the one."""
        for writer in self._writers:
            with self._naming(writer, "cannot begin"):
                writer.open(run)
            self._opened.append(writer)
        if self._opened:
            self._behind = WriteBehind(self._write, WRITE_BEHIND_FRAMES)

    def put(self, tracked: TrackedFrame) -> None:
        """Hand a frame to the writers; raises what went wrong with an earlier one."""
        if self._behind is not None:
            self._behind.put(tracked)

    def flush(self) -> None:
        """Wait until every frame is written; raises what went wrong with one."""
        if self._behind is not None:
            self._behind.flush()

    def close(self) -> None:
        """Wait for the last frame and close every writer."""
        self._drain()
        while self._opened:
            writer = self._opened[0]
            with self._naming(writer, "cannot finish"):
                writer.close()
            self._opened.pop(0)

    def abort(self, error: BaseException) -> None:
        """Write what was tracked, then leave every output whole or absent; ``error`` stays the one that counts."""
        try:
            self._drain()
        except BaseException as later:  # a second Ctrl-C too: writers are aborted all the same
            logger.debug("while stopping: %s", later)
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
        frame = tracked.frame
        for writer in self._opened:
            with self._naming(writer, f"failed on frame {frame.name} (index {frame.index})"):
                writer.write(frame, tracked.label_map, tracked.prediction)

    def _name(self, writer: Writer) -> str:
        return self._names.get(id(writer), type(writer).__name__)

    @contextmanager
    def _naming(self, writer: Writer, what: str) -> Iterator[None]:
        """Name the writer in what goes wrong inside the block."""
        try:
            yield
        except InputError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            raise WriterError(f"{self._name(writer)} {what}: {in_words(error)}") from error
