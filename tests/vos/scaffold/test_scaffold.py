"""`vos plugin new NAME` writes a distribution that installs, passes its own tests and tracks at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import vos
from vos import InputError
from vos.cli.plugin import command
from vos.plugin import OutputError
from vos.scaffold import FILES, KINDS, plugin_files, write_plugin
from vos.testing import StubTracker, tiny_sequence

EXAMPLE = Path(__file__).parents[3] / "examples" / "vos-template-tracker"


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """A distribution of each kind, found as installed ones are, and the environment that finds them."""
    root = tmp_path_factory.mktemp("new")
    paths = []
    for kind in KINDS:
        folder = write_plugin(f"my-{kind}", root, kind)
        info = folder / "src" / f"vos_my_{kind}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vos-my-{kind}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[vos]\nmy-{kind} = vos_my_{kind}\n")
        paths.append(str(folder / "src"))
    path = os.pathsep.join([*paths, *filter(None, sys.path)])
    return root, {**os.environ, "PYTHONPATH": path, "VOS_PLUGINS_AUTOLOAD": "1"}


def run(arguments, new, **more):
    root, environment = new
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        **more,
    )


def test_their_own_tests_pass(new):
    """The tracker's clauses of encoding, forgetting and saving, and the executor's of processes, are not for them."""
    result = run(["pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-rs"], new)
    assert result.returncode == 0, result.stdout + result.stderr
    assert ", 5 skipped" in result.stdout.splitlines()[-1], result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_of_its_readme_run(kind, new, tmp_path):
    sequence = tiny_sequence("moving", length=4)
    frames, masks = sequence.save(tmp_path)
    np.save(tmp_path / "clip.npy", np.stack(sequence.images))
    (tmp_path / "jobs.jsonl").write_text(json.dumps({"video": str(frames), "masks": str(masks / "00000.png")}))
    out = tmp_path / "out"
    if kind == "format":
        vos.track(frames, masks / "00000.png", output=out, tracker=StubTracker())
    files = {
        "VIDEO": frames,
        "FIRST.png": masks / "00000.png",
        "CLIP.npy": tmp_path / "clip.npy",
        "JOBS": tmp_path / "jobs.jsonl",
        "out/SEQUENCE": out / "frames",
        "out": out,
        "first.png": tmp_path / "first.png",
        "centres.csv": tmp_path / "centres.csv",
    }
    text = plugin_files(f"my-{kind}", kind)["README.md"]
    lines = [line.split() for line in text.splitlines() if line.startswith("    vos ")]
    for words in lines:
        result = run([files.get(word, word) for word in words], new)
        assert result.returncode == 0, f"{words}: {result.stderr}"
    assert lines
    if kind == "tracker":
        assert len(list((out / "frames").glob("*.png"))) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_entry_point_is_the_module(kind):
    files = plugin_files("my-plugin", kind)
    assert '[project.entry-points.vos]\nmy-plugin = "vos_my_plugin"' in files["pyproject.toml"]
    assert all("$" not in text for text in files.values())
    assert "NAME" not in files["README.md"]


def test_the_example_is_what_the_command_writes():
    written = plugin_files("template-tracker")
    for path, text in written.items():
        if path != "LICENSE":  # its year is that of the writing
            assert (EXAMPLE / path).read_text() == text, (
                f"run `vos plugin new template-tracker --into examples`: {path}"
            )
    found = {str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*") if path.is_file()}
    made_by_tools = ("__pycache__", "egg-info", "_cache/")
    assert {path for path in found if not any(part in path for part in made_by_tools)} == set(written)


def test_the_tracker_is_short():
    assert len(plugin_files("x")["src/vos_x.py"].splitlines()) < 55


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
    monkeypatch.setitem(FILES, "x" * 300, "common/LICENSE.tmpl")
    with pytest.raises(OutputError, match="too long"):
        write_plugin("my-tracker", tmp_path)
    assert list(tmp_path.iterdir()) == []
