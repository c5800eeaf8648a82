"""The plugin checks: hooks that fit, specs that can be listed, a module that imports nothing heavy."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from typing import Any

from vos.errors import PluginError
from vos.registry.discovery import Plugins
from vos.registry.offers import Origin
from vos.registry.options import check_option
from vos.testing.contract import ContractError

HEAVY_MODULES = ("torch", "torchvision", "transformers", "diffusers", "tensorflow", "jax", "scipy", "skimage")
"""Libraries that a plugin's module must leave to its factories."""


def check_plugin(module: str) -> list[str]:
    """Check that a plugin's module can be loaded and listed; ``check_tracker`` and its likes check what it offers.

    Args:
        module: importable name, as in the entry point.
    Returns:
        The names of what it offers: trackers, initializers, writers, formats that are only read, executors, commands
        and checkpoints.
    Raises:
        ContractError: what is wrong, and where that is written.
    """
    plugins = Plugins()
    try:
        plugins.load(Origin(module, module, "vos.testing"), required=True)
    except PluginError as error:
        raise ContractError("hooks", str(error)) from error
    names = []
    for offers in (plugins.trackers, plugins.initializers, plugins.writers, plugins.executors):
        for spec, _ in offers.all():
            _check_spec(offers.kind, spec)
            names.append(spec.name)
    for one, _ in plugins.formats.all():
        if one.exporter is None:  # one that is written is listed among the writers
            _check_spec("format", one)
            names.append(one.name)
    for command, _ in plugins.commands.all():
        _check_name("command", command.name, command.summary)
        names.append(command.name)
    names += plugins.checkpoints.names()
    _check_import(module)
    return names


def _check_spec(kind: str, spec: Any) -> None:
    _check_name(kind, spec.name, spec.summary)
    what = f'{kind} "{spec.name}"'
    for field in dataclasses.fields(spec.options):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ContractError("specs", f'{what}: option "{field.name}" has no default.')
        try:
            check_option(spec.options, field.name)
        except ValueError as error:
            raise ContractError("specs", f'{what}: option "{field.name}": {error}.') from None
        if not field.metadata.get("help"):
            raise ContractError("specs", f'{what}: option "{field.name}" has no help text.')


def _check_name(kind: str, name: str, summary: str) -> None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ContractError("specs", f'{kind} "{name}": the name has other characters than a-z, 0-9 and hyphens.')
    if not summary.strip() or "\n" in summary:
        raise ContractError("specs", f'{kind} "{name}": the summary is {summary!r}, expected one line.')


def _check_import(module: str) -> None:
    """Import the module in a new interpreter, and list the modules that it loaded."""
    script = f"import vos, sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise ContractError("hooks", f"{module} cannot be imported in a new interpreter: {last}")
    heavy = sorted(set(result.stdout.split()) & set(HEAVY_MODULES))
    if heavy:
        raise ContractError("light-import", f"importing {module} imports {', '.join(heavy)}.")
