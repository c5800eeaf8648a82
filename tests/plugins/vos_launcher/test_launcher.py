"""The command `vos` runs the toolkit, and names another project's package that hides it."""

import os
import subprocess
import sys
from pathlib import Path

import vos_launcher

PLUGINS = Path(vos_launcher.__file__).parents[1]


def run(*arguments, path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    code = "import vos_launcher; vos_launcher.main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=PLUGINS)


def test_it_runs_the_command_line():
    result = run("--version", path=[])
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("vos, version ")


def test_a_foreign_package_of_the_same_name_is_named(tmp_path):
    (tmp_path / "vos").mkdir()
    (tmp_path / "vos" / "__init__.py").write_text("from .client import Client\n")
    result = run("--version", path=[tmp_path, PLUGINS])
    assert result.returncode == 2
    assert str(tmp_path / "vos") in result.stderr
    assert "pip install vos-toolkit" in result.stderr
    assert "Traceback" not in result.stderr


def test_files_of_a_foreign_package_over_ours_are_named(tmp_path):
    (tmp_path / "vos").mkdir()
    (tmp_path / "vos" / "plugin.py").write_text("")
    (tmp_path / "vos" / "__init__.py").write_text("from .client import Client\n")
    result = run(path=[tmp_path, PLUGINS])
    assert (result.returncode, result.stdout) == (2, "")
