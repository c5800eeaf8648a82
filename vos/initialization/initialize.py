"""A first label map without a person to draw it: run an initializer, then choose objects."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vos.errors import EmptyMaskError, OptionError, PluginError, SourceError, WeightsError
from vos.host.opening import frames_of, open_source
from vos.host.torch_settings import TorchSettings
from vos.initialization.object_selection import ObjectSelection, choose_objects
from vos.protocols.initializer import ClipInitializer, Initializer
from vos.protocols.source import Source
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.options import make_options
from vos.registry.plugin_errors import blaming, close_or_warn
from vos.registry.specs import InitializerSpec
from vos.types.arrays import Image, LabelMap
from vos.types.frame import Frame
from vos.types.label_map import VOID
from vos.types.runtime import Runtime
from vos.types.whole_numbers import whole_number


def initialize(
    where: Frame | Image | Source | str | Path | int,
    initializer: str | Initializer,
    options: Mapping[str, Any] | Any | None = None,
    *,
    runtime: Runtime | None = None,
    plugins: Plugins | None = None,
    select: ObjectSelection | Literal[False] | None = None,
    frame_index: int = 0,
) -> LabelMap:
    """Make a label map of one frame.

    Args:
        where: a frame, an image (uint8 (H, W, 3), RGB), an open source, or a path, camera or address.
        initializer: a name (``vos plugins`` lists them) or a ready initializer.
        options: the named initializer's options.
        runtime: where its model runs; None for the defaults.
        plugins: where names are looked up; None loads the installed ones.
        select: how objects are chosen among segments; None does it with the defaults where the
            initializer gives segments of the whole frame (``InitializerSpec.segments``); False never.
        frame_index: which frame of a source, from 0.
    Returns:
        uint8 (H, W), the frame's size: 0 and ids from 1.
    Raises:
        PluginError: no such initializer, or it broke its contract.
        SourceError: the frame cannot be read.
        EmptyMaskError: nothing was found.
        PluginFailedError: the initializer failed.
    """
    frame_index = whole_number(frame_index, "frame index", SourceError)
    if isinstance(where, np.ndarray):
        where = Frame(frame_index, where, f"{frame_index:05d}")
    segments, settings = False, TorchSettings(runtime)
    with nullcontext(where) if isinstance(where, Frame) else _opened(where, plugins) as given:
        if isinstance(initializer, str):
            name = initializer
            plugins = plugins or load_plugins()
            with settings.active():
                initializer, spec = make_initializer(name, options, runtime or Runtime(), plugins)
            segments = spec.segments
        elif options:
            raise OptionError(f"options are {options!r}, but the initializer is made already. Give its name.")
        else:
            name = type(initializer).__name__
        frame, others = (given, None) if isinstance(given, Frame) else read_clip(given, frame_index, initializer)
    with settings.active():
        label_map = find_objects(frame, initializer, name, plugins, others)
    if select is False or (select is None and not segments):
        return label_map
    return choose_objects(label_map, select or ObjectSelection(), segments=segments)


def find_objects(
    frame: Frame,
    initializer: Initializer,
    name: str,
    plugins: Plugins | None = None,
    others: Mapping[int, Frame] | None = None,
) -> LabelMap:
    """Run an initializer on a frame, and check what it gives.

    Args:
        frame: to find objects in.
        initializer: a ready one.
        name: its name in messages.
        plugins: whose initializers without weights a message about missing weights names.
        others: frames around it, from ``read_clip``; None for a frame that stands alone.
    Returns:
        uint8 (H, W), the frame's size: 0 and ids from 1.
    Raises:
        PluginError: it broke its contract.
        EmptyMaskError: nothing was found.
        PluginFailedError: it failed.
    """
    with blaming(f'initializer "{name}" failed on frame {frame.name}'), _naming_others(plugins):
        if others is not None and isinstance(initializer, ClipInitializer):
            return _checked(initializer.initialize_in_clip(frame, others), frame, name)
        return _checked(initializer.initialize(frame), frame, name)


def make_initializer(
    name: str, options: Mapping[str, Any] | Any | None, runtime: Runtime, plugins: Plugins
) -> tuple[Initializer, InitializerSpec]:
    """Make an initializer by name.

    Args:
        name: as ``vos plugins`` lists it.
        options: its options.
        runtime: where its model runs.
        plugins: where the name is looked up.
    Returns:
        The initializer and its spec.
    Raises:
        PluginError: no such initializer.
        OptionError: an option does not fit.
        PluginFailedError: the factory failed.
    """
    spec = plugins.initializers.get(name)
    made = make_options(spec.options, options, f'initializer "{name}"')
    with blaming(f'initializer "{name}" cannot be made'), _naming_others(plugins):
        return spec.factory(made, runtime), spec


@contextmanager
def _naming_others(plugins: Plugins | None) -> Iterator[None]:
    """Add to an error about missing weights the initializers that need none."""
    try:
        yield
    except WeightsError as error:
        others = [spec for spec, _ in plugins.initializers.all() if not spec.needs_weights] if plugins else []
        if not others:
            raise
        flags = ", ".join(one.flag for spec in others for one in spec.shorthands)
        names = ", ".join(spec.name for spec in others)
        raise type(error)(f"{error}\nWithout weights: {names} ({flags} of `vos init`).") from error


def read_frame(source: Source | str | Path | int, index: int = 0, plugins: Plugins | None = None) -> Frame:
    """Read one frame.

    Args:
        source: an open source (it stays open), or a path, camera or address.
        index: of the frame, from 0.
        plugins: which plugins may open it; None loads the installed ones.
    Returns:
        The frame.
    Raises:
        SourceError: it cannot be opened or read, or has no such frame.
    """
    index = whole_number(index, "frame index", SourceError)
    with _opened(source, plugins) as opened:
        return _read(opened, index, [index])[index]


def read_clip(source: Source, index: int, initializer: Initializer) -> tuple[Frame, dict[int, Frame]]:
    """Read a frame, and those around it that an initializer wants; of a source that is read once, the frame alone.

    Args:
        source: an open source; it stays open.
        index: of the frame, from 0.
        initializer: whose ``neighbours`` are read, if it is a ``ClipInitializer``.
    Returns:
        The frame, and by their distance those of the others that the source has.
    Raises:
        SourceError: the frame cannot be read, or there is no such frame.
        PluginFailedError: the neighbours are no whole numbers.
    """
    wanted = [index]
    if source.info.seekable and isinstance(initializer, ClipInitializer):
        with blaming(f"initializer {type(initializer).__name__}: its neighbours cannot be read"):
            wanted += [index + operator.index(distance) for distance in initializer.neighbours]
    found = _read(source, index, wanted)
    return found[index], {at - index: frame for at, frame in found.items() if at != index}


@contextmanager
def _opened(source: Source | str | Path | int, plugins: Plugins | None) -> Iterator[Source]:
    """Open a source, and close it again if it was not open already."""
    opened = open_source(source, plugins)
    try:
        yield opened
    finally:
        if opened is not source:
            close_or_warn(f"source {opened.info.location}", opened.close)


def _read(source: Source, index: int, wanted: Sequence[int]) -> dict[int, Frame]:
    """Read a frame and others, by index; others that are not there or cannot be read are left out.

    They are read in one pass, or, where an earlier frame cannot be read, in a second one from the frame on.

    Raises:
        SourceError: the frame cannot be read, or there is no such frame.
        PluginFailedError: the source failed.
    """
    count = source.info.frame_count
    there = [i for i in wanted if i >= 0 and (count is None or i < count)]
    found: dict[int, Frame] = {}
    for first in sorted({min(there), index}) if index in there else ():
        try:
            for frame in frames_of(source, range(first, max(there) + 1)):
                if frame.index in there:
                    found[frame.index] = frame
        except SourceError:
            if first == index and index not in found:
                raise
        if index in found:
            return found
    last = "frames are counted from 0" if index < 0 else "it ends before"
    if index >= 0 and count is not None:
        last = f"the last one is {count - 1}"
    raise SourceError(f"{source.info.location}: no frame {index}, {last}.")


def _checked(label_map: Any, frame: Frame, name: str) -> LabelMap:
    found = np.asarray(label_map)
    if found.dtype != np.uint8 or found.shape != frame.size or (found == VOID).any():
        what = f"{found.dtype} {found.shape}" if found.dtype != np.uint8 or found.shape != frame.size else "void (255)"
        if found.dtype == object:
            what = f"a {type(label_map).__name__}"
        raise PluginError(
            f'initializer "{name}" returned {what} for frame {frame.name}, '
            f"expected uint8 {frame.size} of 0 and ids 1..254."
        )
    checked: LabelMap = found
    if not checked.any():
        raise EmptyMaskError(f'initializer "{name}" found no object in frame {frame.name}.')
    return checked
