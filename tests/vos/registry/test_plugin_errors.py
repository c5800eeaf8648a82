"""A beginner's mistake in a plugin gives one line that names the plugin; it never ends the host or stays silent."""

import json
import sys

import numpy as np
import pytest

import vos.plugin
from vos.cli import main
from vos.errors import PluginFailedError
from vos.plugin import (
    InitializerSpec,
    OptionError,
    SourceInfo,
    TrackerSpec,
    TruncatedSourceError,
    WriterSpec,
    hookimpl,
    option,
)
from vos.registry.discovery import Plugins
from vos.registry.offers import Origin
from vos.registry.options import NoOptions
from vos.testing import StubEncodingTracker, StubTracker, tiny_sequence


def plugins_with(**functions):
    """Plugins of one module named ``guest``, with hooks that are given as functions of their arguments."""
    plugin = type("Guest", (), {name: staticmethod(hookimpl(function)) for name, function in functions.items()})
    plugins = Plugins()
    plugins.register(plugin, Origin("guest", "guest", "tests"))
    return plugins


def stream(tracker, plugins=None, **more):
    sequence = tiny_sequence("still", length=4, object_ids=(2, 5))
    plugins = plugins or Plugins()
    return list(vos.stream(sequence, sequence.label_maps[0], tracker=tracker, plugins=plugins, **more))


def fail(*_):
    raise KeyError("lost")


def leave(*_):
    sys.exit(0)


# Registration


class Listed:
    side: int = 3


def spec(name="guest", summary="A guest.", factory=StubTracker, options=NoOptions):
    return TrackerSpec(name, summary, factory, options)


def unknown_type():
    """Options with an annotation that nothing defines."""
    import dataclasses

    return dataclasses.make_dataclass("Options", [("side", "Undefined", option(3, "A side."))])


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        (None, "vos_trackers returned a NoneType, expected a list of TrackerSpec"),
        (spec(), "vos_trackers returned a TrackerSpec, expected a list of TrackerSpec"),
        ([spec(name=None)], "a tracker is named None"),
        ([spec(summary=None)], 'tracker "guest": the summary is None'),
        ([spec(factory=3)], 'tracker "guest": factory is 3, expected a function'),
        ([spec(options=Listed)], 'tracker "guest": options is .*Listed.*, expected a dataclass'),
        ([spec(options=NoOptions())], 'tracker "guest": options is NoOptions.*, expected a dataclass'),
        ([spec(options=unknown_type())], 'tracker "guest": its options cannot be listed: NameError: .*Undefined'),
    ],
)
def test_an_offer_that_no_list_could_show_is_broken_and_the_others_stay(offered, message):
    plugins = plugins_with(vos_trackers=lambda: offered)
    (broken,) = plugins.broken
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(broken.error)
    assert plugins.trackers.names() == []
    assert plugins.manager.get_plugins() == set()


def test_a_registration_hook_that_fails_is_named():
    assert plugins_with(vos_writers=fail).broken[0].error == "vos_writers failed: KeyError: 'lost'"


def test_a_hook_without_its_mark_is_broken():
    class Unmarked:
        def vos_trackers(self):
            return [spec()]

    plugins = Plugins()
    plugins.register(Unmarked(), Origin("guest", "guest", "tests"))
    assert plugins.broken[0].error == "vos_trackers is not marked as a hook. Put @hookimpl above it."


def test_a_version_that_is_no_number_is_said():
    class Old:
        VOS_API = "1"

    plugins = Plugins()
    plugins.register(Old(), Origin("guest", "guest", "tests"))
    assert plugins.broken[0].error == "its VOS_API is '1', expected a number such as 1."


def test_two_distributions_with_one_entry_point_name_both_stay():
    plugins = Plugins()
    for distribution in ("one", "two"):
        source = type("Source", (), {"vos_open_source": staticmethod(hookimpl(lambda location: None))})
        plugins.register(source, Origin("same", distribution, distribution))
    assert plugins.broken == []
    assert len(plugins.hook.vos_open_source.get_hookimpls()) == 2


def test_one_module_under_two_names_stays_registered():
    plugins = plugins_with(vos_trackers=lambda: [spec()])
    (plugin,) = plugins.manager.get_plugins()
    plugins.register(plugin, Origin("again", "guest", "tests"))
    assert plugins.broken[0].error == "guest is loaded already, under another name."
    assert plugins.manager.is_registered(plugin)


def test_what_a_plugin_prints_when_it_is_loaded_is_no_result(tmp_path, monkeypatch, capsys):
    (tmp_path / "talking_plugin.py").write_text(
        "from vos.plugin import hookimpl\nprint('hello')\n@hookimpl\ndef vos_trackers(): return []\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit):
        main(["-p", "talking_plugin", "plugins", "--json"])
    said = capsys.readouterr()
    assert "talking_plugin" in {plugin["plugin"] for plugin in json.loads(said.out)["plugins"]}
    assert said.err == "hello\n"


# Trackers


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (fail, "tracker \"guest\" cannot be made: KeyError: 'lost'"),
        (leave, 'tracker "guest" cannot be made: SystemExit: 0'),
        (lambda: None, 'tracker "guest" cannot be made: TypeError: .* takes 0 positional arguments'),
        (lambda options, runtime: None, 'tracker "guest" is a NoneType, which has no method start'),
        (lambda options, runtime: StubTracker, "tracker StubTracker is a class, expected an object of it"),
    ],
)
def test_a_tracker_that_cannot_be_made_is_named(factory, message):
    plugins = plugins_with(vos_trackers=lambda: [spec(factory=factory)])
    with pytest.raises(vos.VosError, match=message):
        stream("guest", plugins)


def test_a_tracker_that_exits_has_failed():
    class Leaves(StubTracker):
        step = leave

    with pytest.raises(vos.TrackerError, match=r'"Leaves" failed on frame 00001 \(index 1\): SystemExit: 0'):
        stream(Leaves())


@pytest.mark.parametrize("answer", [None, 3])
def test_encodings_that_are_no_list_are_named(answer):
    class Encodes(StubEncodingTracker):
        def encode(self, frames):
            return answer

    with pytest.raises(vos.TrackerError, match=r'"Encodes": encode gave a \w+ for 2 frames, expected a list of one'):
        stream(Encodes())


def test_details_that_are_no_dict_are_named():
    class Detailed(StubTracker):
        details = "vit_b"

    with pytest.raises(vos.TrackerError, match='"Detailed": details is a str, expected a dict of plain values'):
        stream(Detailed())


def test_details_that_fail_are_named():
    class Detailed(StubTracker):
        @property
        def details(self):
            fail()

    with pytest.raises(PluginFailedError, match="\"Detailed\": its details cannot be recorded: KeyError: 'lost'"):
        stream(Detailed())


def test_an_object_without_a_row_is_said_once(caplog):
    class Drops(StubTracker):
        def step(self, frame):
            prediction = super().step(frame)
            return vos.Prediction(prediction.object_ids[:1], prediction.logits[:1])

    results = stream(Drops())
    assert [vos.object_ids(label_map) for _, label_map in results] == [(2, 5), (2,), (2,), (2,)]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith('tracker "Drops", frame 00001: no row for object 5; it has no pixel in the masks')


def test_a_tracker_that_writes_through_the_flag_changes_no_mask():
    class Writes(StubTracker):
        def start(self, frame, label_map):
            super().start(frame, label_map)
            label_map.flags.writeable = True
            label_map[:] = 0

    _, label_map = stream(Writes())[0]
    assert vos.object_ids(label_map) == (2, 5)


@pytest.mark.parametrize("fails", [False, True])
def test_a_tracker_that_cannot_be_closed_hides_neither_results_nor_the_error_that_counts(fails, caplog):
    class Stays(StubTracker):
        close = fail

    plugins = plugins_with(
        vos_trackers=lambda: [spec(factory=lambda options, runtime: Stays(fail_at=2 if fails else None))]
    )
    if fails:
        with pytest.raises(vos.TrackerError, match="the stub is set to fail here"):
            stream("guest", plugins)
    else:
        assert len(stream("guest", plugins)) == 4
    assert caplog.messages == ["tracker \"guest\" could not be closed: KeyError: 'lost'"]


# Initializers and writers


def test_an_initializer_is_named_when_it_is_made_and_when_it_works():
    image = np.zeros((4, 6, 3), np.uint8)

    class Fails:
        initialize = fail

    for factory, message in ((fail, "cannot be made"), (lambda options, runtime: Fails(), "failed on frame 00000")):
        plugins = plugins_with(vos_initializers=lambda made=factory: [InitializerSpec("guest", "A guest.", made)])
        with pytest.raises(PluginFailedError, match=f"initializer \"guest\" {message}: KeyError: 'lost'"):
            vos.initialize(image, "guest", plugins=plugins)


class Writer:
    def open(self, run):
        pass

    write = leave

    def close(self):
        pass

    def abort(self, error):
        pass


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (fail, "writer \"guest\" of plugin guest cannot be made: KeyError: 'lost'"),
        (lambda options: object(), 'writer "guest" of plugin guest is a object, which has no method open'),
        (lambda options: Writer(), 'writer "guest" of plugin guest failed on frame 00000 .*: SystemExit: 0'),
    ],
)
def test_a_writer_is_named(factory, message, tmp_path):
    plugins = plugins_with(vos_writers=lambda: [WriterSpec("guest", "A guest.", factory)])
    sequence = tiny_sequence("still", length=3)
    with pytest.raises(vos.VosError, match=message):
        vos.track(
            sequence, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path, writers=["guest"], plugins=plugins
        )
    for record in tmp_path.glob("*/run.json"):
        assert json.loads(record.read_text())["state"] == "failed"


def test_a_writer_is_made_once_a_run(tmp_path):
    made = []
    factory = lambda options: made.append(Writer()) or made[-1]  # noqa: E731
    plugins = plugins_with(vos_writers=lambda: [WriterSpec("guest", "A guest.", factory)])
    sequence = tiny_sequence("still", length=3)
    with pytest.raises(vos.VosError, match="frame 00000"):
        vos.track(
            sequence, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path, writers=["guest"], plugins=plugins
        )
    assert len(made) == 1


# Hooks


@pytest.mark.parametrize("hook", ["vos_run_started", "vos_frame_done", "vos_run_finished", "vos_merge_objects"])
@pytest.mark.parametrize(("does", "what"), [(fail, "KeyError: 'lost'"), (leave, "SystemExit: 0")])
def test_a_hook_that_fails_is_named_with_its_plugin(hook, does, what):
    with pytest.raises(PluginFailedError) as caught:
        stream(StubTracker(), plugins_with(**{hook: lambda: does()}))
    assert str(caught.value) == f"plugin guest: {hook} failed: {what}"


def wrapping(**functions):
    """As ``plugins_with``, with hooks that wrap those of other plugins."""
    marked = {name: staticmethod(hookimpl(wrapper=True)(function)) for name, function in functions.items()}
    plugins = plugins_with(vos_open_source=lambda location: Source([]) if location == "guest:" else None)
    plugins.register(type("Wrapping", (), marked), Origin("wrapping", "wrapping", "tests"))
    return plugins


def test_a_wrapper_of_hooks_that_fails_is_named():
    def early(frame):
        fail()
        yield

    def late(frame):
        yield
        fail()

    for wrapper in (early, late):
        with pytest.raises(PluginFailedError, match="^plugin wrapping: vos_frame_done failed: KeyError: 'lost'$"):
            stream(StubTracker(), wrapping(vos_frame_done=wrapper))


def test_a_wrapper_that_answers_with_no_source_is_named():
    def wrap(location):
        yield
        return 7

    with pytest.raises(PluginFailedError, match="plugin wrapping: vos_open_source returned a int, expected"):
        vos.open_source("guest:", plugins=wrapping(vos_open_source=wrap))


def test_a_hook_speaks_to_the_user_in_its_own_words():
    def refuse():
        raise OptionError("guest: too many objects. Leave some out.")

    with pytest.raises(OptionError, match=r"^guest: too many objects"):
        stream(StubTracker(), plugins_with(vos_frame_done=refuse))


def test_an_observer_that_fails_at_a_failure_hides_neither_it_nor_the_other_observers(tmp_path, caplog):
    sequence = tiny_sequence("still", length=4)
    plugins = plugins_with(vos_run_failed=lambda: fail())
    observer = type("Watch", (), {"vos_run_failed": staticmethod(hookimpl(lambda: fail()))})()
    with pytest.raises(vos.TrackerError, match="the stub is set to fail here"):
        vos.track(
            sequence, sequence.label_maps[0], tracker=StubTracker(fail_at=2), output=tmp_path, plugins=plugins,
            writers=[], observers=[observer],
        )  # fmt: skip
    assert json.loads((tmp_path / sequence.name / "run.json").read_text())["state"] == "failed"
    assert caplog.messages == [
        "observer Watch: vos_run_failed failed: KeyError: 'lost'",
        "plugin guest: vos_run_failed failed: KeyError: 'lost'",
    ]


# Sources


class Source:
    def __init__(self, given, count=3):
        self.given = given
        self.info = SourceInfo("guest:", "guest", "a guest's", count, (48, 64))

    def frames(self, indices=None):
        return self.given() if callable(self.given) else iter(self.given)

    def close(self):
        pass


def frame(index, name=None):
    return vos.Frame(index, np.zeros((48, 64, 3), np.uint8), name or f"{index:05d}")


def given_then_fails():
    yield frame(0)
    fail()


def given_then_leaves():
    yield frame(0)
    leave()


def given_then_stops():
    yield frame(0)
    raise KeyboardInterrupt


def test_a_ready_source_without_info_is_named():
    source = Source([])
    source.info = None
    with pytest.raises(PluginFailedError, match="source Source: the info of the source is a NoneType, expected a vos"):
        vos.stream(source, np.ones((48, 64), np.uint8), tracker=StubTracker(), plugins=Plugins())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: None, r"guest:: the source \(a guest's\) failed: TypeError: 'NoneType' object is not iterable"),
        (given_then_fails, r"the source \(a guest's\) failed: KeyError: 'lost'"),
        (fail, r"^guest:: the source \(a guest's\) failed: KeyError: 'lost'"),
        (given_then_leaves, r"^guest:: the source \(a guest's\) failed: SystemExit: 0"),
        (given_then_stops, r"^guest:: the source \(a guest's\) failed: KeyboardInterrupt"),
        ([frame(0), None], "gave a NoneType, expected a vos.Frame"),
        ([frame(5)], 'gave frame 5, named "00005", after "", expected frame 0'),
        ([frame(0), frame(0, "again")], 'gave frame 0, named "again", after "00000", expected frame 1'),
        ([frame(0, "same"), frame(1, "same")], 'gave frame 1, named "same", after "same", expected .* a name of its'),
        ([frame(i) for i in range(4)], 'gave frame 3, named "00003", after "00002", expected no more'),
    ],
)
def test_a_source_that_gives_what_was_not_asked_for_is_named(given, message):
    with pytest.raises(PluginFailedError, match=message):
        list(vos.stream(Source(given), np.ones((48, 64), np.uint8), tracker=StubTracker(), plugins=Plugins()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (fail, "failed: KeyError: 'lost'"),
        (given_then_fails, "failed: KeyError: 'lost'"),
        (given_then_leaves, "failed: SystemExit: 0"),
        ([None, frame(1)], "gave a NoneType, expected a vos.Frame"),
    ],
)
def test_a_source_that_fails_is_named_where_one_frame_is_read_and_where_a_run_is_exported(given, message, tmp_path):
    with pytest.raises(PluginFailedError, match=rf"^guest:: the source \(a guest's\) {message}"):
        vos.read_frame(Source(given), 1)
    (tmp_path / "run").mkdir()
    vos.write_label_map(tmp_path / "run" / "00001.png", np.ones((48, 64), np.uint8))
    with pytest.raises(PluginFailedError, match=rf"^guest:: the source \(a guest's\) {message}"):
        vos.export(tmp_path / "run", "overlay", output=tmp_path / "o.mp4", source=Source(given))


def test_a_source_that_gives_fewer_frames_than_it_declared_is_an_error_unless_allowed(tmp_path):
    def track(**options):
        source = Source([frame(0), frame(1)])
        return vos.track(
            source, np.ones((48, 64), np.uint8), tracker=StubTracker(), output=tmp_path, writers=[], plugins=Plugins(),
            **options,
        )  # fmt: skip

    message = "guest:: ended after frame 00001: 2 frames came, 3 were asked for."
    hint = "Use --stop 2 or --allow-truncated of `vos track` to take what is there."
    with pytest.raises(TruncatedSourceError, match=f"{message} {hint}") as error:
        track()
    assert error.value.frames_read == 2
    summary = track(allow_truncated=True, overwrite=True)
    assert summary.frames == 2
    assert summary.truncated == message


def test_a_source_of_unknown_length_may_end_anywhere(caplog):
    source = Source([frame(0), frame(1)], count=None)
    assert len(list(vos.stream(source, np.ones((48, 64), np.uint8), tracker=StubTracker(), plugins=Plugins()))) == 2
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("opened", "message"),
    [
        (fail, "plugin guest: vos_open_source failed: KeyError: 'lost'"),
        (lambda: "guest", r"plugin guest: vos_open_source returned a str, expected a vos.plugin.Source \(info, frames"),
        (lambda: type("S", (Source,), {"__init__": lambda self: setattr(self, "info", {})})(), "info .* is a dict"),
    ],
)
def test_what_opens_no_source_is_named(opened, message):
    with pytest.raises(PluginFailedError, match=message):
        vos.open_source("guest:", plugins_with(vos_open_source=lambda: opened()))


def test_a_source_that_cannot_be_closed_is_a_warning(caplog):
    source = Source([frame(i) for i in range(3)])
    source.close = fail
    plugins = plugins_with(vos_open_source=lambda: source)
    assert len(list(vos.stream("guest:", np.ones((48, 64), np.uint8), tracker=StubTracker(), plugins=plugins))) == 3
    assert caplog.messages == ["source guest: could not be closed: KeyError: 'lost'"]


# Commands


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ("lambda: 1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("lambda: None", "load gave a NoneType, expected a click command"),
        ("lambda: click.Command('guest', callback=lambda: 1 / 0)", "failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_command_is_named_with_its_plugin(load, message, tmp_path, monkeypatch, capsys):
    name = f"guest_command_{abs(hash(load))}"
    (tmp_path / f"{name}.py").write_text(
        "import click, vos.plugin\n@vos.plugin.hookimpl\ndef vos_commands():\n"
        f"    return [vos.plugin.CommandSpec('guest', 'G.', {load})]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        main(["-p", name, "guest"])
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert f'vos: command "guest" of plugin {name} (-p)' in said
    assert message in said


def test_a_verb_that_the_toolkit_has_is_left_out_with_a_warning(tmp_path, monkeypatch, capsys):
    (tmp_path / "second_track.py").write_text(
        "import vos.plugin\n@vos.plugin.hookimpl\ndef vos_commands():\n"
        "    return [vos.plugin.CommandSpec('track', 'Mine.', lambda: None)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit):
        main(["-p", "second_track", "--help"])
    said = capsys.readouterr()
    assert said.out.count("\n  track ") == 1
    assert 'plugin second_track (-p) offers a command "track", which vos has itself; it is left out.' in said.err


# Options


def test_an_option_that_must_be_given_is_asked_for():
    import dataclasses

    needs = dataclasses.make_dataclass("Options", [("model", str)])
    plugins = plugins_with(vos_trackers=lambda: [spec(options=needs)])
    with pytest.raises(OptionError, match='tracker "guest": option "model" is missing. Give it: -O model=text'):
        stream("guest", plugins)


def test_options_that_fail_in_their_own_checks_are_named():
    import dataclasses

    fails = dataclasses.make_dataclass("Options", [], namespace={"__post_init__": fail})
    plugins = plugins_with(vos_trackers=lambda: [spec(options=fails)])
    with pytest.raises(OptionError, match="tracker \"guest\": its options cannot be made: KeyError: 'lost'"):
        stream("guest", plugins)
