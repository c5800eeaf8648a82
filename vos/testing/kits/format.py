"""The kit for formats: the clauses of a writer for its exporter, and those of its importer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from vos.errors import VosError
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.specs import FormatSpec
from vos.testing.contract import ContractCheck, ContractError, breaking, check_all
from vos.testing.kits.writer import WriterSettings, writer_checks, writer_settings
from vos.testing.sequences import TinySequence, tiny_sequence
from vos.types.arrays import LabelMap, Size
from vos.types.imported_masks import ImportedFrame, ImportedMasks


@dataclass(frozen=True)
class _Settings:
    spec: FormatSpec
    writer: WriterSettings | None
    sample: Path | None
    min_iou: float

    @property
    def sequence(self) -> TinySequence:
        size = (48, 64) if self.writer is None else self.writer.size
        return tiny_sequence("vanishing", size=size, length=4, object_ids=(3, 9))

    @contextmanager
    def exported(self, clause: str) -> Iterator[Path | None]:
        """A file or folder of the format: the sample, or what the exporter wrote; None where there is neither."""
        if self.writer is None:
            yield self.sample
            return
        with self.writer.driver(clause) as driver:
            sequence = self.sequence
            folder = driver.root / "out" / sequence.name
            listed = driver.outputs(folder)
            driver.run(sequence)
            path = driver.root / self.writer.path if self.writer.path else None
            yield next(iter([*listed, *([path] if path else []), *self._readable(folder)]), folder)

    def _readable(self, folder: Path) -> Iterator[Path]:
        """Paths that the importer accepts, among a run's folder and its content."""
        for path in (folder, *sorted(folder.iterdir())):
            if self.read("format-round-trip", path) is not None:
                yield path

    def read(self, clause: str, path: Path) -> Sequence[ImportedMasks] | None:
        assert self.spec.importer is not None, "asked for formats with an importer alone"
        with breaking(clause, f"the importer on {path.name}", allowed=_allowed(clause)):
            masks = self.spec.importer(path)
        if masks is not None and not (isinstance(masks, Sequence) and _all_are(ImportedMasks, masks)):
            raise ContractError(clause, f"the importer gave {masks!r:.80}, expected a list of ImportedMasks, or None.")
        return masks


def format_checks(
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
    size: Size = (48, 64),
    sample: Path | str | None = None,
    min_iou: float = 1.0,
) -> list[ContractCheck]:
    """List the checks of a format without running them: those of a writer for its exporter, and the importer's.

    Args:
        name: an installed format's name.
        options: the exporter's options; a relative ``path`` is taken from a temporary folder.
        plugins: where to find the name; by default all installed plugins.
        size: (H, W) of most frames, pixels.
        sample: a file or folder of a format that is only read.
        min_iou: overlap of each object's imported masks with the exported ones that must be kept; 1 for a format that
            loses nothing.
    Returns:
        One check for each clause.
    Raises:
        PluginError: no such format.
        OptionError: the options do not fit it.
    """
    loaded = plugins or load_plugins()
    spec = loaded.formats.get(name)
    checks: list[ContractCheck] = []
    writer = None
    if spec.exporter is not None:
        checks += writer_checks(name, options=options, plugins=loaded, size=size)
        writer = writer_settings(name, options=options, plugins=loaded, size=size)
    settings = _Settings(spec, writer, None if sample is None else Path(sample), min_iou)
    return checks + [ContractCheck(clause, partial(_run, clause, settings)) for clause in _CHECKS]


def check_format(name: str, **settings: Any) -> list[str]:
    """Check that a format keeps the contract.

    Args:
        name: as for ``format_checks``.
        settings: the other arguments of ``format_checks``.
    Returns:
        The clauses that were checked.
    Raises:
        ContractError: the first clause that it breaks.
    """
    return check_all(format_checks(name, **settings))


def _run(clause: str, settings: _Settings) -> str | None:
    if clause != "format-parts" and settings.spec.importer is None:
        return "the format has no importer"
    return _CHECKS[clause](settings)


def _parts(settings: _Settings) -> None:
    if settings.spec.exporter is None and settings.spec.importer is None:
        raise ContractError("format-parts", f'format "{settings.spec.name}" has neither exporter nor importer.')


def _round_trip(settings: _Settings) -> str | None:
    clause = "format-round-trip"
    if settings.writer is None:
        return "the format has no exporter"
    sequence = settings.sequence
    with settings.exported(clause) as path:
        assert path is not None, "the exporter wrote it"
        masks = settings.read(clause, path)
        if masks is None or len(masks) != 1:
            found = "None" if masks is None else f"{len(masks)} sequences"
            raise ContractError(clause, f"the importer gave {found} for {path.name}, which the exporter wrote.")
        frames = _frames(clause, masks[0])
    names = [sequence.frame(k).name for k in range(len(sequence.images))]
    found_names = [names[f.index] if f.index is not None and f.index < len(names) else f.name for f in frames]
    if found_names != names:
        raise ContractError(clause, f"the importer gave the frames {found_names}, expected {names}.")
    for frame, label_map in zip(frames, sequence.label_maps, strict=True):
        _check_overlap(clause, frame, label_map, settings.min_iou)
    return None


def _check_overlap(clause: str, frame: ImportedFrame, expected: LabelMap, min_iou: float) -> None:
    label_map = np.asarray(frame.label_map)
    if label_map.dtype != np.uint8 or label_map.shape != expected.shape:
        found = f"{label_map.dtype} {label_map.shape}"
        raise ContractError(clause, f"frame {frame.name}: the label map is {found}, expected uint8 {expected.shape}.")
    for object_id in np.union1d(label_map, expected):
        a, b = label_map == object_id, expected == object_id
        iou = float((a & b).sum() / (a | b).sum())
        if iou < min_iou:
            raise ContractError(
                clause, f"frame {frame.name}, object {object_id}: overlap {iou:.3f}, expected {min_iou:.3f} or more."
            )


def _restart(settings: _Settings) -> str | None:
    clause = "format-restart"
    with settings.exported(clause) as path:
        if path is None:
            return "the format has no exporter, and no sample was given"
        for masks in settings.read(clause, path) or ():
            first, second = _frames(clause, masks), _frames(clause, masks)
            if [f.name for f in first] != [f.name for f in second]:
                raise ContractError(clause, f"frames() gave {len(first)} frames, and {len(second)} when called again.")
            for a, b in zip(first, second, strict=True):
                if not np.array_equal(a.label_map, b.label_map):
                    raise ContractError(clause, f"frame {a.name} is different when frames() is called again.")
    return None


def _foreign(settings: _Settings) -> None:
    clause = "format-foreign"
    with TemporaryDirectory(prefix="vos-testing-") as name:
        folder = Path(name)
        frames, _ = tiny_sequence(length=2).save(folder / "pictures")
        (folder / "empty").mkdir()
        for file, content in (("notes.txt", "no masks\n"), ("a.json", "{}"), ("b.json", "[1, 2]"), ("c.bin", "\0\1")):
            (folder / file).write_text(content)
        for path in (folder / "empty", frames, frames / "00000.png", *sorted(folder.glob("*.*"))):
            with breaking(clause, f"the importer on {path.name}"):
                assert settings.spec.importer is not None, "checked by the caller"
                answer = settings.spec.importer(path)
            if answer is not None:
                raise ContractError(clause, f"the importer took {path.name}, which is of another format.")


def _damaged(settings: _Settings) -> str | None:
    clause = "format-damaged"
    with settings.exported(clause) as path, TemporaryDirectory(prefix="vos-testing-") as folder:
        if path is None:
            return "the format has no exporter, and no sample was given"
        copied = Path(folder) / path.name
        if path.is_dir():
            shutil.copytree(path, copied)
        else:
            shutil.copy(path, copied)
        files = [file for file in (copied, *copied.rglob("*")) if file.is_file()]
        largest = max(files, key=lambda file: file.stat().st_size)
        content = largest.read_bytes()
        for share in (0, 5 * len(content) // 9):
            largest.write_bytes(content[:share])
            try:
                for masks in settings.read(clause, copied) or ():
                    _frames(clause, masks)
            except VosError as error:
                if isinstance(error, ContractError):
                    raise
                if largest.name not in str(error) and copied.name not in str(error):
                    raise ContractError(clause, f"the message does not name {largest.name}: {error}") from error
    return None


def _frames(clause: str, masks: ImportedMasks) -> list[ImportedFrame]:
    with breaking(clause, f"frames() of {masks.sequence}", allowed=_allowed(clause)):
        frames = list(masks.frames())
    if not _all_are(ImportedFrame, frames):
        raise ContractError(clause, f"frames() of {masks.sequence} gave {frames!r:.80}, expected ImportedFrames.")
    return frames


def _allowed(clause: str) -> tuple[type[Exception], ...]:
    """The exceptions that a clause lets an importer raise."""
    return (VosError,) if clause == "format-damaged" else ()


def _all_are(kind: type, found: Sequence[object]) -> bool:
    return all(isinstance(one, kind) for one in found)


_CHECKS: dict[str, Callable[[_Settings], str | None]] = {
    "format-parts": _parts,
    "format-round-trip": _round_trip,
    "format-restart": _restart,
    "format-foreign": _foreign,
    "format-damaged": _damaged,
}
