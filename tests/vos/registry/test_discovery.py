import subprocess
import sys
import textwrap

import pytest

import vos.plugin
from vos.plugin import CommandSpec, InitializerSpec, TrackerSpec, WriterSpec, hookimpl
from vos.registry import discovery as plugins_module
from vos.registry.discovery import Plugins
from vos.registry.offers import Origin
from vos.testing import StubTracker


def origin(name):
    return Origin(name, name, "tests", "1.0")


def tracker_plugin(name="stub"):
    class Plugin:
        @hookimpl
        def vos_trackers(self):
            return [TrackerSpec(name, "A stub.", lambda options, runtime: StubTracker())]

    return Plugin()


def test_shipped_plugins_load_without_error():
    plugins = vos.load_plugins()
    assert plugins.broken == []
    assert {"propagation"} <= set(plugins.trackers.names())
    assert {"davis", "overlay", "coco-rle", "cutouts"} <= set(plugins.writers.names())


def test_each_load_has_a_manager_of_its_own():
    first, second = vos.load_plugins(), vos.load_plugins()
    first.register(tracker_plugin(), origin("mine"))
    assert "stub" in first.trackers.names()
    assert "stub" not in second.trackers.names()


def test_unknown_name_lists_what_there_is_and_guesses():
    with pytest.raises(
        vos.PluginError, match=r'no tracker named "propagatoin". Installed: .*Did you mean "propagation"\?'
    ):
        vos.load_plugins().trackers.get("propagatoin")


def test_two_plugins_with_one_name_are_both_named_when_it_is_used():
    plugins = Plugins()
    plugins.register(tracker_plugin(), Origin("mine", "my_module", "tests"))
    plugins.register(tracker_plugin(), Origin("yours", "your_module", "tests"))
    assert plugins.broken == []
    with pytest.raises(
        vos.PluginError,
        match=r'two plugins offer a tracker named "stub": plugin mine .* and plugin yours .*'
        r"\. Block one: --no-plugin my_module or --no-plugin your_module\.",
    ):
        plugins.trackers.get("stub")


def test_one_plugin_with_two_trackers_of_one_name_is_named_once():
    class Plugin:
        @hookimpl
        def vos_trackers(self):
            return [TrackerSpec("stub", "A stub.", lambda options, runtime: StubTracker())] * 2

    plugins = Plugins()
    plugins.register(Plugin(), origin("mine"))
    with pytest.raises(vos.PluginError, match=r'^plugin mine \(tests 1.0\) offers 2 trackers named "stub"'):
        plugins.trackers.get("stub")


def test_wrong_argument_is_broken_and_named():
    class Plugin:
        @hookimpl
        def vos_open_source(self, path):
            return None

    plugins = Plugins()
    plugins.register(Plugin(), origin("wrong"))
    plugins.register(tracker_plugin(), origin("right"))
    (broken,) = plugins.broken
    assert broken.origin.plugin == "wrong"
    assert "vos_open_source" in broken.error
    assert "path" in broken.error
    assert plugins.hook.vos_open_source.get_hookimpls() == []
    assert plugins.trackers.names() == ["stub"]


def test_misspelt_hook_is_broken_and_guessed():
    class Plugin:
        @hookimpl
        def vos_tracker(self):
            return []

    plugins = Plugins()
    plugins.register(Plugin(), origin("typo"))
    assert 'unknown hook "vos_tracker". Did you mean "vos_trackers"?' in plugins.broken[0].error


def test_wrong_offer_is_broken():
    class Plugin:
        @hookimpl
        def vos_trackers(self):
            return ["persam"]

    plugins = Plugins()
    plugins.register(Plugin(), origin("offer"))
    assert "vos_trackers returned a str, expected TrackerSpec" in plugins.broken[0].error


def test_all_registration_hooks_are_collected():
    class Plugin:
        @hookimpl
        def vos_initializers(self):
            return [InitializerSpec("i", "s", lambda options, runtime: None)]

        @hookimpl
        def vos_writers(self):
            return [WriterSpec("w", "s", lambda options: None)]

        @hookimpl
        def vos_commands(self):
            return [CommandSpec("c", "s", lambda: None)]

    plugins = Plugins()
    plugins.register(Plugin(), origin("many"))
    assert (plugins.initializers.names(), plugins.writers.names(), plugins.commands.names()) == (["i"], ["w"], ["c"])


@pytest.fixture
def module(tmp_path, monkeypatch):
    def write(text, name="a_strange_plugin"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def test_module_named_by_the_user_is_loaded(module):
    name = module(
        """
        from vos.plugin import TrackerSpec, hookimpl
        @hookimpl
        def vos_trackers():
            return [TrackerSpec("mine", "Mine.", lambda options, runtime: None)]
        """
    )
    assert "mine" in vos.load_plugins([name]).trackers.names()


@pytest.mark.parametrize("text", ["import nothing_of_that_name", "raise SystemExit(3)", "def ("])
def test_module_named_by_the_user_that_fails_is_an_error(module, text):
    with pytest.raises(vos.PluginError, match="plugin a_strange_plugin cannot be loaded") as caught:
        vos.load_plugins([module(text)])
    assert caught.value.__cause__ is not None, "--debug shows where"


def test_installed_plugin_that_fails_to_import_is_skipped_by_name(module, monkeypatch, caplog):
    caplog.set_level("DEBUG", logger="vos")
    name = module("import nothing_of_that_name")
    found = plugins_module._entry_points()
    monkeypatch.setattr(
        plugins_module, "_entry_points", lambda: [*found, Origin("strange", name, "strange-dist", "2.0")]
    )
    loaded = vos.load_plugins(autoload=True)
    (broken,) = loaded.broken
    assert str(broken.origin) == "strange (strange-dist 2.0)"
    assert "nothing_of_that_name" in broken.error
    assert "a_strange_plugin.py" in caplog.text, "the traceback"
    assert "propagation" in loaded.trackers.names()
    assert vos.load_plugins(autoload=False).broken == []
    assert vos.load_plugins(blocked=["strange"], autoload=True).broken == []


def test_blocked_plugin_is_left_out():
    plugins = vos.load_plugins(blocked=["propagation"])
    assert "propagation" not in plugins.trackers.names()
    assert plugins.blocked == ["propagation"]
    with pytest.raises(vos.PluginError, match='no plugin named "propagatio"'):
        vos.load_plugins(blocked=["propagatio"])


def test_listing_plugins_imports_nothing_heavy():
    code = """
import sys, vos
plugins = vos.load_plugins()
assert not plugins.broken, plugins.broken
heavy = {"torch", "transformers", "diffusers", "segment_anything", "av", "pycocotools"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_that_is_installed_later_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "later" not in {entry.plugin for entry in plugins_module._entry_points()}
    info = tmp_path / "later-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vos]\nlater = later_module\n")
    assert Origin("later", "later_module", "later", "1.0") in plugins_module._entry_points()
