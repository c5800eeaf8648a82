"""Start a plugin: a ready distribution with code that works, its tests, README and licence."""

from __future__ import annotations

import datetime
import importlib.util
import re
import shutil
from importlib import resources
from pathlib import Path
from string import Template

from vos.errors import InputError, OutputError, OutputExistsError
from vos.scaffold.kinds import KINDS

FILES = {
    "pyproject.toml": "common/pyproject.toml.tmpl",
    "README.md": "common/README.md.tmpl",
    "LICENSE": "common/LICENSE.tmpl",
    ".gitignore": "common/gitignore.tmpl",
    "src/$module.py": "$kind/module.py.tmpl",
    "tests/test_$module.py": "$kind/test_plugin.py.tmpl",
}
"""Path in the new distribution, and the template that it is made from."""


def plugin_files(name: str, kind: str = "tracker") -> dict[str, str]:
    """Make the files of a new plugin's distribution.

    Args:
        name: the plugin's name: lower case letters, digits and single hyphens.
        kind: kind of its spec, a key of ``KINDS``.
    Returns:
        Text by path (with ``/``), relative to the distribution's folder.
    Raises:
        InputError: the name does not fit.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(
            f'a plugin cannot be named "{name}": use lower case letters, digits and hyphens, as in "my-{kind}".'
        )
    about = KINDS[kind]
    options = f"\nOptions: {about.options.replace('NAME', name)}\n" if about.options else ""
    values = {
        "name": name,
        "kind": kind,
        "distribution": f"vos-{name}",
        "module": _module(name),
        "year": str(datetime.date.today().year),
        "title": about.title.replace("NAME", name),
        "description": f"{about.title} for vos".replace("NAME", name).replace("`", ""),
        "does": about.does,
        "try_it": try_it(name, kind),
        "options": options,
        "dependencies": ", ".join(f'"{one}"' for one in (*about.dependencies, "vos-toolkit")),
    }
    templates = resources.files("vos.scaffold") / "files"
    made = {}
    for path, template in FILES.items():
        text = (templates / Template(template).substitute(values)).read_text(encoding="utf-8")
        made[Template(path).substitute(values)] = Template(text).substitute(values).rstrip("\n") + "\n"
    return made


def try_it(name: str, kind: str = "tracker") -> str:
    """A command that uses a new plugin."""
    return KINDS[kind].try_it.replace("NAME", name)


def _module(name: str) -> str:
    return f"vos_{name.replace('-', '_')}"


def write_plugin(name: str, parent: Path, kind: str = "tracker") -> Path:
    """Write a new plugin's distribution.

    Args:
        name: as for ``plugin_files``.
        parent: an existing folder; the distribution goes to ``parent/vos-NAME``.
        kind: as for ``plugin_files``.
    Returns:
        The distribution's folder.
    Raises:
        InputError: the name does not fit or is taken, or the folder is there already.
        OutputError: it cannot be written.
    """
    files, module = plugin_files(name, kind), _module(name)
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
