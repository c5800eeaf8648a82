"""Pack a folder of results in the form that the benchmarks' servers accept: a zip of SEQUENCE/FRAME.png."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from vos.errors import InputError
from vos.evaluation.datasets.sequence_folders import png_files
from vos.host.outputs.run_record import read_record
from vos.io.atomic_files import atomic_write, output_errors
from vos.io.masks.mask_file import read_stored_label_map


def write_submission(results: Path, target: Path, sequences: Sequence[str] | None = None) -> int:
    """Write the masks of a results folder as a zip file; records, tables, reports and hidden folders stay out.

    Args:
        results: a folder with a folder of masks for each sequence, as of ``vos davis`` or ``vos track``.
        target: the zip file; replaced once it is whole. Its folder is made.
        sequences: only these, each of which must be there; None for all. A name counts once.
    Returns:
        The number of masks.
    Raises:
        InputError: no masks, a sequence that is not there or whose run is not finished, a mask that cannot be read, or
            a name that is not UTF-8.
        OutputError: the file cannot be written.
    """
    if not results.is_dir():
        raise InputError(f"{results}: no such folder of results.")
    folders = [path for path in sorted(results.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    there = {path.name: path for path in folders if png_files(path)}
    names = list(there) if sequences is None else list(dict.fromkeys(sequences))
    lost = [name for name in names if name not in there]
    if lost or not names:
        what = f"no masks of {len(lost)} sequences, first {lost[0]}" if lost else "no folder of PNG masks in it"
        raise InputError(f"{results}: {what}.")
    stopped = next((there[name] for name in names if (read_record(there[name]) or {}).get("finished") is False), None)
    if stopped is not None:
        raise InputError(f"{stopped}: the run is not finished. Run it again to go on, or leave it out with --names.")
    files = [(name, path) for name in names for path in png_files(there[name])]
    for name, path in files:
        try:
            f"{name}/{path.name}".encode()
            read_stored_label_map(path)
        except UnicodeEncodeError:
            raise InputError(f"{path}: its name is not UTF-8, as names in a zip file are. Rename it.") from None
        except InputError as error:
            raise InputError(f"{path}: {error}.") from None
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            # A fixed date makes equal masks an equal file.
            archive.writestr(zipfile.ZipInfo(f"{name}/{path.name}", (1980, 1, 1, 0, 0, 0)), path.read_bytes())
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(target, packed.getvalue())
    return len(files)
