"""Start a plugin: a ready distribution with a tracker that works, its tests, README and licence."""

from __future__ import annotations

import datetime
import importlib.util
import re
import shutil
from importlib import resources
from pathlib import Path
from string import Template

from vos.errors import InputError, OutputError, OutputExistsError

FILES = {
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    "LICENSE": "LICENSE.tmpl",
    ".gitignore": "gitignore.tmpl",
    "src/$module.py": "module.py.tmpl",
    "tests/test_contract.py": "test_contract.py.tmpl",
}
"""Path in the new distribution, and the template that it is made from."""


def plugin_files(name: str) -> dict[str, str]:
    """Make the files of a new plugin's distribution.

    Args:
        name: the tracker's name: lower case letters, digits and single hyphens.
    Returns:
        Text by path (with ``/``), relative to the distribution's folder.
    Raises:
        InputError: the name does not fit.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(
            f'a plugin cannot be named "{name}": use lower case letters, digits and hyphens, as in "my-tracker".'
        )
    values = {
        "name": name,
        "distribution": f"vos-{name}",
        "module": f"vos_{name.replace('-', '_')}",
        "year": str(datetime.date.today().year),
    }
    templates = resources.files("vos.scaffold") / "files"
    return {
        Template(path).substitute(values): Template((templates / template).read_text(encoding="utf-8")).substitute(
            values
        )
        for path, template in FILES.items()
    }


def write_plugin(name: str, parent: Path) -> Path:
    """Write a new plugin's distribution.

    Args:
        name: as for ``plugin_files``.
        parent: an existing folder; the distribution goes to ``parent/vos-NAME``.
    Returns:
        The distribution's folder.
    Raises:
        InputError: the name does not fit or is taken, or the folder is there already.
        OutputError: it cannot be written.
    """
    files = plugin_files(name)
    module = f"vos_{name.replace('-', '_')}"
    if importlib.util.find_spec(module) is not None:
        raise InputError(
            f"a module {module} is installed already, which the new plugin would hide. Choose another name."
        )
    folder = parent / f"vos-{name}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise OutputExistsError(f"{folder}: is there already. Choose another name or folder.") from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    try:
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    return folder
