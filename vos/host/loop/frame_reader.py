"""Frames of a source, each checked to have the requested index."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence

from vos.errors import PluginFailedError, SourceError, TruncatedSourceError
from vos.host.opening import frames_of
from vos.host.threads import ReadAhead
from vos.protocols.source import Source
from vos.types.arrays import Size
from vos.types.frame import Frame

logger = logging.getLogger(__name__)

READ_AHEAD_FRAMES = 4


class FrameReader:
    """Reads frames of a source ahead, in a thread of its own.

    Attributes:
        truncated: why the source ended early, once it did and that was allowed.
    """

    def __init__(self, source: Source, *, allow_truncated: bool) -> None:
        """Read nothing yet.

        Args:
            source: where frames come from; another plugin may have made it.
            allow_truncated: a source that ends early is logged, not raised.
        """
        self.truncated: str | None = None
        self._source = source
        self._allow_truncated = allow_truncated
        self._size: Size | None = source.info.size

    def read(self, indices: range, *, resumed: bool = False) -> Generator[Frame]:
        """Read frames until the last one, or until the source ends early.

        Args:
            indices: of the frames wanted; those that the source leaves out do not come.
            resumed: True where earlier frames were read before, so that a source without any of these ended early.
        Raises:
            SourceError: a frame of another size; TruncatedSourceError where ending early is not allowed.
            PluginFailedError: the source gave another frame than the one asked for.
        """
        info = self._source.info
        wanted = indices if not info.left_out else [index for index in indices if index not in info.left_out]
        given, last = 0, ""
        try:
            with ReadAhead(frames_of(self._source, indices), READ_AHEAD_FRAMES) as frames:
                for frame in self._checked(frames, wanted):
                    given, last = given + 1, frame.name
                    yield frame
            if info.frame_count is not None and given < len(wanted) and (given or resumed):
                where = f"after frame {last}" if given else f"before frame {wanted[0]}"
                raise TruncatedSourceError(
                    f"{info.location}: ended {where}: {given} frames came, {len(wanted)} were asked for.",
                    frames_read=wanted[given - 1] + 1 if given else wanted[0],
                    frames_declared=info.frame_count,
                )
        except TruncatedSourceError as error:
            if not self._allow_truncated:
                stop = f"--stop {error.frames_read} or " if error.frames_read else ""
                error.args = (f"{error} Use {stop}--allow-truncated of `vos track` to take what is there.",)
                raise
            self.truncated = str(error)
            if error.frames_read:
                logger.warning(
                    "%s: ends at frame %d of %d; the masks stop there.",
                    info.location,
                    error.frames_read - 1,
                    error.frames_declared,
                )

    def _checked(self, frames: Iterable[Frame], indices: Sequence[int]) -> Iterator[Frame]:
        info = self._source.info
        given, last = 0, ""
        for frame in frames:
            if given == len(indices) or frame.index != indices[given] or frame.name == last:
                expected = f"frame {indices[given]}" if given < len(indices) else "no more"
                raise PluginFailedError(
                    f"{info.location}: the source ({info.kind}) gave frame {frame.index}, "
                    f'named "{frame.name}", after "{last}", expected {expected} and a name of its own.'
                )
            if self._size is None:
                self._size = frame.size
            if frame.size != self._size:
                raise SourceError(
                    f"{info.location}: frame {frame.name} is {frame.size[1]}x{frame.size[0]}, "
                    f"the ones before are {self._size[1]}x{self._size[0]}. "
                    "All frames of a sequence need one size."
                )
            given, last = given + 1, frame.name
            yield frame
