"""Flags that plugins declare: found, chosen, refused; and the options that plugins' verbs share."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vos
from vos.cli import main

PLUGIN = """
from dataclasses import dataclass, replace
from pathlib import Path
import click
import numpy as np
from vos.plugin import (
    CommandSpec, InitializerSpec, Prediction, Shorthand, TrackerSpec, WriterSpec, atomic_write, command_plugins,
    general_options, hookimpl, option, option_assignments, parse_assignments, runtime_options,
)


@dataclass(frozen=True)
class BrightOptions:
    brightness: int = option(128, "Brighter pixels are the object.")
    wide: bool = option(False, "Everything is the object.")
    model: str = option("", "A folder.")


class Bright:
    def __init__(self, options, object_id):
        self.options, self.object_id = options, object_id

    def initialize(self, frame):
        marked = (frame.image[..., 0] > self.options.brightness) | self.options.wide
        return np.where(marked, self.object_id, 0).astype(np.uint8)


@dataclass(frozen=True)
class StillOptions:
    pace: str = option("slow", "How fast.")


class Still:
    def start(self, frame, label_map):
        self.label_map = label_map

    def step(self, frame):
        return Prediction.from_label_map(self.label_map)


@dataclass(frozen=True)
class AreaOptions:
    path: Path | None = option(None, "File.")
    percent: bool = option(False, "In percent.")


class Areas:
    def __init__(self, options):
        self.options, self.text = options, ""

    def open(self, run): ...

    def write(self, frame, label_map, prediction):
        area = (label_map > 0).mean() * 100 if self.options.percent else (label_map > 0).sum()
        self.text += f"{frame.name} {area:.0f}\\n"

    def close(self):
        atomic_write(self.options.path, self.text)

    def abort(self, error): ...


LEVEL = Shorthand("--level", "Brighter pixels.", option="brightness", metavar="N", verbs=("init", "track"))
WIDE = Shorthand("--wide", "With --level: everything.", option="wide", verbs=("init", "track"))
PICK = Shorthand("--pick", "One of two.", option="brightness", metavar="N", verbs=("init",))
BETTER = replace(PICK, preferred=True)
ONLY = Shorthand("--dim", "Dim pixels.", verbs=("init",))
OWN = Shorthand("--frame", "A flag that vos init has.", option="brightness", metavar="N", verbs=("init",))


@hookimpl
def vos_initializers():
    return [
        InitializerSpec(
            "one",
            "Id 1.",
            lambda o, r: Bright(o, 1),
            BrightOptions,
            shorthands=(LEVEL, WIDE, OWN, PICK),
            model_types=("kind-one",),
        ),
        InitializerSpec("two", "Id 2.", lambda o, r: Bright(o, 2), BrightOptions, shorthands=(LEVEL, ONLY, BETTER)),
    ]


@hookimpl
def vos_trackers():
    pace = Shorthand("--pace", "How fast.", option="pace", metavar="NAME", verbs=("track",))
    return [TrackerSpec("still", "Nothing moves.", lambda options, runtime: Still(), StillOptions, (pace,))]


@hookimpl
def vos_writers():
    areas = Shorthand("--areas", "Also write areas.", option="path", metavar="FILE")
    percent = Shorthand("--in-percent", "With --areas: in percent.", option="percent")
    return [WriterSpec("areas", "Areas.", Areas, AreaOptions, (areas, percent))]


@click.command()
@option_assignments
@runtime_options
@general_options
@click.pass_context
def said(ctx, assignments, runtime):
    names = command_plugins(ctx).trackers.names()
    click.echo(f"{parse_assignments(assignments)} {runtime.device} {runtime.seed} {'persam' in names}")


@hookimpl
def vos_commands():
    return [CommandSpec("said", "What was said.", lambda: said)]
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "flag_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
    monkeypatch.chdir(tmp_path)
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[10:30, 10:40] = 200
    Path("video").mkdir()
    Image.fromarray(image).save("video/00000.png")
    yield lambda *words: _run(capsys, *words)
    sys.modules.pop("flag_plugin", None)


def _run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(["-p", "flag_plugin", *map(str, words)])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_a_flag_chooses_an_initializer_and_sets_its_option(run, tmp_path):
    code, _, err = run("init", "video", "--dim", "-o", "a.png")
    assert code == 0, err
    assert vos.object_ids(vos.read_label_map(tmp_path / "a.png")) == (2,)
    assert run("init", "video", "--level", "220", "--wide", "-o", "b.png")[0] == 0
    assert (vos.read_label_map(tmp_path / "b.png") == 1).all()


@pytest.mark.parametrize("flag", ["--areas", "--pace", "--overlay"])
def test_a_flag_at_the_end_without_its_value_is_an_error(run, flag):
    code, _, err = run("track", "video", "--mask", "m.png", "-o", "out", flag)
    assert code == 2
    assert f"Option '{flag}' requires an argument" in err


def test_a_list_may_be_given_in_parts_and_any_other_value_once(run, tmp_path):
    parts = ("--polygon", "1:5,5 30,5 30,30", "--polygon", "2:50,30 70,30 70,50")
    code, _, err = run("init", "video", *parts, "-o", "a.png")
    assert code == 0, err
    assert vos.object_ids(vos.read_label_map(tmp_path / "a.png")) == (1, 2)
    code, _, err = run("init", "video", "--level", "1", "--level", "220", "--wide", "-o", "b.png")
    assert code == 2
    assert err.endswith("\nvos: --level is given 2 times, expected once.\n")
    assert not (tmp_path / "b.png").exists()


def test_a_flag_of_two_initializers_needs_a_name_or_another_flag(run, tmp_path):
    code, _, err = run("init", "video", "--level", "100", "-o", "a.png")
    assert code == 2
    assert "vos: --level is offered by one and two. Say which with --with NAME.\n" in err
    assert run("init", "video", "--level", "100", "--with", "two", "-o", "a.png")[0] == 0
    assert vos.object_ids(vos.read_label_map(tmp_path / "a.png")) == (2,)
    code, _, err = run("init", "video", "--wide", "--dim")
    assert code == 2
    assert "vos: one and two are both asked for; one initializer makes the mask.\n" in err


def test_the_models_folder_decides_between_offers_of_a_flag_then_the_preferred_one(run, tmp_path):
    assert run("init", "video", "--pick", "100", "-o", "a.png")[0] == 0
    assert vos.object_ids(vos.read_label_map(tmp_path / "a.png")) == (2,)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "kind-one"}')
    assert run("init", "video", "--pick", "100", "-O", "model=model", "-o", "b.png")[0] == 0
    assert vos.object_ids(vos.read_label_map(tmp_path / "b.png")) == (1,)


def test_the_verbs_own_flag_stays_and_the_plugins_is_left_out(run):
    code, out, err = run("init", "--help")
    assert code == 0
    assert "--frame INTEGER RANGE" in out
    assert re.search(r"plugin flag_plugin \(-p\) offers the flag --frame, which `vos init` has itself", err)


def test_flags_of_initializer_tracker_and_writer_in_one_run(run, tmp_path):
    words = ["track", "video", "--level", "100", "--init", "one", "-t", "still", "--pace", "quick", "-o", "out"]
    code, _, err = run(*words, "--sequence", "s", "--areas", "areas.txt", "--in-percent")
    assert code == 0, err
    assert (tmp_path / "areas.txt").read_text() == "00000 12\n"
    record = json.loads((tmp_path / "out" / "s" / "run.json").read_text())
    assert record["options"] == {"pace": "quick"}
    assert record["outputs"] == [{"writer": "davis"}, {"writer": "areas", "path": "areas.txt", "percent": "True"}]


def test_flags_go_with_their_plugin_and_come_with_it_after_the_verb(capsys, run):
    code, _, err = run("init", "video", "--no-plugin", "sam", "--points", "1:2,2,+")
    assert code == 2
    assert re.search("No such option.*--points", err)
    with pytest.raises(SystemExit) as ended:
        main(["init", "video", "-p", "flag_plugin", "--dim", "-o", "late.png"])
    assert ended.value.code == 0, capsys.readouterr().err


def test_a_mask_beside_a_flag_is_refused(run):
    code, _, err = run("track", "video", "--mask", "video/00000.png", "--wide", "-o", "out")
    assert code == 2
    assert err == (
        "vos: --mask and initializer one are both given; one of them makes the first mask. For masks of later frames "
        "beside it, write the first one with `vos init`, and give each with --mask.\n"
    )


def test_an_option_of_no_initializer_is_refused(run, tmp_path):
    code, _, err = run("track", "video", "--mask", "video/00000.png", "-I", "rows=3", "-o", "out")
    assert (code, err) == (2, "vos: -I sets an initializer's option, and there is none. Name it: --init NAME.\n")
    assert not (tmp_path / "out").exists()


def test_a_plugins_verb_shares_options_with_the_toolkits(run):
    code, out, _ = run("said", "-O", "a=b", "--device", "cpu", "--seed", 7, "--no-plugin", "persam")
    assert (code, out) == (0, "{'a': 'b'} cpu 7 False\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("points", "Help."), 'shorthand "points": expected two hyphens and a name'),
        (("--points", "Help.", None, "FILE"), r"it takes a value \(FILE\) but names no option"),
        (("--points", "Help.", "points", None, ()), r"verbs is \(\), expected a tuple"),
    ],
)
def test_a_shorthand_checks_itself(arguments, message):
    with pytest.raises(ValueError, match=message):
        vos.plugin.Shorthand(*arguments)


def test_a_shorthand_of_an_unknown_option_breaks_its_plugin():
    import vos.plugin as toolkit
    from vos.registry.offers import Origin
    from vos.registry.options import NoOptions

    class Plugin:
        @toolkit.hookimpl
        def vos_writers(self):
            return [toolkit.WriterSpec("w", "W.", Plugin, NoOptions, (toolkit.Shorthand("--w", "W.", "pth"),))]

    plugins = toolkit.load_plugins(autoload=False)
    plugins.register(Plugin(), Origin("bad", "bad", "test"), required=True)
    assert plugins.broken[0].error == 'writer "w": shorthand --w sets the option "pth", which it does not have.'
