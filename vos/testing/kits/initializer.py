"""The kit for initializers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from vos.errors import EmptyMaskError, VosError
from vos.initialization.initialize import make_initializer
from vos.protocols.initializer import ClipInitializer, Initializer
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.options import make_options
from vos.testing.contract import ContractCheck, ContractError, breaking, check_all
from vos.testing.kits.methods import check_methods
from vos.testing.sequences import tiny_sequence
from vos.types.arrays import LabelMap, Size
from vos.types.frame import Frame
from vos.types.label_map import VOID
from vos.types.runtime import Runtime

InitializerFactory: TypeAlias = Callable[[], Initializer]
"""Makes a new initializer, the same one each time."""


@dataclass(frozen=True)
class _Settings:
    factory: InitializerFactory
    size: Size

    def frame(self, position: int = 0) -> Frame:
        return tiny_sequence("moving", size=self.size, length=4).frame(position)


def initializer_checks(
    initializer: str | InitializerFactory,
    *,
    options: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    plugins: Plugins | None = None,
    size: Size = (48, 64),
) -> list[ContractCheck]:
    """List the checks of an initializer without running them.

    Args:
        initializer: an installed initializer's name, or a function that makes a new initializer each time.
        options: the named initializer's options, such as points inside ``size``.
        runtime: where its model runs; by default the CPU.
        plugins: where to find the name; by default all installed plugins.
        size: (H, W) of most frames, pixels: two objects on a textured background.
    Returns:
        One check for each clause.
    Raises:
        PluginError: no such initializer.
        OptionError: the options do not fit it.
    """
    factory = _named(initializer, options, runtime, plugins) if isinstance(initializer, str) else initializer
    settings = _Settings(factory, size)
    return [ContractCheck(clause, partial(check, settings)) for clause, check in _CHECKS.items()]


def check_initializer(initializer: str | InitializerFactory, **settings: Any) -> list[str]:
    """Check that an initializer keeps the contract.

    Args:
        initializer: as for ``initializer_checks``.
        settings: the other arguments of ``initializer_checks``.
    Returns:
        The clauses that were checked.
    Raises:
        ContractError: the first clause that it breaks.
    """
    return check_all(initializer_checks(initializer, **settings))


def _named(
    name: str, options: Mapping[str, Any] | None, runtime: Runtime | None, plugins: Plugins | None
) -> InitializerFactory:
    loaded = plugins or load_plugins()
    make_options(loaded.initializers.get(name).options, options, f'initializer "{name}"')

    def make() -> Initializer:
        return make_initializer(name, options, runtime or Runtime(device="cpu"), loaded)[0]

    return make


def _methods(settings: _Settings) -> None:
    check_methods("initializer-methods", settings.factory(), {"initialize": 1}, {"initialize_in_clip": 2})


def _label_map(settings: _Settings) -> None:
    clause = "initializer-label-map"
    for position in (0, 3):
        frame = settings.frame(position)
        with breaking(clause, f"initialize on frame {frame.name}"):
            label_map = settings.factory().initialize(frame)
        _check_label_map(clause, label_map, frame)


def _repeatable(settings: _Settings) -> None:
    clause, first = "initializer-repeatable", settings.factory()
    with breaking(clause, "initialize"):
        made = [one.initialize(settings.frame()).copy() for one in (first, settings.factory())]
        first.initialize(settings.frame(3))
        made.append(first.initialize(settings.frame()))
    for label_map, what in zip(made[1:], ("two new initializers", "before and after another frame, one"), strict=True):
        if not np.array_equal(made[0], label_map):
            different = int((made[0] != label_map).sum())
            raise ContractError(clause, f"{what} gave different label maps: {different} pixels.")


def _own_array(settings: _Settings) -> None:
    clause, initializer = "initializer-own-array", settings.factory()
    with breaking(clause, "initialize"):
        kept = initializer.initialize(settings.frame())
        before = kept.copy()
        initializer.initialize(settings.frame(3))
    if not np.array_equal(kept, before):
        raise ContractError(clause, "the label map of frame 00000 changed afterwards.")


def _read_only(settings: _Settings) -> None:
    clause, frame = "initializer-read-only", settings.frame()
    before = frame.image.copy()
    with breaking(clause, f"initialize on frame {frame.name}"):
        settings.factory().initialize(frame)
    if not np.array_equal(frame.image, before):
        raise ContractError(clause, f"initialize on frame {frame.name} changed the frame's image.")


def _sizes(settings: _Settings) -> None:
    clause = "initializer-sizes"
    frames = [tiny_sequence("moving", size=size, length=1).frame(0) for size in ((33, 47), (64, 9), (5, 7))]
    frames.append(Frame(0, np.full((*settings.size, 3), 128, np.uint8), "grey"))
    for frame in frames:
        try:
            with breaking(clause, f"initialize on a frame of {frame.size} pixels", allowed=(VosError,)):
                label_map = settings.factory().initialize(frame)
        except ContractError:
            raise
        except VosError as error:
            if not str(error).strip():
                raise ContractError(clause, f"a {type(error).__name__} without a message.") from error
        else:
            _check_label_map(clause, label_map, frame)


def _clip(settings: _Settings) -> None:
    clause, initializer = "initializer-clip", settings.factory()
    if not isinstance(initializer, ClipInitializer):
        if hasattr(initializer, "initialize_in_clip"):
            raise ContractError(clause, "initialize_in_clip is never asked: there are no neighbours.")
        return
    distances = initializer.neighbours
    if not isinstance(distances, Sequence) or not all(isinstance(one, int) and one for one in distances or [0]):
        raise ContractError(clause, f"neighbours are {distances!r}, expected whole numbers other than 0.")
    kept: list[tuple[Frame, LabelMap, LabelMap]] = []
    for position in range(4):
        frame = settings.frame(position)
        others = {d: settings.frame(position + d) for d in distances if 0 <= position + d < 4}
        for given in (others, {}):
            made = []
            before = [one.image.copy() for one in (frame, *given.values())]
            try:
                with breaking(clause, f"initialize_in_clip on frame {frame.name}", allowed=(VosError,)):
                    made = [one.initialize_in_clip(frame, given) for one in (initializer, _clip_initializer(settings))]
            except ContractError:
                raise
            except VosError as error:
                if not str(error).strip():
                    raise ContractError(clause, f"a {type(error).__name__} without a message.") from error
            for label_map in made:
                _check_label_map(clause, label_map, frame, "initialize_in_clip")
                kept.append((frame, label_map, label_map.copy()))
            if made and not np.array_equal(made[0], made[1]):
                raise ContractError(clause, f"on frame {frame.name} two initializers gave different label maps.")
            if any((a != b.image).any() for a, b in zip(before, (frame, *given.values()), strict=True)):
                raise ContractError(clause, f"initialize_in_clip on frame {frame.name} changed an image.")
    for frame, label_map, copied in kept:
        if not np.array_equal(label_map, copied):
            raise ContractError(clause, f"the label map of frame {frame.name} changed afterwards.")


def _clip_initializer(settings: _Settings) -> ClipInitializer:
    initializer = settings.factory()
    assert isinstance(initializer, ClipInitializer), "the factory makes the same initializer each time"
    return initializer


def _check_label_map(clause: str, label_map: LabelMap, frame: Frame, method: str = "initialize") -> None:
    where = f"{method} on frame {frame.name}"
    if not isinstance(label_map, np.ndarray) or label_map.dtype != np.uint8:
        found = label_map.dtype if isinstance(label_map, np.ndarray) else type(label_map).__name__
        raise ContractError(clause, f"{where} returned {found}, expected a uint8 array.")
    if label_map.shape != frame.size:
        raise ContractError(clause, f"{where} returned a label map of {label_map.shape}, expected {frame.size}.")
    if (label_map == VOID).any():
        raise ContractError(clause, f"{where} returned void (255), expected 0 and ids from 1 to 254.")
    if not label_map.any():
        raise ContractError(clause, f"{where} returned no object, expected an {EmptyMaskError.__name__}.")


_CHECKS: dict[str, Callable[[_Settings], None]] = {
    "initializer-methods": _methods,
    "initializer-label-map": _label_map,
    "initializer-repeatable": _repeatable,
    "initializer-own-array": _own_array,
    "initializer-read-only": _read_only,
    "initializer-sizes": _sizes,
    "initializer-clip": _clip,
}
