"""Plugins that are files: ``-p path/to/my_plugin.py`` loads one that is not installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from vos.errors import PluginError


def is_file(module: str) -> bool:
    """True if an argument of ``-p`` is a path, not the name of a module."""
    return module.endswith(".py") or module.startswith(".") or "/" in module or os.sep in module


def absolute(module: str) -> str:
    """Make a path absolute, so that worker processes with another working folder find the file; names stay."""
    return str(Path(module).absolute()) if is_file(module) else module


def module_name(module: str) -> str:
    """The name under which a file or folder is imported; a module's name is its own."""
    return Path(module).absolute().name.removesuffix(".py") if is_file(module) else module


def import_file(path: str) -> ModuleType:
    """Import a plugin from its file, or from its package's folder.

    The file's folder is added to the end of ``sys.path``, so that the plugin can import modules beside it.

    Args:
        path: a ``.py`` file, or a folder with ``__init__.py``.
    Returns:
        The module, named like the file; the same one when it is imported again.
    Raises:
        PluginError: no such file, a name that cannot be a module's, or a module of this name is loaded already.
    """
    file, name = Path(path).absolute(), module_name(path)
    folder = file.parent
    if file.is_dir():
        file /= "__init__.py"
    if not file.is_file() or file.suffix != ".py":
        found = "no .py file" if file.is_file() else "no such file"
        raise PluginError(f"{path}: {found}. Give a .py file, a folder with __init__.py, or a module's name.")
    if not name.isidentifier():
        raise PluginError(f"{path}: a module cannot be named {name!r}. Use letters, digits and _ in the file's name.")
    loaded = sys.modules.get(name)
    if loaded is not None:
        where = getattr(loaded, "__file__", None)
        if where is not None and Path(where).resolve() == file.resolve():
            return loaded
        raise PluginError(f"{path}: another module {name} is loaded already ({where}). Give the file another name.")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is executed
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
