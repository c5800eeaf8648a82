"""Every verb that writes a file refuses to replace one of its inputs, before it does anything."""

import shutil

import numpy as np
import pytest
from PIL import Image

import vos.plugin
from vos.cli import main
from vos.example_clip import CLIP

PLUGIN = """
import dataclasses
import pathlib

import vos.plugin
from vos.testing import StubTracker


class Bright:
    def initialize(self, frame):
        pathlib.Path("worked").touch()
        return (frame.image[..., 0] > 128).astype("uint8")


@dataclasses.dataclass(frozen=True)
class NoteOptions:
    path: pathlib.Path | None = vos.plugin.option(None, "File to write, of any name.")


class Notes:
    "A writer that does not say where it writes."

    def __init__(self, options):
        self.path = options.path

    def open(self, run):
        self.path.write_text("notes")

    write = close = abort = lambda *arguments: None


@vos.plugin.hookimpl
def vos_trackers():
    return [vos.plugin.TrackerSpec("still", "Nothing moves.", lambda options, runtime: StubTracker())]


@vos.plugin.hookimpl
def vos_initializers():
    return [vos.plugin.InitializerSpec("bright", "Bright things.", lambda options, runtime: Bright())]


@vos.plugin.hookimpl
def vos_writers():
    return [vos.plugin.WriterSpec("notes", "Notes.", Notes, NoteOptions)]
"""


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a command line in a folder of inputs: it says which file it would replace, and changes nothing."""
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    (plugin / "bright_inputs.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(plugin))
    monkeypatch.delitem(__import__("sys").modules, "bright_inputs", raising=False)
    work = tmp_path / "work"
    make_inputs(work)
    monkeypatch.chdir(work)

    def content():
        return {str(path): path.read_bytes() for path in sorted(work.rglob("*")) if path.is_file()}

    def invoke(*arguments):
        before = content()
        with pytest.raises(SystemExit) as ended:
            main(["-p", "bright_inputs", *arguments])
        said = capsys.readouterr()
        assert (ended.value.code, said.out) == (2, ""), said.err
        assert said.err.count("\n") == 1
        assert content() == before
        output, _, why = said.err.removeprefix("vos: ").partition(": ")
        assert why.startswith(("is an input", "two outputs would go there"))
        return output

    return invoke


def make_inputs(work):
    """A clip, an image, a mask, frames ``1/`` as images, and a tree of the same with its list, scored by itself."""
    label_map = np.zeros((40, 60), np.uint8)
    label_map[5:20, 10:30] = 1
    image = np.repeat(label_map[..., None] * 200, 3, axis=2)
    for folder in (work, work / "1", work / "DAVIS/JPEGImages/480p/1", work / "labels"):
        folder.mkdir(parents=True, exist_ok=True)
    for path in ("a.png", "1/00000.png", "1/00001.png", "DAVIS/JPEGImages/480p/1/00000.png"):
        Image.fromarray(image).save(work / path)
    for path in ("mask.png", "DAVIS/Annotations/480p/1/00000.png", "out/1/00000.png", "labels/00000.png"):
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        vos.write_label_map(work / path, label_map)
    shutil.copytree(work / "DAVIS/JPEGImages/480p/1", work / "DAVIS/JPEGImages/480p/2")
    shutil.copytree(work / "DAVIS/Annotations/480p/1", work / "DAVIS/Annotations/480p/2")
    (work / "DAVIS/ImageSets/2017").mkdir(parents=True)
    (work / "DAVIS/ImageSets/2017/val.txt").write_text("1\n2\n")
    (work / "set.txt").write_text("1\n")
    (work / "meta.json").write_text("{}")
    shutil.copy(CLIP, work / "clip.mp4")


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["a.png", "-o", "a.png"], "a.png"),
        (["a.png", "-o", "first.png", "--preview", "./1/../a.png"], "1/../a.png"),
        (["1", "-o", "1/00001.png"], "1/00001.png"),
        (["a.png", "-o", "mask.png", "-O", "mask=mask.png"], "mask.png"),
        (["a.png", "-o", "first.png", "--preview", "first.png"], "first.png"),
    ],
)
def test_init(refused, arguments, output):
    assert refused("init", "--with", "bright", *arguments) == output


TRACK = ["track", "-t", "still", "--overwrite"]


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["clip.mp4", "--overlay", "clip.mp4"], "clip.mp4"),
        (["1", "--writer", "notes:path=mask.png"], "mask.png"),
        (["clip.mp4", "--writer", "notes:path=clip.mp4"], "clip.mp4"),
        (["clip.mp4", "--overlay", "x.mp4", "--writer", "matte:path=x.mp4"], "x.mp4"),
        (["clip.mp4", "--sequence", "1", "--cutouts", "vos-out", "--mask", "mask.png"], "vos-out/1"),
        (["1", "--cutouts", "."], "1"),
        (["1", "-o", "."], "1"),
        (["1", "-o", "out", "--mask", "1:out/1/00000.png"], "out/1/00000.png"),
        (["1", "-o", "out", "--writer", "notes:path=a.png", "-t", "exec:python a.png"], "a.png"),
    ],
)
def test_track(refused, arguments, output):
    arguments = arguments if "--mask" in arguments else [*arguments, "--mask", "mask.png"]
    assert refused(*TRACK, *arguments) == output


def test_track_keeps_the_annotations_beside_the_frames(refused):
    assert refused(*TRACK, "DAVIS/JPEGImages/480p/1", "-o", "DAVIS/Annotations/480p") == "DAVIS/Annotations/480p/1"


def test_track_refuses_before_it_makes_the_first_mask(refused):
    assert refused(*TRACK, "1", "--init", "bright", "--writer", "notes:path=1/00001.png") == "1/00001.png"


def test_a_shared_name_of_a_text_and_a_folder_is_no_input(refused, capsys):
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["-p", "bright_inputs", *TRACK, "1", "--mask", "mask.png", "-o", ".", "--sequence", "still"])
        assert ended.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("folder", ["DAVIS/Annotations/480p", "DAVIS/JPEGImages/480p"])
def test_davis(refused, folder):
    davis = ["davis", "-t", "still", "--root", "DAVIS", "--overwrite"]
    assert refused(*davis, "-o", folder) == f"{folder}/1"
    assert refused(*davis, "-o", "out", "--html", f"{folder}/2/00000.png") == f"{folder}/2/00000.png"


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--json", "DAVIS/ImageSets/2017/val.txt"], "DAVIS/ImageSets/2017/val.txt"),
        (["--html", "out/1/00000.png"], "out/1/00000.png"),
        (["--set", "set.txt", "--csv", "new", "--json", "set.txt"], "set.txt"),
        (["--meta", "meta.json", "--json", "meta.json"], "meta.json"),
        (["--json", "new", "--html", "new"], "new"),
    ],
)
def test_eval(refused, arguments, output):
    assert refused("eval", "--gt", "DAVIS", "--pred", "out", *arguments) == output


def test_eval_replaces_its_own_tables_among_the_masks(refused, capsys):
    for overwrite in ([], ["--overwrite"]):
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "eval",
                    "--gt",
                    "labels",
                    "--pred",
                    "out/1",
                    "--all-frames",
                    "--json",
                    "out/1/s.json",
                    "--csv",
                    "out/1",
                    *overwrite,
                ]
            )
        assert ended.value.code == 0, capsys.readouterr().err


def test_scores_of_single_images(refused):
    folders = ["--labels", "labels", "--classes", "2", "--json"]
    label, image = "labels/00000.png", "1/00000.png"
    assert refused("eval", "semantic", "1", "--pred", "out/1", *folders, label) == label
    assert refused("eval", "perseg", "--gt", "labels", "--pred", "1", "--json", image) == image
    assert refused("init-eval", "1", "--with", "bright", *folders, image) == image


def test_the_demo_leaves_other_files_in_its_folder_alone(refused, capsys):
    shutil.copytree("1", "demo")
    with pytest.raises(SystemExit) as ended:
        main(["demo", "-t", "propagation", "-o", "."])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("vos: demo holds 2 PNG files")
