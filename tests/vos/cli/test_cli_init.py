"""``vos init`` as a user types it, with an initializer loaded by -p."""

import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import vos.cli_options.executor_options
from vos import read_frame, read_label_map
from vos.cli import main
from vos.initialization.mask_worker import MaskWorker
from vos_batch.one_job import run_job

PLUGIN = """
from dataclasses import dataclass
import numpy as np
from vos.plugin import InitializerSpec, Prediction, TrackerSpec, hookimpl, option


@dataclass(frozen=True)
class Options:
    brightness: int = option(128, "Brighter pixels are the object.")


class Bright:
    def __init__(self, options):
        self.brightness = options.brightness

    def initialize(self, frame):
        levels = frame.image[..., 0] // 50
        return np.where(frame.image[..., 0] > self.brightness, levels, 0).astype(np.uint8)


class Still:

    def start(self, frame, label_map):
        self.label_map = label_map

    def step(self, frame):
        return Prediction.from_label_map(self.label_map)


@hookimpl
def vos_trackers():
    return [TrackerSpec("still", "Nothing moves.", lambda options, runtime: Still())]


@hookimpl
def vos_initializers():
    return [InitializerSpec("bright", "Bright things.", lambda options, runtime: Bright(options), Options)]
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    (tmp_path / "bright_things.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[10:30, 10:40] = 200
    image[40:50, 50:60] = 250
    (tmp_path / "clip").mkdir()
    Image.fromarray(image[::-1]).save(tmp_path / "clip" / "00.png")
    Image.fromarray(image).save(tmp_path / "clip" / "01.png")

    def invoke(*arguments, verb="init"):
        with pytest.raises(SystemExit) as ended:
            main(["-p", "bright_things", verb, "clip", *arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    yield invoke
    sys.modules.pop("bright_things", None)


def test_a_mask_and_a_numbered_preview_are_written(run, tmp_path):
    code, out, err = run("--with", "bright", "--frame", "1", "-o", "masks/first.png", "--preview", "preview.png")
    assert (code, err) == (0, "")
    assert out.replace("\\", "/") == "masks/first.png: frame 01, 2 objects: 4 (12.5%), 5 (2.1%)\n"
    label_map = read_label_map(tmp_path / "masks" / "first.png", (60, 80))
    assert (label_map[10:30, 10:40] == 4).all()
    assert (label_map[40:50, 50:60] == 5).all()
    with Image.open(tmp_path / "masks" / "first.png") as mask:
        assert mask.mode == "P"
    with Image.open(tmp_path / "preview.png") as preview:
        drawn = np.asarray(preview)
    assert drawn.shape == (60, 80, 3)
    with Image.open(tmp_path / "clip" / "01.png") as frame:
        changed = (drawn != np.asarray(frame)).any(axis=2)
    assert changed[10:30, 10:40].mean() > 0.9
    assert not changed[:5].any()


def test_a_preview_larger_than_its_format_is_said(run, tmp_path):
    wide = np.zeros((2, 16384, 3), np.uint8)
    wide[:, 100:200] = 200
    for name in ("00.png", "01.png"):
        Image.fromarray(wide).save(tmp_path / "clip" / name)
    code, _, err = run("--with", "bright", "--preview", "wide.webp")
    assert code == 1
    assert re.search(r"wide.webp: cannot be written \(.*16383 pixels\). Write a PNG.", err)
    assert not (tmp_path / "wide.webp").exists()


def test_objects_are_chosen_by_number_pixel_and_size(run, tmp_path):
    assert run("--with", "bright", "--max-objects", "1")[1].endswith("1 object: 1 (12.5%)\n")
    replace = ("--with", "bright", "--overwrite")
    assert run(*replace, "--keep", "5,4")[1].endswith("2 objects: 1 (2.1%), 2 (12.5%)\n")
    assert run(*replace, "--frame", "1", "--at", "55,45")[1].endswith("1 object: 1 (2.1%)\n")
    assert run(*replace, "--min-area", "0.05")[1].endswith("1 object: 1 (12.5%)\n")
    assert run(*replace, "--order", "centre")[1].endswith("2 objects: 1 (12.5%), 2 (2.1%)\n")
    assert run(*replace, "--all")[1].endswith("2 objects: 4 (12.5%), 5 (2.1%)\n")
    assert (tmp_path / "first-mask.png").is_file()


@pytest.mark.parametrize(("flag", "name"), [("-o", "mine.png"), ("--preview", "mine.jpg")])
def test_a_mask_or_picture_that_is_there_is_not_replaced_unasked(run, tmp_path, flag, name):
    (tmp_path / name).write_text("drawn by hand")
    code, _, err = run("--with", "bright", flag, name)
    assert (code, err) == (2, f"vos: {name}: is there already. Choose another name, or --overwrite.\n")
    assert (tmp_path / name).read_text() == "drawn by hand"
    assert run("--with", "bright", flag, name, "--overwrite")[0] == 0
    assert (tmp_path / name).read_bytes() != b"drawn by hand"


def test_options_of_the_initializer_are_passed(run):
    assert run("--with", "bright", "-O", "brightness=220")[1].endswith("1 object: 5 (2.1%)\n")


def test_tracking_begins_with_an_initializer(run, tmp_path):
    arguments = ["--init", "bright", "-I", "brightness=220", "-t", "still", "-o", "out"]
    code, out, _ = run(*arguments, verb="track")
    assert code == 0
    assert out.startswith("clip: 2 frames, object 5,")
    first, second = (read_label_map(tmp_path / "out" / "clip" / f"0{index}.png") for index in range(2))
    assert (first[10:20, 50:60] == 5).all()
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no initializer named. Say how to find the objects: .*--box, .*--text, .*--points"),
        (["--with", "bright", "--diffseg"], "bright and diffseg are both asked for"),
        (["--diffseg", "--text", "dog"], "diffseg and grounded-sam or sam3-text or groupvit are both asked for"),
        (["--with", "brigth"], 'no initializer named "brigth".*Did you mean "bright"'),
        (["--with", "bright", "--keep", "a"], '--keep is "a", expected whole numbers'),
        (["--with", "bright", "--at", "1"], '--at is "1", expected x,y in pixels'),
        (["--with", "bright", "--all", "--keep", "1"], "--all chooses nothing, --keep does"),
        (["--with", "bright", "--keep", "3"], "keep names object 3, the objects are 4, 5"),
        (["--with", "bright", "--frame", "7"], "clip: no frame 7, the last one is 1"),
        (["--with", "bright", "-o", "mask.jpg"], '-o is "mask.jpg", expected a name that ends in .png'),
        (["--with", "bright", "--preview", "p.mp4"], '--preview is "p.mp4", expected a name that ends in .png, .jpg'),
        (["--with", "bright", "--max-objects", "0"], "Invalid value for '--max-objects'"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert "Traceback" not in err


def test_shorthands_name_an_initializer_and_its_option(monkeypatch, run):

    calls = []

    def remember(worker, files):
        calls.append((worker.settings.initializer, worker.settings.options))
        return read_frame(files.source), np.ones((60, 80), dtype=np.uint8)

    monkeypatch.setattr(MaskWorker, "make", remember)
    for arguments in (
        ["--points", "1:5,5,+"],
        ["--boxes", "1:0,0,9,9"],
        ["--sam-mask", "rough.png"],
        ["--mask", "rough.png"],
        ["--box", "1:0,0,9,9", "--scribble", "1:5,5 +"],
        ["--polygon", "1:0,0 9,0 9,9"],
        ["--everything", "-O", "max_objects=3"],
        ["--edges"],
        ["--diffseg"],
        ["--primary", "-O", "separate=true"],
        ["--text", "dog"],
        ["--with", "groupvit", "--text", "dog", "--instances"],
    ):
        assert run(*arguments, "--overwrite")[0] == 0
    assert calls == [
        ("sam-points", {"points": "1:5,5,+"}),
        ("sam-boxes", {"boxes": "1:0,0,9,9"}),
        ("sam-mask", {"mask": "rough.png"}),
        ("grabcut", {"mask": "rough.png"}),
        ("clicks", {"boxes": "1:0,0,9,9", "scribbles": "1:5,5 +"}),
        ("polygon", {"polygons": "1:0,0 9,0 9,9"}),
        ("sam-everything", {"max_objects": "3"}),
        ("sam-edges", {}),
        ("diffseg", {}),
        ("primary-object", {"separate": "true"}),
        ("grounded-sam", {"text": "dog"}),
        ("groupvit", {"text": "dog", "instances": True}),
    ]


class InThisProcess:
    """An executor for tests: the worker and its jobs in this process, from JSON data as in any other."""

    def run(self, plan, jobs):
        plan, events = replace(plan, arguments=json.loads(json.dumps(plan.arguments))), []
        worker = plan.make()
        for job in jobs:
            run_job(worker, job, "here", events.append)
        yield from events


@pytest.mark.parametrize("workers", [(), ("-j", "2")])
def test_several_videos_get_a_mask_each_and_one_that_fails_leaves_the_others(run, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(vos.cli_options.executor_options, "chosen_executor", lambda *given: InThisProcess())
    shutil.copytree(tmp_path / "clip", tmp_path / "other")
    (tmp_path / "empty").mkdir()
    chosen = ("--with", "bright", "--at", "55,45", "--at", "20,20", "--frame", "1", *workers)
    code, out, err = run("empty", "other", *chosen, "-o", "masks", "--preview", "seen")
    assert (code, len(out.splitlines())) == (2, 2), err
    assert "1 of 3 videos failed; the others are done." in err
    assert "empty: no image in this folder" in err
    run(*chosen, "-o", "one.png")
    for name in ("clip", "other"):
        assert np.array_equal(read_label_map(f"masks/{name}.png"), read_label_map("one.png"))
        assert (tmp_path / "seen" / f"{name}.jpg").is_file()
    code, _, err = run("other", *chosen, "-o", "masks")
    assert code == 2
    assert "2 of 2 videos failed" in err
    assert err.count("is there already") == 2


def test_folders_with_a_dot_in_their_names_get_masks_of_their_own(run, tmp_path):
    for name in ("run.1", "run.2"):
        shutil.copytree(tmp_path / "clip", tmp_path / name)
    code, _, err = run("run.1", "run.2", "--with", "bright", "-o", "masks", "-j", "1")
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["clip.png", "run.1.png", "run.2.png"]


def test_one_video_gets_its_mask_in_a_folder_that_exists(run, tmp_path):
    (tmp_path / "masks").mkdir()
    code, _, _ = run("--with", "bright", "-o", "masks")
    assert code == 0
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["clip.png"]
    code, _, err = run("--with", "bright", "-o", "masks", "--preview", "seen.png", "--overwrite")
    assert code == 2
    assert '--preview is "seen.png", expected a folder: -o is one.' in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("other", "-o", "first.png"), '-o is "first.png", expected a folder: there are 2 videos'),
        (("clip", "-o", "masks"), "both masks would be clip.png"),
        (("other",), '-o is "first-mask.png", expected a folder'),
    ],
)
def test_several_videos_need_a_folder_and_names_of_their_own(run, arguments, message):
    code, _, err = run(*arguments, "--with", "bright")
    assert code == 2
    assert message in err
