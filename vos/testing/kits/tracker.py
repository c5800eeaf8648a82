"""The kit for trackers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vos.registry.discovery import Plugins, load_plugins
from vos.testing.contract import ContractCheck, check_all
from vos.testing.kits.methods import offers
from vos.testing.kits.tracker_clauses import CHECKS, Settings, TrackerFactory
from vos.types.arrays import Size
from vos.types.runtime import Runtime


def tracker_checks(
    tracker: str | TrackerFactory,
    *,
    options: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    plugins: Plugins | None = None,
    size: Size = (48, 64),
    warm_up: int = 20,
    min_iou: float | None = None,
) -> list[ContractCheck]:
    """List the checks of a tracker without running them.

    Args:
        tracker: an installed tracker's name, or a function that makes a new tracker each time.
        options: the named tracker's options.
        runtime: the named tracker's device and so on; by default the CPU.
        plugins: where to find the name; by default all installed plugins.
        size: (H, W) of most frames, pixels.
        warm_up: number of frames after which the tracker's memory must be steady.
        min_iou: mean overlap with the exact masks that the tracker must reach, in [0, 1]; None for
            any (a tiny model with random weights cannot track).
    Returns:
        One check for each clause, in the order of the contract; ``accuracy`` only with ``min_iou``.
    Raises:
        PluginError: no such tracker.
        OptionError: the options do not fit it.
    """
    factory = _named(tracker, options, runtime, plugins) if isinstance(tracker, str) else tracker
    settings = Settings(factory, size, warm_up, min_iou)
    return [_check(clause, settings) for clause in CHECKS if clause != "accuracy" or min_iou is not None]


def check_tracker(
    tracker: str | TrackerFactory,
    *,
    options: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    plugins: Plugins | None = None,
    size: Size = (48, 64),
    warm_up: int = 20,
    min_iou: float | None = None,
) -> list[str]:
    """Check that a tracker keeps the contract; capabilities that it does not declare are left out.

    Args:
        tracker: as for ``tracker_checks``, and so are the others.
        options: see there.
        runtime: see there.
        plugins: see there.
        size: see there.
        warm_up: see there.
        min_iou: see there.
    Returns:
        The clauses that were checked.
    Raises:
        ContractError: the first clause that it breaks, with what happened and where it is written.
    """
    checks = tracker_checks(
        tracker,
        options=options,
        runtime=runtime,
        plugins=plugins,
        size=size,
        warm_up=warm_up,
        min_iou=min_iou,
    )
    return check_all(checks)


def _named(
    name: str, options: Mapping[str, Any] | None, runtime: Runtime | None, plugins: Plugins | None
) -> TrackerFactory:
    from vos.host.tracker_making import make_tracker, tracker_options

    loaded = plugins or load_plugins()
    tracker_options(name, options, loaded)

    def make() -> Any:
        return make_tracker(name, options, runtime or Runtime(device="cpu"), loaded).tracker

    return make


def _check(clause: str, settings: Settings) -> ContractCheck:
    check, capability = CHECKS[clause]

    def run() -> str | None:
        if capability is not None:
            with settings.tracker(clause) as driver:
                if not offers(driver.tracker, capability):
                    return f"the tracker has no method {capability}"
        check(settings)
        return None

    return ContractCheck(clause, run)
