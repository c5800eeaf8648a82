"""Making an executor by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vos.protocols.executor import Executor
from vos.registry.discovery import Plugins
from vos.registry.options import make_options

LOCAL = "local"


def make_executor(plugins: Plugins, name: str, options: Mapping[str, Any]) -> Executor:
    """Make an executor.

    Args:
        plugins: where it is looked up.
        name: a spec's name.
        options: values by name.
    Raises:
        PluginError: no executor of that name.
        OptionError: an option that does not fit.
    """
    spec = plugins.executors.get(name)
    executor: Executor = spec.factory(make_options(spec.options, options, f'executor "{spec.name}"'))
    return executor
