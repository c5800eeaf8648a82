"""Plan the outputs of a run, its folder and its writers' files, and check them before anything slow begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vos.errors import InputError, OptionError, OutputExistsError
from vos.host.annotations.annotation_loading import GivenAnnotations
from vos.host.outputs.input_protection import files_in_options, files_of_run, refuse_replacing
from vos.host.outputs.output_protection import refuse_existing
from vos.host.outputs.remote_output import RemoteOutput, staging_root
from vos.host.outputs.resuming import finished_summary
from vos.host.outputs.run_record import RECORD_NAME, masks_in, read_record
from vos.host.outputs.writer_making import (
    GivenWriter,
    can_write_without_output,
    describe_writer,
    given_writers,
    make_writer,
    name_writer,
    options_of,
    outputs_of,
)
from vos.host.run_config import DEFAULT_WRITER
from vos.io.atomic_files import safe_name
from vos.io.remote_files import is_address
from vos.protocols.source import Source
from vos.protocols.writer import Writer
from vos.registry.discovery import Plugins
from vos.types.run import Run, RunSummary
from vos.types.source_info import SourceInfo


@dataclass
class PlannedOutputs:
    """Writers and output folder of a run, before it starts.

    Attributes:
        output: folder of the runs' own folders, or None; with an address, the local folder that is copied there.
        asked: the writers as they were given; without an output folder, those that need none.
        writers: the same, made.
        names: each writer's name in messages.
        sequence: name of the run's own folder, or None for the source's name.
        resume: True resumes a stopped run of the same identity.
        overwrite: True replaces existing files.
        continues: True continues in the folder of an earlier run.
        address: of the folder of the runs' own folders, or empty.
        remote: the run's own folder at the address, once the source is known.
        paths: files and folders that each writer names, once the source is known.
    """

    output: Path | None
    asked: tuple[GivenWriter, ...]
    writers: tuple[Writer, ...]
    names: tuple[str, ...]
    sequence: str | None = None
    resume: bool = False
    overwrite: bool = False
    continues: bool = False
    address: str = ""
    remote: RemoteOutput | None = None
    paths: Sequence[Sequence[Path]] = ()

    @classmethod
    def plan(
        cls,
        writers: str | Sequence[GivenWriter],
        output: str | Path | None,
        plugins: Plugins,
        sequence: str | None = None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        continues: bool = False,
    ) -> PlannedOutputs:
        """Make the writers.

        Args:
            writers: as for ``track``, and so are the others.
            output: as for ``track``.
            plugins: where writers are looked up.
            sequence: as for ``track``.
            resume: as for ``track``.
            overwrite: as for ``track``.
            continues: True if ``track`` has a ``from_frame``.
        Returns:
            The plan; nothing is checked or written yet.
        Raises:
            PluginError: no writer of a name.
            OptionError: an option that does not fit.
        """
        asked = tuple(one for one in given_writers(writers) if output is not None or can_write_without_output(one))
        made = tuple(make_writer(one, plugins) for one in asked)
        names = tuple(name_writer(one, plugins) for one in asked)
        for one in asked:
            path = one[1].get("path") if isinstance(one, tuple) else None
            if is_address(path):
                raise OptionError(f"{path}: a writer's path is on the disk. Give -o an address to have outputs there.")
        address = str(output) if is_address(output) else ""
        root = staging_root(address) if address else None if output is None else Path(output)
        return cls(root, asked, made, names, sequence, resume, overwrite, continues, address)

    @property
    def descriptions(self) -> list[dict[str, str]]:
        """The writers with their options, for ``run.json``."""
        return [describe_writer(one) for one in self.asked]

    def check(self, source: Source, annotations: GivenAnnotations, *named: Any) -> None:
        """Refuse outputs that are inputs, and outputs that are there; called before anything slow.

        Args:
            source: what will be tracked.
            annotations: as for ``track``.
            named: options and the like that may name files that are read.
        Raises:
            InputError: an output is an input, or two outputs are one.
            OutputExistsError: an output is there, and it may not be replaced.
        """
        folder = self._folder(source.info)
        if folder is not None and self.address:
            self.remote = RemoteOutput(self.address, folder.name)
            self.remote.pull(resume=self.resume, overwrite=self.overwrite, whole=self.continues)
        self.paths = [
            outputs_of(writer, name, options_of(one), folder)
            for one, writer, name in zip(self.asked, self.writers, self.names, strict=True)
        ]
        own = [] if folder is None else replaceable(folder)
        inputs = [*files_of_run(source.info, annotations), *files_in_options(*named)]
        refuse_replacing([*own, *(path for paths in self.paths for path in paths)], inputs)
        record = None if folder is None else read_record(folder)
        if folder is not None and not self.continues and not (self.resume and record is not None):
            _refuse_earlier_run(folder, record, overwrite=self.overwrite)
        recorded = record.get("outputs", []) if self.resume and record is not None else []
        for description, paths in zip(self.descriptions, self.paths, strict=True):
            if description not in recorded:  # the files of a run that is resumed are its own
                refuse_existing(paths, overwrite=self.overwrite)

    def prepare(self, run: Run) -> RunSummary | None:
        """Make the run's folder, or find that an earlier run is finished; an earlier run's masks stay.

        Args:
            run: with its output folder.
        Returns:
            A summary of the finished run, if it is to be skipped; else None.
        Raises:
            OutputExistsError: there is another run to resume.
            InputError: the folder cannot be made.
        """
        folder = run.output
        assert folder is not None, "called only for runs with an output folder"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be used as the output folder ({error.strerror}).") from error
        record = read_record(folder)
        if self.resume and not self.overwrite and record is not None:
            masks = self.remote.finished_masks if self.remote is not None else None
            exists = Path.exists if self.remote is None else self.remote.has
            there = [not paths or any(map(exists, paths)) for paths in self.paths]
            outputs = list(zip(self.descriptions, there, strict=True))
            return finished_summary(run, record, outputs, len(masks_in(folder)) if masks is None else masks)
        return None

    def stopped_run(self, folder: Path) -> dict[str, Any] | None:
        """Read the record of a stopped run of the same identity and outputs, if ``resume`` is set.

        Args:
            folder: the run's own folder; ``prepare`` has compared the identity.
        Returns:
            The record, or None.
        """
        record = read_record(folder) if self.resume and not self.overwrite else None
        if record is None or record.get("finished") or record.get("outputs") != self.descriptions:
            return None
        return record

    def adds_to_finished_run(self, folder: Path) -> bool:
        """Test whether a finished run of the same identity is there and this one writes other outputs: its masks stay.

        Args:
            folder: the run's own folder; ``prepare`` has compared the identity.
        """
        record = read_record(folder) if self.resume and not self.overwrite else None
        masks_too = any(one["writer"] == DEFAULT_WRITER for one in self.descriptions)
        return record is not None and bool(record.get("finished")) and not masks_too

    def _folder(self, info: SourceInfo) -> Path | None:
        return None if self.output is None else self.output / safe_name(self.sequence or info.name)


def replaceable(folder: Path) -> list[Path]:
    """List what a run may replace or remove in its own folder, and the folder itself.

    Args:
        folder: ``OUT/<sequence>``; need not be there.
    Returns:
        Paths.
    """
    try:
        masks = masks_in(folder)
    except OSError:  # a name that is too long, say: nothing is there, and preparing the output will say so
        masks = []
    return [folder, folder / RECORD_NAME, *(folder / name for name in masks)]


def masks_by_index(folder: Path, info: SourceInfo) -> dict[int, str]:
    """List the masks of a run's folder by the index of their frame.

    Args:
        folder: the run's own folder.
        info: what is tracked.
    Returns:
        File names; those that belong to no frame are left out.
    """
    held = masks_in(folder)
    if info.frame_names is None:
        return {int(stem): name for name in held if (stem := name.removesuffix(".png")).isdecimal()}
    names = {f"{safe_name(name)}.png": index for index, name in enumerate(info.frame_names)}
    return {names[name]: name for name in held if name in names}


def stale_masks(folder: Path, info: SourceInfo, indices: Sequence[range]) -> list[str]:
    """List the masks that a run writes again, whoever wrote them; those of other frames stay.

    Args:
        folder: the run's own folder.
        info: what is tracked.
        indices: the frames that will be tracked.
    Returns:
        File names.
    """
    held = masks_by_index(folder, info)
    return [name for index, name in held.items() if any(index in part for part in indices)]


def _refuse_earlier_run(folder: Path, record: dict[str, Any] | None, *, overwrite: bool) -> None:
    if overwrite:
        return
    if record is not None:
        state = "a finished run" if record.get("finished") else "an unfinished run"
        raise OutputExistsError(
            f"{folder} holds {state} of tracker {str(record.get('tracker'))[:200]!r}. "
            "Use --resume to continue, --overwrite to replace it, or -o for another folder."
        )
    try:
        held = masks_in(folder)
    except OSError:  # preparing the folder will say what is wrong
        return
    if held:
        raise OutputExistsError(
            f"{folder} holds {len(held)} PNG files that no run of vos recorded (first {held[0]}). "
            "Choose another folder with -o, or --overwrite."
        )
