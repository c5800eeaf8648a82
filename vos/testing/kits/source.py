"""The kit for sources of frames."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from vos.errors import SourceError
from vos.host.opening import open_source
from vos.protocols.source import Source
from vos.registry.discovery import Plugins, load_plugins
from vos.testing.contract import ContractCheck, ContractError, breaking, check_all
from vos.testing.kits.methods import check_methods
from vos.types.frame import Frame
from vos.types.source_info import SourceInfo

SourceFactory: TypeAlias = Callable[[], Source]
"""Opens a new reader of the same source at each call."""

NOBODYS = "vos-testing-nobody-reads-this://host/sequence"
"""A location that no plugin opens."""


@dataclass(frozen=True)
class _Settings:
    factory: SourceFactory
    location: str | None
    plugins: Plugins | None
    unreadable: str | None
    limit: int

    @contextmanager
    def source(self, clause: str) -> Iterator[Source]:
        """Open the source for a check and close it afterwards."""
        with breaking(clause, "opening the source"):
            source = self.factory()
        try:
            yield source
        finally:
            with breaking(clause, "close"):
                source.close()

    def read(self, source: Source, clause: str, indices: range | None = None) -> Iterator[Frame]:
        """Read at most ``limit`` frames."""
        what = "frames()" if indices is None else f"frames({indices})"
        with breaking(clause, what):
            for frame in islice(source.frames(indices), self.limit):
                if not isinstance(frame, Frame):
                    raise ContractError(clause, f"{what} gave a {type(frame).__name__}, expected a vos.plugin.Frame.")
                yield frame


def source_checks(
    source: str | Path | SourceFactory,
    *,
    plugins: Plugins | None = None,
    unreadable: str | Path | None = None,
    limit: int = 40,
) -> list[ContractCheck]:
    """List the checks of a source without running them.

    Args:
        source: a location that an installed plugin opens, or a function that opens the same source anew each time.
        plugins: whose ``vos_open_source`` are asked; by default all installed plugins.
        unreadable: a location that is for the plugin and cannot be read (absent, damaged); None leaves that clause out.
        limit: number of frames that are read at most; a source of 4 to 40 small frames is best.
    Returns:
        One check for each clause.
    """
    location = None if callable(source) else str(source)
    loaded = None if location is None and unreadable is None else plugins or load_plugins()
    factory = source if callable(source) else partial(open_source, location or "", loaded)
    settings = _Settings(factory, location, loaded, None if unreadable is None else str(unreadable), limit)
    return [ContractCheck(clause, partial(check, settings)) for clause, check in _CHECKS.items()]


def check_source(source: str | Path | SourceFactory, **settings: Any) -> list[str]:
    """Check that a source keeps the contract.

    Args:
        source: as for ``source_checks``.
        settings: the other arguments of ``source_checks``.
    Returns:
        The clauses that were checked.
    Raises:
        ContractError: the first clause that it breaks.
    """
    return check_all(source_checks(source, **settings))


def _methods(settings: _Settings) -> None:
    clause = "source-methods"
    with breaking(clause, "opening the source"):
        source = settings.factory()
    check_methods(clause, source, {"frames": 1, "close": 0}, {})
    with breaking(clause, "info"):
        info = getattr(source, "info", None)
    source.close()
    if not isinstance(info, SourceInfo):
        raise ContractError(clause, f"info is a {type(info).__name__}, expected a vos.plugin.SourceInfo.")


def _frames(settings: _Settings) -> None:
    clause = "source-frames"
    names: set[str] = set()
    with settings.source(clause) as source:
        for position, frame in enumerate(settings.read(source, clause)):
            if frame.index != position:
                raise ContractError(clause, f"frame {position} has the index {frame.index}.")
            if frame.name in names:
                raise ContractError(clause, f'two frames have the name "{frame.name}".')
            names.add(frame.name)
    if not names:
        raise ContractError(clause, "frames() gave no frame.")


def _info(settings: _Settings) -> None:
    clause = "source-info"
    with settings.source(clause) as source:
        info = source.info
        frames = [(frame.name, frame.size) for frame in settings.read(source, clause)]
        if source.info != info:
            raise ContractError(clause, "info changed while frames were read.")
    if info.frame_count is not None and len(frames) != min(info.frame_count, settings.limit):
        raise ContractError(clause, f"info.frame_count is {info.frame_count}, and frames() gave {len(frames)}.")
    for name, size in frames:
        if info.size is not None and size != info.size:
            raise ContractError(clause, f"info.size is {info.size}, and frame {name} has {size} pixels.")
    if info.frame_names is not None:
        stated, found = list(info.frame_names[: settings.limit]), [name for name, _ in frames]
        if stated != found:
            k = next(k for k, (a, b) in enumerate(zip_longest(stated, found)) if a != b)
            raise ContractError(
                clause, f"info.frame_names[{k}] is {stated[k : k + 1]}, frame {k} is {found[k : k + 1]}."
            )
    if not info.name.strip() or not info.kind.strip():
        raise ContractError(clause, f"info has the name {info.name!r} and the kind {info.kind!r}, expected text.")


def _indices(settings: _Settings) -> None:
    clause = "source-indices"
    with settings.source(clause) as source:
        frames = list(settings.read(source, clause))
        seekable = source.info.seekable
    count = len(frames)
    ranges = [range(count), range(1, count), range(0, count, 2), range(count // 2, count // 2)]
    if seekable:
        ranges += [range(count - 1, -1, -1), range(count - 1, 0, -2)]
    for indices in ranges:
        with settings.source(clause) as source:
            read = list(settings.read(source, clause, indices))
        if [frame.index for frame in read] != list(indices):
            found = [frame.index for frame in read]
            raise ContractError(clause, f"frames({indices}) gave the indices {found}, expected {list(indices)}.")
        if not seekable and source.info.frame_count is None:
            continue  # a live source shows something else each time
        for frame in read:
            _check_same(clause, f"frames({indices})", frame, frames[frame.index])


def _restart(settings: _Settings) -> str | None:
    clause = "source-restart"
    with settings.source(clause) as source:
        if not source.info.seekable:
            return "the source is not seekable"
        whole = list(settings.read(source, clause))
        with breaking(clause, "frames()"):
            left = source.frames()
            next(left, None)
        again = list(settings.read(source, clause))
        if len(again) != len(whole):
            raise ContractError(clause, f"frames() gave {len(whole)} frames, and {len(again)} when called again.")
        for first, second in zip(whole, again, strict=True):
            _check_same(clause, "a second frames()", second, first)
    return None


def _check_same(clause: str, what: str, found: Frame, expected: Frame) -> None:
    if found.name != expected.name:
        raise ContractError(
            clause, f'{what} named frame {found.index} "{found.name}", and frames() named it "{expected.name}".'
        )
    if not np.array_equal(found.image, expected.image):
        raise ContractError(clause, f"{what} gave other pixels for frame {found.index} than frames().")


def _own_pixels(settings: _Settings) -> None:
    clause = "source-own-pixels"
    with settings.source(clause) as source:
        kept = [(frame, frame.image.copy()) for frame in settings.read(source, clause)]
        for frame, image in kept:
            if not np.array_equal(frame.image, image):
                raise ContractError(clause, f"the image of frame {frame.name} changed when later frames were read.")


def _memory(settings: _Settings) -> str | None:
    clause = "source-memory"
    with settings.source(clause) as source:
        tracing = tracemalloc.is_tracing()
        tracemalloc.start()
        held: list[int] = []
        size = 0
        try:
            for frame in settings.read(source, clause):
                size = frame.image.nbytes
                del frame
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        finally:
            if not tracing:
                tracemalloc.stop()
    first = len(held) // 2
    if len(held) - first < 3:
        return f"the source has {len(held)} frames; 6 or more show whether memory grows"
    growth = (held[-1] - held[first]) / (len(held) - 1 - first)
    if growth > 0.5 * size:
        raise ContractError(
            clause, f"memory grows by {growth / 1024:.1f} KiB a frame of {size / 1024:.1f} KiB, expected none."
        )
    return None


def _close(settings: _Settings) -> None:
    clause = "source-close"
    with settings.source(clause):
        pass
    with settings.source(clause) as source:
        next(settings.read(source, clause), None)


def _foreign(settings: _Settings) -> str | None:
    if settings.plugins is None or settings.location is None:
        return "the source was given as a function, not as a location"
    hooks = reversed(settings.plugins.hook.vos_open_source.get_hookimpls())
    for hook in (hook for hook in hooks if not (hook.wrapper or hook.hookwrapper)):
        try:
            answer = hook.function(NOBODYS)
        except SourceError:
            answer = None  # the shipped sources are asked last, and say that there is no such file
        except Exception as error:
            raise ContractError("source-foreign", f"{hook.plugin_name}: {NOBODYS} raised {error}") from error
        if answer is not None:
            raise ContractError("source-foreign", f"{hook.plugin_name} opened {NOBODYS} as {answer.info.kind}.")
        if (source := hook.function(settings.location)) is not None:
            source.close()
            break
    return None


def _unreadable(settings: _Settings) -> str | None:
    clause, location = "source-unreadable", settings.unreadable
    if location is None or settings.plugins is None:
        return "no unreadable location was given"
    try:
        with breaking(clause, f"opening {location}", allowed=(SourceError,)):
            source = open_source(location, settings.plugins)
            try:
                count = sum(1 for _ in source.frames())
            finally:
                source.close()
    except SourceError as error:
        if Path(location).name not in str(error):
            raise ContractError(clause, f"the message does not name {location}: {error}") from error
        return None
    raise ContractError(clause, f"{location} was read without an error: {count} frames.")


_CHECKS: dict[str, Callable[[_Settings], str | None]] = {
    "source-methods": _methods,
    "source-frames": _frames,
    "source-info": _info,
    "source-indices": _indices,
    "source-restart": _restart,
    "source-own-pixels": _own_pixels,
    "source-memory": _memory,
    "source-close": _close,
    "source-foreign": _foreign,
    "source-unreadable": _unreadable,
}
