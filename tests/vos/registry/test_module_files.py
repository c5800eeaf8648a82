"""`-p path/to/my_plugin.py` loads a plugin that is not installed."""

import os
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

import vos
from vos.cli import cli
from vos.errors import PluginError

PLUGIN = """
from my_guest_parts import SUMMARY
from vos.plugin import TrackerSpec, hookimpl
from vos.testing import StubTracker

@hookimpl
def vos_trackers():
    return [TrackerSpec("guest", SUMMARY, lambda options, runtime: StubTracker())]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "my_guest.py").write_text(PLUGIN)
    (tmp_path / "my_guest_parts.py").write_text('SUMMARY = "A guest."')
    return tmp_path


def test_a_file_is_loaded_with_the_modules_beside_it(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    arguments = ["-p", f"{folder.name}/my_guest.py", "plugins", "guest"]
    for _ in range(2):
        result = CliRunner().invoke(cli, arguments)
        assert result.stdout.splitlines()[1].split() == ["guest", "A", "guest."], result.output
    assert "my_guest" in result.stdout


def test_a_package_is_loaded_by_its_folder(folder):
    (folder / "guest_package").mkdir()
    (folder / "my_guest.py").rename(folder / "guest_package" / "__init__.py")
    plugins = vos.load_plugins([str(folder / "guest_package")])
    assert plugins.trackers.get("guest").summary == "A guest."
    assert plugins.trackers.origin("guest").plugin == "guest_package"


def test_a_dot_is_the_folder_of_a_package(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(PluginError, match=rf"plugin {folder.name} cannot be loaded: .*: no such file. Give a .py file"):
        vos.load_plugins(["."])
    (folder / "guest_package").mkdir()
    (folder / "my_guest.py").rename(folder / "guest_package" / "__init__.py")
    monkeypatch.chdir("guest_package")
    assert vos.load_plugins(["."]).trackers.origin("guest").plugin == "guest_package"


def test_a_path_is_taken_and_a_text_in_place_of_a_list_is_refused(folder):
    assert "guest" in vos.load_plugins([folder / "my_guest.py"]).trackers.names()
    with pytest.raises(PluginError, match=r"modules is 'my_guest', expected a list: \['my_guest'\]"):
        vos.load_plugins("my_guest")
    with pytest.raises(PluginError, match="blocked is 'sources', expected a list"):
        vos.load_plugins(blocked="sources")


def test_a_file_is_left_out_by_its_name(folder):
    assert "guest" not in vos.load_plugins([str(folder / "my_guest.py")], ["my_guest"]).trackers.names()


def test_the_line_says_what_is_wrong_with_a_file(folder):
    with pytest.raises(PluginError, match=r"absent\.py: no such file"):
        vos.load_plugins([str(folder / "absent.py")])
    (folder / "my_guest.txt").write_text(PLUGIN)
    with pytest.raises(PluginError, match=r"my_guest\.txt: no \.py file\. Give a \.py file, a folder with __init__"):
        vos.load_plugins([str(folder / "my_guest.txt")])
    (folder / "my-guest.py").write_text(PLUGIN)
    with pytest.raises(PluginError, match="a module cannot be named 'my-guest'"):
        vos.load_plugins([str(folder / "my-guest.py")])
    (folder / "json.py").write_text(PLUGIN)
    with pytest.raises(PluginError, match="another module json is loaded already"):
        vos.load_plugins([str(folder / "json.py")])


def test_a_file_that_fails_can_be_mended_and_loaded(folder):
    (folder / "my_guest.py").write_text("1 / 0")
    with pytest.raises(PluginError, match="plugin my_guest cannot be loaded: ZeroDivisionError"):
        vos.load_plugins([str(folder / "my_guest.py")])
    (folder / "my_guest.py").write_text(PLUGIN)
    assert "guest" in vos.load_plugins([str(folder / "my_guest.py")]).trackers.names()


def test_another_file_with_the_name_of_a_loaded_plugin_is_refused(folder):
    (folder / "vos_writers").mkdir()
    (folder / "my_guest.py").rename(folder / "vos_writers" / "__init__.py")
    with pytest.raises(PluginError, match="another module vos_writers is loaded already"):
        vos.load_plugins([str(folder / "vos_writers")])
    assert not vos.load_plugins(["vos_writers"]).broken


def test_a_file_without_hooks_is_refused(folder):
    (folder / "my_guest.py").write_text(PLUGIN.replace("@hookimpl\ndef vos_trackers", "def offer"))
    with pytest.raises(PluginError, match="plugin my_guest cannot be loaded: it has no hook"):
        vos.load_plugins([str(folder / "my_guest.py")])


def test_a_file_whose_hooks_are_not_marked_names_one(folder):
    (folder / "my_guest.py").write_text(PLUGIN.replace("@hookimpl\n", ""))
    with pytest.raises(PluginError, match="vos_trackers is not marked as a hook. Put @hookimpl above it"):
        vos.load_plugins([str(folder / "my_guest.py")])


def test_threads_that_load_one_file_at_once_all_get_it_and_leave_stdout_alone(folder):
    (folder / "my_guest.py").write_text(f"import time; time.sleep(0.2){PLUGIN}")
    names, stdout = [], sys.stdout

    def load():
        names.append("guest" in vos.load_plugins([str(folder / "my_guest.py")]).trackers.names())

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == [True, True, True]
    assert sys.stdout is stdout


FORKS = """
import os, pathlib, signal, threading, time, vos
threading.Thread(target=vos.load_plugins, args=(["my_guest.py"],)).start()
while not pathlib.Path("begun").exists():
    time.sleep(0.01)
if os.fork() == 0:
    signal.alarm(20)
    vos.load_plugins()
    os._exit(0)
os._exit(os.wait()[1] != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_while_a_thread_loads_plugins_loads_them_too(folder):
    (folder / "my_guest.py").write_text(f"import time; open('begun', 'w').close(); time.sleep(30){PLUGIN}")
    subprocess.run([sys.executable, "-c", FORKS], cwd=folder, timeout=60, check=True)
