"""The command ``vos``: starts the toolkit's command line, or names the package that hides it.

Another project on the package index, the VOSpace client, is called ``vos`` and installs a package ``vos`` too. Where
both are installed, its files replace some of the toolkit's. This module lies outside that package, so it still runs.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Run the command line and exit; exit with 2 where another project's package hides the toolkit's."""
    foreign = foreign_package()
    if foreign is not None:
        print(
            f'vos: the package "vos" at {foreign} belongs to another project and hides vos-toolkit. '
            "Uninstall both and install the toolkit again: pip uninstall vos vos-toolkit; pip install vos-toolkit",
            file=sys.stderr,
        )
        sys.exit(2)
    from vos.cli import main as run

    run()


def foreign_package() -> Path | None:
    """Find a package ``vos`` that is not the toolkit's.

    Returns:
        Its folder, or None where ``import vos`` gives the toolkit. The test is the file ``vos/plugin.py`` beside an
        ``__init__.py`` that exports ``track``: an overwritten ``__init__.py`` does not.
    """
    found = importlib.util.find_spec("vos")
    if found is None or not found.submodule_search_locations:
        return None  # importing it reports what is wrong
    folder = Path(found.submodule_search_locations[0])
    entry = folder / "__init__.py"
    ours = (folder / "plugin.py").is_file() and entry.is_file() and '"track"' in entry.read_text(encoding="utf-8")
    return None if ours else folder
