"""Every data file of a package is named in pyproject.toml, so that the installed package has it."""

import fnmatch
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCE_ROOTS = {"vos": ROOT, "plugins": ROOT / "plugins"}


def data_files():
    for folder, root in SOURCE_ROOTS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
                yield pytest.param(path.relative_to(root), id=str(path.relative_to(ROOT)))


@pytest.mark.parametrize("path", list(data_files()))
def test_every_data_file_is_packaged(path):
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    for depth in range(1, len(path.parts)):
        package, inside = ".".join(path.parts[:depth]), str(Path(*path.parts[depth:]))
        allowed = patterns["*"] + patterns.get(package, [])
        if any(fnmatch.fnmatch(inside, pattern) and inside.count("/") == pattern.count("/") for pattern in allowed):
            return
    pytest.fail(f"{path} is in no package-data pattern of pyproject.toml, so an installed vos would lack it")


def test_every_shipped_plugin_is_an_entry_point():
    groups = [*PROJECT["project"]["entry-points"].values(), PROJECT["project"]["scripts"]]
    modules = {value.split(":")[0] for group in groups for value in group.values()}
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    assert modules == folders


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [name for name in listed.stdout.split("\0") if name]


def test_no_tracked_file_is_large():
    files = [ROOT / name for name in tracked_files()]
    large = [str(f) for f in files if f.is_file() and f.stat().st_size > 4 * 2**20]
    assert not large, "over 4 MiB"


def test_the_root_holds_no_output_of_a_trial():
    folders = {name.split("/")[0] for name in tracked_files() if "/" in name}
    files = {name for name in tracked_files() if "/" not in name}
    assert folders <= {".ci", ".github", "docs", "examples", "plugins", "tests", "vos"}
    ends = (".md", ".toml", ".yml", ".yaml", ".in", ".cff")
    assert {name for name in files if not name.endswith(ends)} <= {
        ".gitignore",
        "LICENSE",
        "Makefile",
        "constraints.txt",
    }


def test_versions_that_make_installs_fit_the_ranges():
    from packaging.requirements import Requirement

    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pinned[requirement.name] = next(iter(requirement.specifier)).version
    wanted = PROJECT["project"]["dependencies"] + [
        text for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra
    ]
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.name in pinned, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pinned[requirement.name]), text


def test_versions_that_make_installs_are_made_for_the_oldest_python():
    """A pinned version that has left Python 3.10 behind must be free there, or `make test` cannot install it."""
    from importlib.metadata import PackageNotFoundError, metadata

    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    wrong, checked = [], 0
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        try:
            made_for = metadata(requirement.name).get("Requires-Python") or ""
        except PackageNotFoundError:
            continue
        checked += 1
        if requirement.marker is None and not SpecifierSet(made_for).contains(f"{oldest}.99"):
            wrong.append(f"{line} is for Python {made_for}")
    assert checked > 40
    assert not wrong
