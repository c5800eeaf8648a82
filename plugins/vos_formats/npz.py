"""NumPy: one ``.npz`` file with the label maps of all frames, written and read a frame at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from vos.plugin import (
    AnnotationError,
    Frame,
    ImportedFrame,
    ImportedMasks,
    LabelMap,
    Prediction,
    object_ids,
)
from vos_formats.importing import reading, sequence_of
from vos_formats.output import FormatWriter, spool_errors

CHUNK_BYTES = 1 << 22


class NpzWriter(FormatWriter):
    """Arrays ``label_maps`` uint8 (T, H, W), ``names`` and ``indices`` (T,), and ``object_ids``."""

    default_name = "masks.npz"

    def begin(self) -> None:
        """Begin; see the base class."""
        self._names: list[str] = []
        self._indices: list[int] = []
        self._ids: set[int] = set()
        self._size = (0, 0)
        self._pixels = self.temporary_file()

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Store one label map."""
        self._size = label_map.shape
        self._names.append(frame.name)
        self._indices.append(frame.index)
        self._ids.update(object_ids(label_map))
        with spool_errors():
            self._pixels.write(np.ascontiguousarray(label_map).data)

    def finish(self) -> None:
        """Copy the label maps behind a header that says how many they are."""
        with spool_errors():
            self._pixels.seek(0)
        others = {
            "names": np.asarray(self._names, dtype=np.str_),
            "indices": np.asarray(self._indices, dtype=np.int64),
            "object_ids": np.asarray(sorted(self._ids), dtype=np.uint8),
        }
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(self._names), *self._size)}
        with (
            self.replacing() as partial,
            zipfile.ZipFile(partial, "w") as file,
        ):
            with file.open(_entry("label_maps"), "w", force_zip64=True) as entry:
                npy.write_array_header_1_0(entry, header)
                while chunk := self._pixels.read(CHUNK_BYTES):
                    entry.write(chunk)
            for name, array in others.items():
                with file.open(_entry(name), "w") as entry:
                    npy.write_array(entry, array, allow_pickle=False)


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without the time of writing, so that the same masks give the same file."""
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def read_npz(path: Path) -> list[ImportedMasks] | None:
    """Read ``label_maps`` uint8 (T, H, W); ``names`` and ``indices`` need not be there."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as file:
            held = file.namelist()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise AnnotationError(f"{path}: a damaged NumPy file ({error}).") from error
    if "label_maps.npy" not in held:
        raise AnnotationError(f"{path}: arrays {held[:8]!r}, expected label_maps, uint8 (T, H, W).")

    @reading(path, "label maps")
    def frames() -> Iterator[ImportedFrame]:
        with np.load(path, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["names"]] if "names.npy" in held else None
            indices = arrays["indices"].tolist() if "indices.npy" in held else None
        with zipfile.ZipFile(path) as file, file.open("label_maps.npy") as entry:
            npy.read_magic(entry)
            (length, height, width), is_fortran, dtype = npy.read_array_header_1_0(entry)
            if dtype != np.uint8:
                raise AnnotationError(f"{path}: label_maps are {dtype}, expected uint8 (T, H, W).")
            if is_fortran:
                raise AnnotationError(
                    f"{path}: label_maps are in Fortran order, in which no frame can be read alone. "
                    "Save them with np.ascontiguousarray."
                )
            for number in range(length):
                pixels = np.frombuffer(entry.read(height * width), dtype=np.uint8).reshape(height, width)
                index = None if indices is None else int(indices[number])
                yield ImportedFrame(names[number] if names else f"{number:05d}", pixels, index)

    return [ImportedMasks(sequence_of(path, NpzWriter.default_name), frames)]
