"""Opening a source of frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from vos.errors import PluginFailedError, SourceError
from vos.host.memory_source import frames_in_memory
from vos.host.remote_inputs import RemoteSource, naming
from vos.io.remote_files import fetch, is_remote
from vos.protocols.source import Source
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.plugin_errors import blaming
from vos.registry.spec_checks import check_source
from vos.types.arrays import AnyArray
from vos.types.frame import Frame

GivenSource: TypeAlias = str | Path | int | Source | Sequence[Any] | Iterable[Any] | AnyArray


def open_source(location: GivenSource, plugins: Plugins | None = None) -> Source:
    """Open a source of frames.

    Args:
        location: a video, a folder of images, a camera index, an address (of a file or folder such as
            ``s3://bucket/a.mp4``, of which a copy is read, or of a stream); frames in memory (a list or iterator of
            uint8 arrays (H, W, 3), Pillow images or image files; an array or tensor (T, H, W, 3) or (T, 3, H, W)); a
            ready source is returned.
        plugins: which plugins are asked; None loads the installed ones.
    Returns:
        An open source; close it when done.
    Raises:
        SourceError: nothing can read it.
    """
    if isinstance(location, Source):
        check_source(location, f"source {type(location).__name__}")
        return location
    if not isinstance(location, (str, int, os.PathLike)):
        return frames_in_memory(location)
    if is_remote(location):
        address = str(location)
        copy = fetch(address)
        try:
            with naming(address, copy):
                return RemoteSource(address, copy, open_source(copy.path, plugins))
        except BaseException:
            copy.close()
            raise
    source = (plugins or load_plugins()).hook.vos_open_source(location=str(location))
    if source is None:
        raise SourceError(f"{location}: no plugin can read this. Which plugins are there: `vos plugins --json`.")
    assert isinstance(source, Source), "checked where the plugin answers"
    return source


def frames_of(source: Source, indices: range) -> Iterator[Frame]:
    """Read frames of a source, so that what goes wrong in it names it.

    Args:
        source: an open source, which another plugin may have made; it stays open.
        indices: of the frames.
    Yields:
        What the source gives, in its order.
    Raises:
        SourceError: from the source.
        PluginFailedError: the source failed otherwise, or gave what is no frame.
    """
    who = f"{source.info.location}: the source ({source.info.kind})"
    with blaming(f"{who} failed", leaving=True):
        frames = iter(source.frames(indices))
        try:
            for frame in frames:
                if not isinstance(frame, Frame):
                    raise PluginFailedError(f"{who} gave a {type(frame).__name__}, expected a vos.Frame.")
                yield frame
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()
