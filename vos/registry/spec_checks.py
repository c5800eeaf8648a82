"""Checks of a plugin when it is loaded: its API version, its hooks' names, and the specs that it offers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from typing import Any

from vos.errors import PluginError, PluginFailedError
from vos.protocols.source import Source
from vos.registry import hookspecs
from vos.registry.options import describe_options
from vos.registry.plugin_errors import blaming
from vos.registry.specs import CommandSpec, FormatSpec, Shorthand, WriterSpec
from vos.suggestions import did_you_mean
from vos.types.checkpoint import Checkpoint
from vos.types.source_info import SourceInfo
from vos.version import __version__


def check_source(source: object, who: str) -> None:
    """Refuse what ``vos_open_source`` may not return."""
    if source is None:
        return
    if not isinstance(source, Source):
        raise PluginFailedError(
            f"{who}: vos_open_source returned a {type(source).__name__}, "
            "expected a vos.plugin.Source (info, frames and close) or None."
        )
    if not isinstance(source.info, SourceInfo):
        raise PluginFailedError(
            f"{who}: the info of the source is a {type(source.info).__name__}, expected a vos.plugin.SourceInfo."
        )


def checked_specs(offered: Any, spec_type: type, hook_name: str, kind: str) -> list[Any]:
    """Check what a registration hook returned.

    Args:
        offered: what it returned.
        spec_type: the class that each spec is to have.
        hook_name: for messages.
        kind: of the offers, for messages (``"tracker"``).
    Returns:
        The specs; each can be listed and looked up.
    Raises:
        PluginError: what does not fit.
    """
    if isinstance(offered, spec_type) or not isinstance(offered, Iterable):
        found = type(offered).__name__
        raise PluginError(f"{hook_name} returned a {found}, expected a list of {spec_type.__name__}.")
    specs = list(offered)
    for spec in specs:
        if not isinstance(spec, spec_type):
            raise PluginError(f"{hook_name} returned a {type(spec).__name__}, expected {spec_type.__name__}.")
        _check_spec(spec, kind)
    return specs


def writer_of(spec: FormatSpec) -> WriterSpec | None:
    """The writer of ``vos track`` that writes a format, if it can be written."""
    if spec.exporter is None:
        return None
    return WriterSpec(spec.name, spec.summary, spec.exporter, spec.options, spec.shorthands)


def _check_spec(spec: Any, kind: str) -> None:
    """Refuse a spec that cannot be listed; a checkpoint has checked itself."""
    if isinstance(spec, Checkpoint):
        return
    if not isinstance(spec.name, str) or not spec.name:
        raise PluginError(f'a {kind} is named {spec.name!r}, expected text such as "my-{kind}".')
    if not isinstance(spec.summary, str):
        raise PluginError(f'{kind} "{spec.name}": the summary is {spec.summary!r}, expected one line of text.')
    makes = {CommandSpec: ["load"], FormatSpec: ["exporter", "importer"]}.get(type(spec), ["factory"])
    for attribute in makes:
        made = getattr(spec, attribute)
        if not callable(made) and not (isinstance(spec, FormatSpec) and made is None):
            raise PluginError(f'{kind} "{spec.name}": {attribute} is {made!r}, expected a function.')
    if isinstance(spec, CommandSpec):
        return
    if not (isinstance(spec.options, type) and is_dataclass(spec.options)):
        raise PluginError(f'{kind} "{spec.name}": options is {spec.options!r}, expected a dataclass.')
    with blaming(f'{kind} "{spec.name}": its options cannot be listed'):
        options = {entry.name for entry in describe_options(spec.options)}
    for shorthand in getattr(spec, "shorthands", ()):
        _check_shorthand(shorthand, options, f'{kind} "{spec.name}"')
        if kind == "tracker" and shorthand.option is None:
            raise PluginError(f'tracker "{spec.name}": shorthand {shorthand.flag} names no option, so it does nothing.')


def _check_shorthand(shorthand: object, options: set[str], who: str) -> None:
    """Refuse a shorthand that is none, or that sets an option that the spec does not have."""
    if not isinstance(shorthand, Shorthand):
        raise PluginError(f"{who}: a shorthand is {shorthand!r}, expected a vos.plugin.Shorthand.")
    if shorthand.option is not None and shorthand.option not in options:
        raise PluginError(
            f'{who}: shorthand {shorthand.flag} sets the option "{shorthand.option}", which it does not have.'
            f"{did_you_mean(shorthand.option, options)}"
        )


def check_api_version(plugin: object) -> None:
    """Refuse a plugin that says (``VOS_API = 1``) that it was built for another plugin API."""
    declared = getattr(plugin, "VOS_API", None)
    major = hookspecs.API_VERSION[0]
    if declared is None or declared == major:
        return
    if not isinstance(declared, int):
        raise PluginError(f"its VOS_API is {declared!r}, expected a number such as {major}.")
    newer = declared > major
    raise PluginError(
        f"it was built for version {declared} of the plugin API, this is vos {__version__} with version {major}. "
        f"Install {'a newer vos' if newer else 'a newer version of the plugin'}."
    )


def check_has_hooks(plugin: object) -> None:
    """Refuse an object without hooks where a plugin is named, or an observer given: nothing of it would be called."""
    if not any(hasattr(function, "vos_impl") for _, function in _functions(plugin)):
        raise PluginError("it has no hook: no function of it is marked with @hookimpl.")


def check_hook_names(plugin: object) -> None:
    """Refuse a hook that is unknown, or has no ``@hookimpl`` above it; pluggy alone would ignore it."""
    known = [name for name in dir(hookspecs) if name.startswith("vos_")]
    for name, function in _functions(plugin):
        if not getattr(function, "vos_impl", None):
            if name in known and not hasattr(function, "vos_spec"):
                raise PluginError(f"{name} is not marked as a hook. Put @hookimpl above it.")
            continue
        if name not in known:
            raise PluginError(f'unknown hook "{name}".{did_you_mean(name, known)}')


def _functions(plugin: object) -> Iterator[tuple[str, Any]]:
    """The functions of a plugin by name, found as pluggy finds them: no property is computed."""
    for name in dir(plugin):
        found = inspect.getattr_static(plugin, name, None)
        function = getattr(found, "__func__", found) if isinstance(found, (staticmethod, classmethod)) else found
        if inspect.isroutine(function):
            yield name, function
