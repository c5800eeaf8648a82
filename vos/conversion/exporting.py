"""Finished runs to other formats: a format's writer is fed from the masks on disk, a frame at a time."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vos.conversion.finished_run import FinishedRun, find_results
from vos.conversion.unfinished_export import UnfinishedExport
from vos.errors import InputError, OptionError, PluginError, VosError
from vos.host.jobs.running import failure_of
from vos.host.loop.tracked_frame import TrackedFrame
from vos.host.opening import open_source
from vos.host.outputs.input_protection import files_of_run, refuse_replacing
from vos.host.outputs.output_protection import refuse_existing
from vos.host.outputs.output_writers import Outputs
from vos.host.outputs.run_record import RECORD_NAME
from vos.host.outputs.writer_making import name_writer, outputs_of
from vos.io.remote_files import is_remote
from vos.protocols.source import Source
from vos.protocols.writer import Writer
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.options import make_options
from vos.registry.plugin_errors import blaming, close_or_warn
from vos.registry.specs import WriterSpec

logger = logging.getLogger(__name__)


def export(
    result: Path | str,
    to: str,
    output: Path | str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    source: str | Path | Source | None = None,
    overwrite: bool = False,
    plugins: Plugins | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write a finished run in another format; memory does not grow with the number of frames.

    Args:
        result: a sequence's own folder (``OUT/<sequence>``), or a folder of such folders.
        to: a format or a writer by name.
        output: file or folder to write; with several sequences, a folder that gets one for each. None writes beside
            the masks.
        options: the format's options by name.
        source: what was tracked, for formats that need the frames; None takes what the run's record names.
        overwrite: replace an earlier export.
        plugins: which plugins to use; None loads the installed ones.
        progress: told the number of frames done and of all frames.
    Returns:
        What was written, a path for each sequence.
    Raises:
        InputError: no finished run there, a source that is gone, an output that exists, an option that does not fit.
        WriterError: the format's writer failed.
        VosError: of several sequences, some failed; the others are written.
    """
    settings = ExportSettings(to, options or {}, overwrite, plugins or load_plugins())
    jobs = plan_exports([Path(result)], settings, None if output is None else Path(output), source)
    return run_exports(jobs, progress)


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """Format, options and plugins of an export.

    Attributes:
        to: a format or a writer by name.
        options: its options by name.
        overwrite: replace an earlier export.
        plugins: those that offer the formats and writers.
    """

    to: str
    options: Mapping[str, Any]
    overwrite: bool
    plugins: Plugins

    @property
    def spec(self) -> WriterSpec:
        """The writer of the format, or a writer that is no format.

        Raises:
            PluginError: no such name, or a format that is only read.
        """
        return _spec(self.to, self.plugins)


def plan_exports(
    folders: Sequence[Path], settings: ExportSettings, output: Path | None, source: str | Path | Source | None
) -> list[Export]:
    """Find finished runs and check that all of them can be exported; nothing is written yet.

    Args:
        folders: of ``export``'s ``result``, one or more.
        settings: format, options and plugins.
        output: as for ``export``.
        source: as for ``export``.
    Returns:
        An export for each sequence.
    Raises:
        InputError: as ``export``.
    """
    spec, options = settings.spec, dict(settings.options)
    found = {one.folder.resolve(): one for folder in folders for one in find_results(folder)}
    results = list(found.values())
    several = f"{folders[0] if len(folders) == 1 else f'{len(folders)} folders'}: {len(results)} sequences"
    if output is not None and len(results) == 1:
        if not any(field.name == "path" for field in dataclasses.fields(spec.options)):
            raise OptionError(f'"{settings.to}" has no option "path", so -o cannot say where it writes.')
        options["path"] = output
    if source is not None and len(results) > 1:
        raise OptionError(f"{several}, and --source is for one. Export them one by one.")
    if "path" in options and len(results) > 1:
        raise OptionError(f'{several}; give a folder with -o in place of the option "path".')
    jobs = [
        Export.prepare(one, spec, options, source, _folder(one, output, len(results)), settings.plugins)
        for one in results
    ]
    written: dict[Path, Path] = {}
    for job in jobs:
        job.check(settings.overwrite)
        other = written.setdefault(job.written.absolute(), job.result.folder)
        if other != job.result.folder:
            raise OptionError(f"{other} and {job.result.folder} would both be written to {job.written}.")
    return jobs


def run_exports(jobs: Sequence[Export], progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Export one sequence after another; one that fails leaves the others to be done.

    Args:
        jobs: of ``plan_exports``.
        progress: told the number of frames done and of all frames.
    Returns:
        What was written, a path for each sequence.
    Raises:
        VosError: sequences that failed.
    """
    done, total = 0, sum(job.result.frame_count for job in jobs)
    failed: dict[str, VosError] = {}
    for job in jobs:
        try:
            for count in job.run():
                if progress is not None:
                    progress(done + count, total)
        except VosError as error:
            if len(jobs) == 1:
                raise
            failed[str(job.result.folder)] = error
        done += job.result.frame_count
    if failed:
        raise failure_of(failed, len(jobs))
    return [job.written for job in jobs]


@dataclasses.dataclass
class Export:
    """One sequence to export, checked and not begun.

    Attributes:
        result: the finished run.
        writer: writes the format.
        name: what messages call the writer.
        options: the writer's options by name, a path among them where it was given.
        needs_images: whether it needs the frames.
        location: what was tracked, or None.
        folder: where the writer writes that has no path of its own.
        outputs: the paths that it writes.
        plugins: which plugins may open the source.
        replaces: whether an earlier export is replaced; set by ``check``.
    """

    result: FinishedRun
    writer: Writer
    name: str
    options: Mapping[str, Any]
    needs_images: bool
    location: str | Path | Source | None
    folder: Path
    outputs: list[Path]
    plugins: Plugins
    replaces: bool = False

    @classmethod
    def prepare(
        cls,
        result: FinishedRun,
        spec: WriterSpec,
        options: Mapping[str, Any],
        source: str | Path | Source | None,
        folder: Path,
        plugins: Plugins,
    ) -> Export:
        """Make the writer and list its outputs and inputs; the arguments are attributes of this class."""
        made: Any = make_options(spec.options, options, f'format "{spec.name}"')
        name = name_writer(spec.name, plugins)
        with blaming(f"{name} cannot be made"):
            writer = spec.factory(made)
        outputs = outputs_of(writer, name, options, folder)
        needs_images = bool(getattr(writer, "needs_images", True))
        location = source if source is not None else result.location
        is_there = isinstance(location, Source) or is_remote(location) or source is not None
        there = location is not None and (is_there or Path(str(location)).exists())
        if source is None and result.source_has_changed:
            there, gone = False, f"the content of {location} has changed since the run"
        elif location is None:
            gone = "no run.json says what was tracked"
        else:
            gone = f"{location} is not there any more"
        if needs_images and not there:
            raise InputError(
                f'{result.folder}: "{spec.name}" needs the frames, and {gone}. Give the video with --source.'
            )
        return cls(result, writer, name, options, needs_images, location if there else None, folder, outputs, plugins)

    @property
    def written(self) -> Path:
        """The file or folder that the writer named first, or its folder."""
        return self.outputs[0] if self.outputs else self.folder

    def check(self, overwrite: bool) -> None:
        """Refuse to replace existing files, or files that the export reads.

        The files of the same export, stopped in the middle, are no obstacle: it goes on there.
        """
        inputs = [*self.result.masks, self.result.folder / RECORD_NAME, self.result.folder]
        refuse_replacing(self.outputs, inputs)
        self.replaces = overwrite
        refuse_existing(self.outputs, overwrite=overwrite or self._unfinished().is_left())

    def run(self) -> Iterator[int]:
        """Export; yields the number of frames done."""
        with ExitStack() as opened:
            unfinished = self._unfinished()
            source: Source | None = None
            if self.location is not None:
                source = open_source(self.location, self.plugins)
                if source is not self.location:
                    opened.callback(close_or_warn, f"source {self.location}", source.close)
                refuse_replacing(self.outputs, files_of_run(source.info, {}))
            run = self.result.run(source, self.folder)
            if self.replaces:
                unfinished.forget()
            else:
                opened.enter_context(unfinished.noted())
            outputs = Outputs([self.writer], [self.name])
            try:
                outputs.open(run)
                frames = self.result.frames(source if self.needs_images else None, run.source)
                for count, (frame, prediction) in enumerate(frames, 1):
                    assert prediction.label_map is not None, "made from one"
                    outputs.put(TrackedFrame(frame, prediction, prediction.label_map))
                    unfinished.count_frame()
                    yield count
                outputs.close()
            except BaseException as error:
                outputs.abort(error)
                raise

    def _unfinished(self) -> UnfinishedExport:
        """The note of this export, which the same export of the same masks finds again."""
        record = self.result.folder / RECORD_NAME
        identity = {
            "result": self.result.folder.absolute(),
            "recorded_ns": record.stat().st_mtime_ns if record.is_file() else None,
            "masks": len(self.result.masks),
            "writer": self.name,
            "options": {
                name: str(Path(value).absolute() if name == "path" else value) for name, value in self.options.items()
            },
            "source": None if self.location is None else str(self.location),
        }
        return UnfinishedExport(self.outputs, identity)


def _spec(name: str, plugins: Plugins) -> WriterSpec:
    """The writer of a format, or a writer that is no format."""
    if name in plugins.formats.names() and plugins.formats.get(name).exporter is None:
        raise PluginError(f'format "{name}" is only read. Formats that are written: {", ".join(_written(plugins))}.')
    if name not in plugins.writers.names():
        formats = ", ".join(_written(plugins))
        raise PluginError(
            f'no format or writer named "{name}". Formats: {formats}. `vos plugins` lists the writers too.'
        )
    return plugins.writers.get(name)


def _written(plugins: Plugins) -> list[str]:
    return [name for name in plugins.formats.names() if plugins.formats.get(name).exporter is not None]


def _folder(result: FinishedRun, output: Path | str | None, count: int) -> Path:
    """Output folder for a writer whose options name no path."""
    return result.folder if output is None or count == 1 else Path(output) / result.sequence
