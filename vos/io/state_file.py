"""Saved states: arrays and plain facts in one ``.npz`` file that is read without running code."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from vos.errors import InputError
from vos.types.arrays import AnyArray

FACTS = "facts.json"


def write_state(path: Path, arrays: Mapping[str, AnyArray], facts: Mapping[str, Any]) -> None:
    """Write arrays and facts, uncompressed.

    Args:
        path: the file; whoever calls sees to it that it is whole or absent.
        arrays: by name, of numbers or bools.
        facts: JSON data; floats come back bit for bit.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr(FACTS, json.dumps(facts))
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, np.asarray(array), allow_pickle=False)


def read_state(path: Path) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """Read what ``write_state`` wrote. Nothing in the file is run, and no more memory is taken than the file is long.

    Args:
        path: the file.
    Returns:
        The arrays by name, writable, and the facts.
    Raises:
        InputError: the file is missing, damaged, or claims more than it holds.
    """
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("it has compressed entries")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ValueError("its entries claim more bytes than the file has")
            facts = json.loads(file.read(FACTS))
            if not isinstance(facts, dict):
                raise ValueError("its facts are no JSON object")
            arrays = {}
            for entry in entries:
                if entry.filename != FACTS:
                    with file.open(entry) as stream:
                        arrays[entry.filename.removesuffix(".npy")] = _read_array(stream, entry.file_size)
            return arrays, facts
    except (OSError, ValueError, KeyError, EOFError, RecursionError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{path}: cannot be read as a saved state ({error}).") from error


def _read_array(stream: IO[bytes], size: int) -> AnyArray:
    """Read one array of an entry of ``size`` bytes, whose header is checked before anything is allocated."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array has version {version}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read_header(stream)
    if dtype.kind not in "biuf" or any(length < 0 for length in shape):
        raise ValueError(f"an array is {dtype} {shape}")
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"an array claims to be {dtype} {shape}, its entry has {size} bytes")
    content = stream.read()
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array is {dtype} {shape}, its entry has {len(content)} bytes")
    flat = np.frombuffer(content, dtype)
    array: AnyArray = (flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)).copy(order="K")
    return array
