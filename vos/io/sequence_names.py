"""The name of a video's sequence: its folder of masks, and the file of its first mask, are named so."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vos.io.atomic_files import safe_name
from vos.io.remote_files import FILE_SUFFIXES, file_name, is_address


def sequence_name(location: str) -> str:
    """Name the sequence of a video as ``vos track`` does: a folder by its whole name, a file without its suffix.

    Args:
        location: a video file, a folder of images, the address of one or of a stream, or a camera's index.
    Returns:
        A name that ``safe_name`` has made safe; of an address without its query, which may be a signature.
    """
    if re.fullmatch(r"[0-9]{1,4}", location) and not os.path.lexists(location):
        return f"camera-{int(location)}"
    if is_address(location):
        path = Path(file_name(location))
        return safe_name(path.stem if path.suffix.lower() in FILE_SUFFIXES else path.name)
    is_folder = os.path.isdir(location)  # noqa: PTH112 - Path.is_dir raises for a name that is too long
    return safe_name(Path(location).resolve().name if is_folder else Path(location).stem)
