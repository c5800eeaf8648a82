"""Making a tracker by name, from a plugin's spec and options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from vos.errors import OptionError
from vos.protocols.tracker import ClosingTracker, EncodingTracker, Tracker
from vos.registry.discovery import Plugins
from vos.registry.options import make_options
from vos.registry.plugin_errors import blaming, close_or_warn
from vos.registry.specs import TrackerSpec
from vos.types.runtime import Runtime


@dataclass(frozen=True)
class MadeTracker:
    """A tracker that was made by name and is kept for several runs; whoever made it closes it.

    Attributes:
        name: its spec's name, as ``run.json`` records it.
        options: its options by name, defaults included.
        tracker: the tracker.
        own_size: as of ``TrackerSpec``.
    """

    name: str
    options: Mapping[str, Any]
    tracker: Tracker | EncodingTracker
    own_size: str = ""

    def close(self) -> None:
        """Close the tracker, if it has something to close."""
        if isinstance(self.tracker, ClosingTracker):
            close_or_warn(f'tracker "{self.name}"', self.tracker.close)


GivenTracker: TypeAlias = str | Tracker | EncodingTracker | MadeTracker


def make_tracker(
    tracker: str, options: Mapping[str, Any] | Any | None, runtime: Runtime, plugins: Plugins
) -> MadeTracker:
    """Make a tracker by name.

    Args:
        tracker: a spec's name; ``NAME:TEXT`` gives TEXT to the tracker's first option.
        options: values by name, a ready options object, or None.
        runtime: device, precision, threads, seed.
        plugins: where to look.
    Returns:
        The tracker with its name and options; give it to ``track`` for one video after another.
    Raises:
        PluginError: no tracker of that name, or two.
        OptionError: an option that does not fit.
        PluginFailedError: the factory failed.
    """
    spec, made = tracker_options(tracker, options, plugins)
    with blaming(f'tracker "{spec.name}" cannot be made'):
        return MadeTracker(tracker, dataclasses.asdict(made), spec.factory(made, runtime), spec.own_size)


def check_can_start(tracker: str, options: Mapping[str, Any] | Any | None, runtime: Runtime, plugins: Plugins) -> None:
    """Check that a tracker can start, without loading its model.

    Args:
        tracker: as for ``make_tracker``, and so are the others.
        options: values by name, a ready options object, or None.
        runtime: device, precision, threads, seed.
        plugins: where to look.
    Raises:
        PluginError: no tracker of that name, or two.
        OptionError: an option that does not fit, or that is missing.
        VosError: what its spec's ``check`` says.
        PluginFailedError: the check failed.
    """
    spec, made = tracker_options(tracker, options, plugins)
    if spec.check is not None:
        with blaming(f'tracker "{spec.name}" cannot be checked'):
            spec.check(made, runtime)


def tracker_options(tracker: str, options: Mapping[str, Any] | Any | None, plugins: Plugins) -> tuple[TrackerSpec, Any]:
    """Check a tracker's name and options without making it.

    Args:
        tracker: as for ``make_tracker``, and so are the others.
        options: values by name, a ready options object, or None.
        plugins: where to look.
    Returns:
        The spec, and the options object with defaults.
    Raises:
        PluginError: no tracker of that name, or two.
        OptionError: an option that does not fit.
    """
    name, colon, text = tracker.partition(":")
    spec = plugins.trackers.get(name)
    if colon:
        first = next((f.name for f in dataclasses.fields(spec.options)), None)
        if first is None:
            raise OptionError(f'tracker "{name}" has no options, so nothing can follow "{name}:".')
        options = {first: text, **(options or {})}
    made = make_options(spec.options, options, f'tracker "{name}"')
    return spec, made
