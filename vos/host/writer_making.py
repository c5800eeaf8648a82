"""Making the writers of a run, and refusing outputs that are inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from vos.errors import PluginFailedError
from vos.host.annotation_loading import GivenAnnotations
from vos.host.input_protection import files_in_options, files_of_run, refuse_replacing
from vos.host.run_record import replaceable
from vos.io.atomic_files import safe_name
from vos.protocols.source import Source
from vos.protocols.writer import NamingWriter, Writer
from vos.registry.discovery import Plugins
from vos.registry.options import make_options
from vos.registry.plugin_errors import blaming

GivenWriter: TypeAlias = str | tuple[str, Mapping[str, Any]] | Writer


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
    with blaming(f'writer "{name}" cannot be made'):
        writer = spec.factory(made)
    for method in ("open", "write", "close", "abort"):
        if not callable(getattr(writer, method, None)):
            raise PluginFailedError(f'writer "{name}" is a {type(writer).__name__}, which has no method {method}.')
    return writer


def describe_writer(given: GivenWriter) -> dict[str, str]:
    """Describe a writer and its options for ``run.json``."""
    if isinstance(given, str):
        given = (given, {})
    if not isinstance(given, tuple):
        return {"writer": type(given).__name__}
    name, options = given
    return {"writer": name, **{key: str(value) for key, value in options.items()}}


def can_write_without_output(given: GivenWriter) -> bool:
    """Say whether a writer needs no output folder: it is ready made, or has a path of its own."""
    return not isinstance(given, str) and (not isinstance(given, tuple) or "path" in given[1])


def refuse_outputs(
    source: Source,
    annotations: GivenAnnotations,
    output: str | Path | None,
    writers: Sequence[GivenWriter],
    *named: Any,
    sequence: str | None = None,
    plugins: Plugins,
) -> None:
    """Refuse a run whose outputs are among its inputs.

    ``track`` does it itself; who has other work to do before it calls this first.

    Args:
        source: what will be tracked.
        annotations: as for ``track``, and so are ``output``, ``writers`` and ``sequence``.
        output: as for ``track``.
        writers: as for ``track``.
        named: options and the like that may name files that are read.
        sequence: as for ``track``.
        plugins: where writers are looked up.
    Raises:
        InputError: an output is an input, or two outputs are one.
    """
    asked = [given for given in writers if output is not None or can_write_without_output(given)]
    made = [make_writer(given, plugins) for given in asked]
    refuse_made_outputs(source, annotations, output, asked, made, named, sequence)


def refuse_made_outputs(
    source: Source,
    annotations: GivenAnnotations,
    output: str | Path | None,
    asked: Sequence[GivenWriter],
    made: Sequence[Writer],
    named: Sequence[Any],
    sequence: str | None,
) -> None:
    """Do what ``refuse_outputs`` says, for writers that are made."""
    folder = None if output is None else Path(output) / safe_name(sequence or source.info.name)
    outputs = [] if folder is None else replaceable(folder)
    for given, writer in zip(asked, made, strict=True):
        outputs += _outputs_of(given, writer, folder)
    refuse_replacing(outputs, [*files_of_run(source.info, annotations), *files_in_options(*named)])


def _outputs_of(given: GivenWriter, writer: Writer, folder: Path | None) -> list[Path]:
    if isinstance(writer, NamingWriter):
        return list(writer.outputs(folder))
    path = given[1].get("path") if isinstance(given, tuple) else None
    return [] if path is None else [Path(path)]
