"""Masks of other tools to folders of DAVIS masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from vos.errors import InputError, OutputError, OutputExistsError
from vos.host.annotations.imported_annotations import read_imported
from vos.host.outputs.input_protection import refuse_replacing
from vos.host.outputs.output_protection import refuse_existing
from vos.io.atomic_files import output_errors, safe_name
from vos.io.masks.mask_file import write_label_map
from vos.registry.discovery import Plugins, load_plugins
from vos.types.imported_masks import ImportedMasks


def import_masks(
    path: Path | str,
    output: Path | str,
    *,
    sequence: str | None = None,
    overwrite: bool = False,
    plugins: Plugins | None = None,
) -> list[Path]:
    """Write the masks in a file or folder of another tool as DAVIS masks: ``output/<sequence>/<frame>.png``.

    All of them are read before any is at its place: of a damaged file nothing is left.

    Args:
        path: a file or folder of a format that an installed plugin reads.
        output: folder of the sequences' folders.
        sequence: the folder's name; None takes the name in the file. For a file of one sequence.
        overwrite: write into folders that hold PNG files already; files of other names stay.
        plugins: whose formats are asked; None loads the installed ones.
    Returns:
        The sequences' folders.
    Raises:
        InputError: no format reads it, it is damaged, it has no mask, or two of its images have one name.
        OutputExistsError: a sequence's folder holds PNG files.
    """
    found = read_imported(path, plugins or load_plugins())
    if found is None:
        raise InputError(f"{path}: no format reads this. `vos plugins` lists the formats.")
    if sequence is not None and len(found) != 1:
        raise InputError(f"{path}: holds {len(found)} sequences, and --sequence names one.")
    if sequence:
        found = [replace(found[0], sequence=sequence)]
    return _write(found, Path(path), Path(output), overwrite)


def _write(found: Sequence[ImportedMasks], path: Path, output: Path, overwrite: bool) -> list[Path]:
    """Write the masks that were found in a file, as ``import_masks``."""
    folders = [output / safe_name(masks.sequence) for masks in found]
    refuse_replacing(folders, [path])
    refuse_existing(folders, overwrite=True)  # what is above them; PNG files are looked for below
    for folder in folders:
        held = sorted(folder.glob("[!.]*.png")) if folder.is_dir() else []
        if held and not overwrite:
            raise OutputExistsError(
                f"{folder} holds {len(held)} PNG files (first {held[0].name}). "
                "Choose another folder with -o, or --overwrite."
            )
    # Of a file that fails, no folder of the output is left either.
    above = next(place for place in (output, *output.absolute().parents) if place.is_dir())
    try:
        for folder in folders:
            if folder.exists():
                folder.mkdir(exist_ok=True)  # refuses a file
        stage = TemporaryDirectory(prefix=".vos-import-", dir=above)
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be made ({error.strerror}). Choose another folder.") from error
    with stage:
        parts = [Path(stage.name) / folder.name for folder in folders]
        for masks, part in zip(found, parts, strict=True):
            part.mkdir()
            for frame in masks.frames():
                mask = part / f"{safe_name(frame.name)}.png"
                if mask.exists():
                    raise InputError(
                        f"{path}: two of its images would both be {mask.name}, as images of two folders. Give each a "
                        "name of its own, or import the folders one by one."
                    )
                write_label_map(mask, frame.label_map)
        if not any(any(part.iterdir()) for part in parts):
            raise InputError(f"{path}: no mask in it. Export annotated images.")
        # Only now is it known that the file is whole.
        for part, folder in zip(parts, folders, strict=True):
            _move_into(part, folder)
    return folders


def _move_into(part: Path, folder: Path) -> None:
    """Move a folder of masks to its place; what the place holds already stays, but for files of the same names."""
    with output_errors(folder):
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            part.rename(folder)
            return
        for mask in sorted(part.iterdir()):
            mask.replace(folder / mask.name)


@contextmanager
def prediction_folder(path: Path, truth: Path, plugins: Plugins) -> Iterator[Path]:
    """Provide a folder of masks to score: ``path`` itself, or a temporary folder with the masks of another tool's file.

    Args:
        path: a folder of masks, or a file or folder of a format that is read.
        truth: the truth; where it is one sequence's own folder, so is what is yielded.
        plugins: whose formats are asked.
    Yields:
        A folder.
    Raises:
        InputError: as ``import_masks``.
    """
    found = read_imported(path, plugins)
    if found is None:
        yield path
        return
    with TemporaryDirectory(prefix="vos-import-") as folder:
        sequences = _write(found, path, Path(folder), overwrite=False)
        own = len(sequences) == 1 and truth.is_dir() and any(truth.glob("[!.]*.png"))
        yield sequences[0] if own else Path(folder)
