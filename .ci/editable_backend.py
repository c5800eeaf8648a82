"""The build backend: setuptools, whose editable wheel names the two source roots in a ``.pth`` file.

Setuptools maps packages of two roots with an import hook, which type checkers do not follow: beside
``pip install -e .`` they would find no types of the toolkit.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401 - the hooks that pip calls
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

SOURCE_ROOTS = ("", "plugins")


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build the editable wheel, and put paths in place of setuptools' import hook; see PEP 660."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    wheel = Path(wheel_directory) / name
    with zipfile.ZipFile(wheel) as file:
        content = {entry: file.read(entry) for entry in file.namelist()}
    record = next(entry for entry in content if entry.endswith(".dist-info/RECORD"))
    kept = {entry: data for entry, data in content.items() if ".dist-info/" in entry and entry != record}
    root = Path(__file__).resolve().parent.parent
    kept["__editable__.vos_toolkit.pth"] = "".join(f"{root / part}\n" for part in SOURCE_ROOTS).encode()
    lines = [f"{entry},sha256={_digest(data)},{len(data)}" for entry, data in kept.items()]
    kept[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as file:
        for entry, data in kept.items():
            file.writestr(entry, data)
    return name


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
