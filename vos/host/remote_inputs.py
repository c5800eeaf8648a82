"""Videos and masks at addresses: the local copy is read, the record names the address."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vos.errors import VosError
from vos.io.remote_files import LocalCopy, fetch, is_remote, shown
from vos.protocols.source import Source
from vos.types.frame import Frame
from vos.types.source_info import SourceInfo


class RemoteSource:
    """A source whose frames are in a local copy of what an address names."""

    def __init__(self, address: str, copy: LocalCopy, source: Source) -> None:
        """Wrap a source that reads a local copy, and own the copy.

        Args:
            address: of the original.
            copy: of ``fetch``; closed with this source.
            source: reads the copy.
        """
        self._copy, self._source = copy, source
        self._info = dataclasses.replace(source.info, location=shown(address), local_copy=copy.path)

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read; the location is the address without its signature."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames; see ``vos.plugin.Source``."""
        with naming(self._info.location, self._copy):
            yield from self._source.frames(indices)

    def close(self) -> None:
        """Close the source and leave the copy to the cache."""
        self._source.close()
        self._copy.close()


@contextmanager
def naming(address: str, copy: LocalCopy) -> Iterator[None]:
    """Name the address in place of its local copy in the errors of the block."""
    try:
        yield
    except VosError as error:
        error.args = (str(error).replace(str(copy.path), shown(address)), *error.args[1:])
        raise


def local_annotations(given: Any, opened: ExitStack) -> Any:
    """Replace the addresses among given annotations by local copies.

    Args:
        given: as for ``vos.track``.
        opened: keeps the copies until it is closed.
    Returns:
        The same with paths.
    Raises:
        SourceError: an address cannot be read.
    """
    if isinstance(given, Mapping):
        return {key: local_annotations(one, opened) for key, one in given.items()}
    if not is_remote(given):
        return given
    copy = fetch(given)
    opened.callback(copy.close)
    opened.enter_context(naming(given, copy))
    return Path(copy.path)
