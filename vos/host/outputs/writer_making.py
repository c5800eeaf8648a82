"""Making the writers of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from vos.errors import OptionError, PluginFailedError
from vos.protocols.writer import NamingWriter, Writer
from vos.registry.discovery import Plugins
from vos.registry.options import make_options
from vos.registry.plugin_errors import blaming

GivenWriter: TypeAlias = str | tuple[str, Mapping[str, Any]] | Writer


def given_writers(writers: str | Sequence[GivenWriter]) -> list[GivenWriter]:
    """Check the form of the writers of ``track``: a name, or a list of names, pairs and ready writers.

    Raises:
        OptionError: something else is given, or is in the list.
    """
    if isinstance(writers, str):
        return [writers]
    if isinstance(writers, Mapping) or not isinstance(writers, Iterable):
        raise OptionError(f"writers is a {type(writers).__name__}, expected a name or a list.")
    given = list(writers)
    for one in given:
        is_pair = isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], Mapping)
        if not (isinstance(one, str) or is_pair or (isinstance(one, Writer) and not isinstance(one, type))):
            raise OptionError(
                f"writers holds {one!r}, expected a name, a pair (name, options), or an object with a writer's methods."
            )
    return given


def make_writer(given: GivenWriter, plugins: Plugins) -> Writer:
    """Make a writer.

    Args:
        given: a name, a pair of a name and its options, or a ready writer.
        plugins: where names are looked up.
    Returns:
        The writer.
    Raises:
        PluginError: no writer of that name.
        OptionError: an option that does not fit.
        PluginFailedError: the factory failed, or made something that is no writer.
    """
    if isinstance(given, str):
        given = (given, {})
    if not isinstance(given, tuple):
        return given
    name, options = given
    spec = plugins.writers.get(name)
    made: Any = make_options(spec.options, options, f'writer "{name}"')
    with blaming(f"{name_writer(name, plugins)} cannot be made"):
        writer = spec.factory(made)
    for method in ("open", "write", "close", "abort"):
        if not callable(getattr(writer, method, None)):
            who = name_writer(name, plugins)
            raise PluginFailedError(f"{who} is a {type(writer).__name__}, which has no method {method}.")
    return writer


def describe_writer(given: GivenWriter) -> dict[str, str]:
    """Describe a writer and its options for ``run.json``."""
    if isinstance(given, str):
        given = (given, {})
    if not isinstance(given, tuple):
        return {"writer": type(given).__name__}
    name, options = given
    return {"writer": name, **{key: str(value) for key, value in options.items()}}


def name_writer(given: GivenWriter, plugins: Plugins) -> str:
    """Name a writer and its plugin for messages: ``writer "areas" of plugin every_hook``."""
    if not isinstance(given, (str, tuple)):
        return f"writer {type(given).__name__}"
    name = given if isinstance(given, str) else given[0]
    return f'writer "{name}" of plugin {plugins.writers.origin(name).plugin}'


def can_write_without_output(given: GivenWriter) -> bool:
    """Test whether a writer needs no output folder: it is an instance, or its options name a path."""
    return not isinstance(given, str) and (not isinstance(given, tuple) or "path" in given[1])


def outputs_of(writer: Writer, who: str, options: Mapping[str, Any], folder: Path | None) -> list[Path]:
    """List the files and folders that a writer will write to, as far as it says.

    Args:
        writer: a writer.
        who: its name in messages, from ``name_writer``.
        options: those that it was made with.
        folder: the run's own folder, or None.
    Returns:
        What the writer names with ``outputs``; else its option ``path``, if it was given.
    Raises:
        PluginFailedError: ``outputs`` failed, or gave no paths.
    """
    if not isinstance(writer, NamingWriter):
        return [Path(options["path"])] if options.get("path") is not None else []
    with blaming(f"{who} cannot name its outputs"):
        named: Any = writer.outputs(folder)
        if isinstance(named, (str, Path)):
            raise TypeError(f"outputs gave {named!r}, expected a list of paths")
        return [Path(path) for path in named]


def options_of(given: GivenWriter) -> Mapping[str, Any]:
    """The options that a writer is given with; none for a name alone or a ready writer."""
    return given[1] if isinstance(given, tuple) else {}
