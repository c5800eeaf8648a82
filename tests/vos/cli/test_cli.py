import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vos.plugin
from vos.cli import VERBS, cli, main
from vos.testing import tiny_sequence


@pytest.fixture
def files(tmp_path):
    return tiny_sequence("moving", length=4).save(tmp_path / "in")


@pytest.fixture
def run(capsys):
    """Run the command line as a user does: exit code, stdout, stderr."""

    def run_it(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        said = capsys.readouterr()
        return stopped.value.code or 0, said.out, said.err

    return run_it


def test_track_writes_masks_overlay_and_record(files, tmp_path, run):
    images, masks = files
    code, out, err = run(
        "track", images, "--mask", masks / "00000.png", "-o", tmp_path / "out", "--overlay", tmp_path / "o.mp4",
        "--rle", tmp_path / "m.json", "--cutouts", tmp_path / "c", "--seed", 4, "--quality", "fast",
    )  # fmt: skip
    assert code == 0, err
    assert "frames: 4 frames, objects 1, 2," in out
    folder = tmp_path / "out" / "frames"
    assert sorted(p.name for p in folder.iterdir()) == [*(f"0000{i}.png" for i in range(4)), "run.json"]
    record = json.loads((folder / "run.json").read_text())
    assert (record["seed"], record["options"]["quality"]) == (4, "fast")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert len(list(container.decode(video=0))) == 4
    assert len(json.loads((tmp_path / "m.json").read_text())["images"]) == 4
    assert (tmp_path / "c" / "1" / "00000.png").exists()


def test_without_o_the_output_goes_to_vos_out(files, tmp_path, run, monkeypatch):
    images, masks = files
    monkeypatch.chdir(tmp_path)
    assert run("track", images, "--mask", masks / "00000.png")[0] == 0
    assert (tmp_path / "vos-out" / "frames" / "00003.png").exists()


def test_later_masks_and_general_options_after_the_verb(files, tmp_path, run):
    images, masks = files
    code, _, err = run(
        "track", images, "--mask", masks / "00000.png", "--mask", f"2:{masks / '00002.png'}", "-o", tmp_path / "out",
        "--start", 0, "--stop", 3, "--writer", "overlay:crf=30,ids=no", "--no-masks", "--debug",
    )  # fmt: skip
    assert code == 0, err
    folder = tmp_path / "out" / "frames"
    assert sorted(p.name for p in folder.iterdir()) == ["overlay.mp4", "run.json"]
    assert json.loads((folder / "run.json").read_text())["annotated"] == [0, 2]


def test_resume_and_overwrite(files, tmp_path, run):
    images, masks = files
    arguments = ["track", images, "--mask", masks / "00000.png", "-o", tmp_path / "out"]
    assert run(*arguments)[0] == 0
    code, _, err = run(*arguments)
    assert code == 2
    assert "--resume" in err
    code, out, _ = run(*arguments, "--resume")
    assert code == 0
    assert "finished before" in out
    assert run(*arguments, "--overwrite")[0] == 0


def make_mask(tmp_path, kind, label_map):
    path = tmp_path / f"{kind}.png"
    black_white = np.where(label_map > 0, 255, 0).astype(np.uint8)
    if kind == "empty":
        Image.fromarray(np.zeros_like(label_map)).save(path)
    elif kind == "16-bit":
        Image.fromarray(label_map.astype(np.uint16) * 150).save(path)
    elif kind == "small":
        Image.fromarray(label_map[::2, ::2]).save(path)
    elif kind == "soft":
        Image.fromarray(black_white).resize((40, 30), Image.Resampling.BICUBIC).resize(
            (64, 48), Image.Resampling.BICUBIC
        ).save(path)
    elif kind == "text":
        path.write_text("no picture")
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "no object in the mask"),
        ("16-bit", "16 or more bits"),
        ("small", "mask is 32x24, the frame is 64x48"),
        ("soft", "anti-aliased"),
        ("text", "not a picture"),
        ("missing", "no such mask file"),
    ],
)
def test_bad_masks_give_one_clear_line_and_exit_2(files, tmp_path, run, kind, words):
    images, masks = files
    path = make_mask(tmp_path, kind, vos.read_label_map(masks / "00000.png"))
    code, out, err = run("track", images, "--mask", path, "-o", tmp_path / "out")
    assert code == 2
    assert out == ""
    assert words in err
    assert err.startswith(f"vos: {path}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["track", "nothing.mp4"], "nothing.mp4: no such file or folder"),
        (["track"], "Missing argument 'VIDEO'"),
        (["track", "x", "--stop", "0"], "Invalid value for '--stop'"),
        (["track", "{images}"], "--scribble, --polygon, --primary, --init NAME; or in the browser"),
        (["track", "{images}", "--mask", "{mask}", "-t", "propagaton"], 'Did you mean "propagation"?'),
        (["track", "{images}", "--mask", "{mask}", "-O", "quality"], "-O takes key=value"),
        (["track", "{images}", "--mask", "{mask}", "-O", "qualty=best"], 'has no option "qualty"'),
        (["track", "{images}", "--mask", "{mask}", "--quality", "quick"], "is 'quick', expected fast|balanced|best"),
        (["track", "{images}", "--mask", "{mask}", "--device", "cuda:77"], 'device "cuda:77" cannot be used here'),
        (["track", "{images}", "--mask", "{mask}", "--mask", "{mask}"], "frame 0 has two masks"),
        (["track", "{images}", "--mask", "{mask}", "--init", "x"], "--mask and --init are both given"),
        (["track", "{images}", "--mask", "9:{mask}"], "annotation of frame 9"),
        (["track", "{images}", "--mask", ""], "--mask is empty"),
        (["track", "", "--mask", "{mask}"], "the location is empty"),
        (["track", "{images}", "--mask", "{mask}", "--seed", str(2**64)], "Invalid value for '--seed'"),
        (["track", "{images}", "--mask", "{mask}", "--writer", "overlay:ids"], "--writer takes key=value"),
        (["track", "{images}", "--init", "sam-points", "-I", "points"], "-I takes key=value"),
        (["track", "{images}", "--init", "not-looked-for-yet", "-t", "persm"], 'no tracker named "persm"'),
        (["trak"], "No such command"),
        (["plugins", "nix"], 'no plugin offers anything named "nix"'),
        (["-p", "no_such_module_here", "plugins"], "plugin no_such_module_here cannot be loaded"),
        (["--no-plugin", "nix", "plugins"], '--no-plugin: no plugin named "nix"'),
    ],
)
def test_wrong_usage_gives_a_clear_line_and_exit_2(files, tmp_path, run, arguments, words):
    images, masks = files
    filled = [a.format(images=images, mask=masks / "00000.png") for a in arguments]
    code, _, err = run(*filled, *(["-o", tmp_path / "out"] if filled[0] == "track" else []))
    assert code == 2, err
    assert words in err
    assert "Traceback" not in err


def test_an_address_without_a_mask_is_not_sent_to_the_page_that_takes_none(files, run, tmp_path, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(tmp_path / "cache"))
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.put(str(files[0]), "/unmarked", recursive=True)
    code, _, err = run("track", "memory://unmarked")
    assert code == 2
    assert err.endswith("--primary, --init NAME.\n")


def test_a_page_that_is_left_out_is_not_named(files, run):
    code, _, err = run("--no-plugin", "web", "track", files[0])
    assert code == 2
    assert err.endswith("--primary, --init NAME.\n")


def test_debug_shows_the_traceback(run, capsys):
    with pytest.raises(vos.SourceError):
        main(["track", "nothing.mp4", "--debug"])


@pytest.mark.parametrize("text", ["2", "2@", "@3", "two@3", "2@-1"])
def test_an_end_that_cannot_be_read_is_refused(files, run, text):
    images, masks = files
    code, _, err = run("track", images, "--mask", masks / "00000.png", "--end", text)
    assert code == 2
    assert f'--end is "{text}", expected ID@INDEX, such as 2@120' in err


def test_an_object_ends_and_the_record_says_where(files, tmp_path, run):
    images, masks = files
    words = ["track", images, "--mask", masks / "00000.png", "--end", "2@2", "-o", tmp_path]
    code, _, err = run(*words, "--end", "02@3")
    assert code == 2
    assert "object 2 has two ends: frames 2 and 3" in err
    assert run(*words)[0] == 0
    found = [vos.object_ids(vos.read_label_map(tmp_path / "frames" / f"0000{i}.png")) for i in range(4)]
    assert [2 in ids for ids in found] == [True, True, False, False]
    assert all(1 in ids for ids in found)
    assert json.loads((tmp_path / "frames" / "run.json").read_text())["selection"] == {"ends": {"2": 2}}


def test_from_in_the_folder_of_a_run_that_began_with_a_prompt_names_the_mask_that_is_missing(files, tmp_path, run):
    words = ["track", files[0], "--polygon", "1:2,2 20,2 20,20 2,20", "-o", tmp_path / "out", "--no-masks"]
    assert run(*words)[0] == 0
    code, _, err = run(*words, "--from", 2)
    assert (code, err) == (2, "vos: --from 2: no mask is given for frame 2. Give one with --mask 2:FILE.\n")


def test_plugins_lists_offers_with_options(run):
    code, out, _ = run("plugins")
    assert code == 0
    for words in ["trackers", "propagation", "writers", "overlay", "-O opacity=float [0.5]"]:
        assert words in out
    code, out, _ = run("plugins", "overlay", "--json")
    listed = json.loads(out)
    assert [offer["name"] for offer in listed["writers"]] == ["overlay"]
    assert listed["trackers"] == []
    crf = next(entry for entry in listed["writers"][0]["options"] if entry["name"] == "crf")
    assert (crf["type"], crf["default"]) == ("int", "20")
    assert run("plugins", "--short", "--no-plugin", "writers")[1].count("blocked: writers") == 1


def test_a_writer_with_the_name_of_a_format_is_listed_too(tmp_path, run):
    (tmp_path / "second_coco.py").write_text(
        "import vos.plugin\n@vos.plugin.hookimpl\ndef vos_writers():\n"
        "    return [vos.plugin.WriterSpec('coco', 'Mine.', lambda options: None)]\n"
    )
    listed = json.loads(run("-p", str(tmp_path / "second_coco.py"), "plugins", "coco", "--json")[1])
    assert [offer["plugin"] for offer in listed["formats"] + listed["writers"]] == ["formats", "second_coco"]


def test_a_broken_plugin_is_listed_with_its_error(run, monkeypatch):
    from vos.registry import discovery as plugins_module

    found = [*plugins_module._entry_points(), plugins_module.Origin("bad", "no_such_module", "bad-dist", "1")]
    monkeypatch.setattr(plugins_module, "_entry_points", lambda: found)
    monkeypatch.setenv("VOS_PLUGINS_AUTOLOAD", "1")
    code, out, _ = run("plugins", "--short")
    assert code == 0
    assert "broken: bad (bad-dist): ModuleNotFoundError: No module named 'no_such_module'" in out
    assert "propagation" in out


def test_two_plugins_with_one_verb_leave_the_others_alone(tmp_path, run, monkeypatch):
    offer = '[vos.plugin.CommandSpec("same", "S.", lambda: None)]'
    verb = f"import click, vos.plugin\n@vos.plugin.hookimpl\ndef vos_commands():\n    return {offer}\n"
    for name in ("one_verb_plugin", "same_verb_plugin"):
        (tmp_path / f"{name}.py").write_text(verb)
    monkeypatch.syspath_prepend(str(tmp_path))
    both = ["-p", "one_verb_plugin", "-p", "same_verb_plugin"]
    assert run(*both, "plugins", "--short")[0] == 0
    assert run(*both, "--help")[1].count(" same ") == 2
    code, _, err = run(*both, "same")
    assert code == 2
    assert 'two plugins offer a command named "same": plugin one_verb_plugin (-p) and plugin same_verb_plugin' in err


def test_a_plugins_own_encoding_error_is_not_the_locales(tmp_path, run, monkeypatch):
    body = "@click.command()\ndef verb():\n    'd\u00e9j\u00e0'.encode('ascii')\n"
    offer = '[vos.plugin.CommandSpec("same", "S.", lambda: verb)]'
    text = f"import click, vos.plugin\n{body}@vos.plugin.hookimpl\ndef vos_commands():\n    return {offer}\n"
    (tmp_path / "encoding_plugin.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "utf-8")
    assert "encoding_plugin" in run("-p", "encoding_plugin", "same")[2]


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(verb):
    result = CliRunner().invoke(cli, [verb, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_help_version_and_completion():
    assert "Verbs:" in CliRunner().invoke(cli, ["--help"]).output
    assert vos.__version__ in CliRunner().invoke(cli, ["--version"]).output
    done = subprocess.run(
        [sys.executable, "-c", "from vos.cli import main; main([])"],
        env={**os.environ, "_VOS_COMPLETE": "bash_complete", "COMP_WORDS": "vos tr", "COMP_CWORD": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "track" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors in the child process")
def test_a_run_whose_standard_streams_are_closed_is_done(files, tmp_path):
    images, masks = files
    command = [sys.executable, "-m", "vos", "track", images, "--mask", masks / "00000.png", "-o", tmp_path / "out"]
    done = subprocess.run(
        [*command, "-O", "side=96"], preexec_fn=lambda: [os.close(number) for number in range(3)], check=False
    )
    assert done.returncode == 0
    assert json.loads((tmp_path / "out" / images.name / "run.json").read_text())["finished"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have an encoding of file names of their own")
def test_a_name_that_the_encoding_of_file_names_lacks_is_one_line(tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"video": "vid\u00e9o.mp4"}', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "vos", "batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "out"],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("o: no name of a file in the encoding ascii. Set PYTHONUTF8=1.\n")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_demo_tracks_the_example_clip_and_prints_its_scores(tmp_path, run):
    # A working size of 160 px in place of 544 takes a quarter of the time.
    code, out, err = run("demo", "-o", tmp_path, "-O", "side=160")
    assert code == 0, err
    assert "demo: 72 frames, objects 1, 2" in out
    mean = next(line for line in out.splitlines() if line.strip().startswith("mean"))
    assert float(mean.split()[-1]) > 90
    assert (tmp_path / "demo" / "overlay.mp4").exists()
    assert len(list((tmp_path / "demo").glob("*.png"))) == 72


@pytest.mark.parametrize("arguments", [["demo", "-o"], ["plugin", "new", "abc", "--into"]])
def test_what_is_written_to_the_disk_alone_takes_no_address(arguments, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments, "memory://out/demo")
    assert (code, out) == (2, "")
    assert "memory://out/demo: is an address, expected a path on the disk." in err
    assert not list(tmp_path.iterdir())


def test_demo_does_not_replace_a_video_of_the_users_that_is_called_demo(files, tmp_path, run):
    images, masks = files
    arguments = ["--mask", masks / "00000.png", "--sequence", "demo", "-o", tmp_path / "out"]
    assert run("track", images, *arguments)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out" / "demo").iterdir()}
    code, _, err = run("demo", "-o", tmp_path / "out")
    assert code == 2
    assert "holds a finished run" in err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / "demo").iterdir()} == before


CALLED_OFF = """
import vos.plugin

@vos.plugin.hookimpl
def vos_open_source(location):
    raise {error}
"""


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (
            "track",
            "vos: stopped. What was written is whole; run again with --resume, or with --from as before "
            "(a live stream begins anew).",
        ),
        ("davis", "vos: stopped. What was written is whole; run again to go on."),
        ("init", "vos: stopped. What was written is whole."),
    ],
)
def test_ctrl_c_says_what_the_verb_can_do_next(tmp_path, run, monkeypatch, verb, words):
    (tmp_path / "ctrl_c_plugin.py").write_text(CALLED_OFF.format(error="KeyboardInterrupt"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for folder, made in zip(("JPEGImages", "Annotations"), tiny_sequence("still").save(tmp_path), strict=True):
        (tmp_path / folder).mkdir()
        made.rename(tmp_path / folder / "still")
    more = {"davis": ["--root", tmp_path, "-o", tmp_path / "out"], "init": ["x.mp4", "--points", "1:2,3,+"]}
    code, _, err = run("-p", "ctrl_c_plugin", verb, *more.get(verb, ["x.mp4"]))
    assert (code, err.strip()) == (130, words)


def test_what_may_not_be_read_is_named_in_a_line(tmp_path, run, monkeypatch):
    (tmp_path / "forbidden_plugin.py").write_text(CALLED_OFF.format(error='PermissionError(13, "no", "their/dog.mp4")'))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run("-p", "forbidden_plugin", "track", "x.mp4") == (2, "", "vos: their/dog.mp4: permission denied.\n")


def test_a_current_folder_that_was_removed_is_said_in_a_line(tmp_path, run, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = "vos: the current folder is not there any more. Change to another one.\n"
    assert run("track", "x.mp4") == (2, "", said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_results_that_do_not_fit_where_standard_output_goes_are_said_in_a_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "vos", "plugins"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("vos: standard output, or a temporary file: cannot be written (No space left")
