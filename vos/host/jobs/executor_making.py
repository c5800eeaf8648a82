"""Making an executor by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vos.host.jobs.checked_executor import CheckedExecutor
from vos.protocols.executor import Executor
from vos.registry.discovery import Plugins
from vos.registry.options import make_options
from vos.registry.plugin_errors import blaming

LOCAL = "local"


def make_executor(plugins: Plugins, name: str, options: Mapping[str, Any]) -> Executor:
    """Make an executor, whose failures name it.

    Args:
        plugins: where it is looked up.
        name: a spec's name.
        options: values by name.
    Raises:
        PluginError: no executor of that name.
        OptionError: an option that does not fit.
        PluginFailedError: the factory failed.
    """
    spec = plugins.executors.get(name)
    made: Any = make_options(spec.options, options, f'executor "{spec.name}"')
    who = f'executor "{spec.name}" of plugin {plugins.executors.origin(name).plugin}'
    with blaming(f"{who} cannot be made"):
        return CheckedExecutor(spec.factory(made), who)
