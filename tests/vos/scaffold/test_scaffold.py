"""`vos plugin new NAME` writes a distribution that installs, passes its own tests and tracks at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vos import InputError
from vos.cli.plugin import command
from vos.plugin import OutputError
from vos.scaffold import FILES, plugin_files, write_plugin
from vos.testing import tiny_sequence

EXAMPLE = Path(__file__).parents[3] / "examples" / "vos-template-tracker"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The distribution's folder, and an environment in which it is installed beside the toolkit."""
    folder = write_plugin("my-tracker", tmp_path_factory.mktemp("new"))
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, folder], check=True)
    path = os.pathsep.join([str(target), *filter(None, sys.path)])
    return folder, {**os.environ, "PYTHONPATH": path, "VOS_PLUGINS_AUTOLOAD": "1"}


def run(arguments, installed, **more):
    folder, environment = installed
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True, **more
    )


def test_its_own_tests_pass(installed):
    result = run(["pytest", "-q", "-p", "no:cacheprovider"], installed)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "18 passed, 2 skipped" in result.stdout


def test_it_tracks_from_the_command_line(installed, tmp_path):
    frames, masks = tiny_sequence("moving", length=4).save(tmp_path)
    code = "import sys; from vos.cli import main; main(sys.argv[1:])"
    _, environment = installed
    arguments = ["track", frames, "--mask", masks / "00000.png", "--tracker", "my-tracker", "-o", tmp_path / "out"]
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out" / "frames").glob("*.png"))) == 4


def test_the_example_is_what_the_command_writes():
    written = plugin_files("template-tracker")
    for path, text in written.items():
        if path != "LICENSE":  # its year is that of the writing
            assert (EXAMPLE / path).read_text() == text, (
                f"run `vos plugin new template-tracker --into examples`: {path}"
            )
    found = {str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*") if path.is_file()}
    assert {path for path in found if "__pycache__" not in path and "egg-info" not in path} == set(written)


def test_the_tracker_is_under_50_lines():
    assert len(plugin_files("x")["src/vos_x.py"].splitlines()) < 50


def test_the_command_lists_what_it_wrote(tmp_path):
    result = CliRunner().invoke(command, ["new", "abc", "--into", str(tmp_path)])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(tmp_path / "vos-abc" / path) for path in plugin_files("abc")]
    assert "--tracker abc" in result.stderr


@pytest.mark.parametrize("name", ["", "My", "-a", "a_b", "a--b", "../a", "1st", "a b"])
def test_a_name_that_cannot_be_used_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"use lower case letters, digits and hyphens"):
        write_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced(tmp_path):
    write_plugin("abc", tmp_path)
    (tmp_path / "vos-abc" / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"vos-abc: is there already\. Choose another name or folder"):
        write_plugin("abc", tmp_path)
    assert (tmp_path / "vos-abc" / "README.md").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="vos-abc: cannot be written"):
        write_plugin("abc", tmp_path / "file")


def test_a_name_whose_module_is_installed_already_is_refused(tmp_path):
    with pytest.raises(InputError, match="a module vos_propagation is installed already"):
        write_plugin("propagation", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_that_cannot_be_written_whole_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setitem(FILES, "x" * 300, "LICENSE.tmpl")
    with pytest.raises(OutputError, match="too long"):
        write_plugin("my-tracker", tmp_path)
    assert list(tmp_path.iterdir()) == []
