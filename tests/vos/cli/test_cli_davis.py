"""``vos davis``: tracks, scores, takes up where it stopped; a tracker of a few lines stands for a model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vos.plugin
from vos import cli

FRAMES = 7

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path
import os
import signal
import time
import numpy as np
import vos.plugin
from vos.testing import StubTracker

@dataclass(frozen=True)
class Options:
    fail: str = vos.plugin.option("", "Sequence whose images are this dark fails.")
    quality: int = vos.plugin.option(1, "Nothing.")
    signal: str = vos.plugin.option("", "Sent in frame 4: SIGINT to the parent, another one to the process itself.")

class Still(StubTracker):
    """Keeps the first label map; fails on frames of one grey value."""
    def __init__(self, options):
        super().__init__()
        self.fail = options.fail
        self.signal = options.signal
    def step(self, frame):
        if self.signal and frame.index == 4:
            os.kill(os.getppid() if self.signal == "SIGINT" else os.getpid(), getattr(signal, self.signal))
            time.sleep(60)
        return super().step(frame)
    def start(self, frame, label_map):
        super().start(frame, label_map)
        if self.fail and int(self.fail) == frame.image[0, 0, 0]:
            raise vos.TrackerError("no, not this one")
        with open(Path(__file__).with_name("starts.txt"), "a") as log:
            log.write(f"{os.getpid()} {frame.image[0, 0, 0]} {vos.object_ids(label_map)}\\n")

@dataclass(frozen=True)
class Places:
    rows: int = vos.plugin.option(15, "Height of what is found.")

class Swapped:
    """Finds the objects of dog and late under each other's ids, and nothing in bear."""
    def __init__(self, options):
        self.rows = options.rows
    def initialize(self, frame):
        with open(Path(__file__).with_name("inits.txt"), "a") as log:
            log.write(f"{frame.image[0, 0, 0]}\\n")
        if not frame.image.any():
            raise vos.plugin.EmptyMaskError("nothing here")
        found = np.zeros(frame.size, np.uint8)
        for place in range(25):
            found[25 + place // 6, 10 * (place % 6)] = 3 + place
        found[5 : 5 + self.rows, 10:20], found[5 : 5 + self.rows, 30:40] = 2, 1
        return found

@vos.plugin.hookimpl
def vos_initializers():
    return [vos.plugin.InitializerSpec("swapped", "Finds objects.", lambda o, r: Swapped(o), Places)]

@vos.plugin.hookimpl
def vos_trackers():
    return [vos.plugin.TrackerSpec("still", "Keeps the first label map.", lambda o, r: Still(o), Options)]
'''


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "still_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "still_plugin", raising=False)
    return folder / "starts.txt"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences with one, two and two objects (the last one's second appears at frame 3)."""
    root = tmp_path_factory.mktemp("davis")
    for grey, (name, ids) in enumerate((("bear", (1,)), ("dog", (1, 2)), ("late", (1, 2)))):
        for n in range(FRAMES):
            truth = np.zeros((40, 60), dtype=np.uint8)
            for object_id in ids:
                if name != "late" or object_id == 1 or n >= 3:
                    truth[5 + n : 20 + n, 20 * object_id - 10 : 20 * object_id] = object_id
            for folder in ("Annotations", "JPEGImages"):
                (root / folder / "480p" / name).mkdir(parents=True, exist_ok=True)
            vos.write_label_map(root / f"Annotations/480p/{name}/{n:05d}.png", truth)
            Image.fromarray(np.full((40, 60, 3), 50 * grey, dtype=np.uint8)).save(
                root / f"JPEGImages/480p/{name}/{n:05d}.png"
            )
    for year, names in (("2016", "bear\ndog\n"), ("2017", "bear\ndog\nlate\n")):
        (root / "ImageSets" / year).mkdir(parents=True)
        (root / f"ImageSets/{year}/val.txt").write_text(names)
    return root


def davis(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exited:
        cli.main(["-p", "still_plugin", "davis", "-t", "still", *(str(argument) for argument in arguments)])
    out, err = capsys.readouterr()
    return int(exited.value.code or 0), out, err


def result_in(folder: Path) -> dict[str, Any]:
    (result,) = json.loads((folder / "results.json").read_text())["results"]
    assert isinstance(result, dict)
    return result


def test_davis_and_eval_write_one_shape_of_json_and_a_page_lists_its_keys(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    davis(capsys, "--root", tree, "--set", "2016/val", "-o", out)
    written = [json.loads((out / "results.json").read_text())]
    for predictions in ([out], [f"a={out}", f"b={out}"]):
        given = [argument for prediction in predictions for argument in ("--pred", str(prediction))]
        with pytest.raises(SystemExit):
            cli.main(["eval", "--gt", str(tree), "--set", "2016/val", *given, "--json", "-"])
        written.append(json.loads(capsys.readouterr().out))
    page = (Path(__file__).parents[3] / "docs/evaluation.md").read_text()
    listed = page[page.index("{ #json }") :]
    shapes = {keys_of({**one, "results": [{**result, "run": None} for result in one["results"]]}) for one in written}
    assert len(shapes) == 1
    assert [len(one["results"]) for one in written] == [1, 1, 2]
    assert [one["results"][0]["run"] is None for one in written] == [False, True, True]
    for key in {*next(iter(shapes)), *keys_of(written[0])}:
        if ".details." not in key and ".options." not in key and ".versions." not in key:
            assert f"`{key.rpartition('.')[2]}`" in listed, key


def keys_of(data: Any, prefix: str = "") -> frozenset[str]:
    """All keys of JSON data, as paths; the items of a list are alike."""
    if isinstance(data, list):
        return frozenset().union(*(keys_of(item, prefix) for item in data))
    if not isinstance(data, dict):
        return frozenset()
    return frozenset().union(*({f"{prefix}.{k}"} | keys_of(v, f"{prefix}.{k}") for k, v in data.items()))


def test_tracks_scores_and_writes_results(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, said, _ = davis(capsys, "--root", tree, "--set", "2017/val", "-o", out, "--html", tmp_path / "r.html")
    assert code == 0
    lines = said.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["bear", "dog", "late"]
    assert "7 frames" in lines[0]
    assert "tracker:  still" in said
    assert "options:  fail=, quality=1, signal=" in said
    assert f"vos {vos.__version__}" in said
    scores = vos.evaluate(tree, out, sequences="2017/val")
    assert [len(s.objects) for s in scores.sequences] == [1, 2, 1]
    row = next(line for line in lines if line.startswith("All objects")).split()
    assert float(row[2]) == round(100 * scores.j_and_f, 1)
    results = result_in(out)
    assert results["summary"] == scores.summary()
    run = results["run"]
    assert run["tracker"] == "still"
    assert run["options"] == {"fail": "", "quality": 1, "signal": ""}
    assert run["fps"] > 0
    assert {"vos", "numpy", "python"} <= set(run["versions"])
    assert (out / "per-sequence_results-val.csv").read_text().count("\n") == 5
    assert (out / "results.txt").read_text().strip() in said
    assert (tmp_path / "r.html").read_text().count("<img") == 4
    assert len(list((out / "dog").glob("*.png"))) == FRAMES


@pytest.mark.parametrize(
    "name", ["results.json", "results.txt", "global_results-val.csv", "per-sequence_results-val.csv"]
)
def test_results_replace_no_file_of_another_origin(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words = ["--root", tree, "--set", "2017/val", "--sequence", "bear", "-o", tmp_path / "out"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"results": [{"run": null}]}')
    code, _, err = davis(capsys, *words)
    assert code == 2
    assert f"{name}: is there already, and no run of vos davis wrote it." in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert davis(capsys, *words, "--overwrite")[0] == 0
    assert davis(capsys, *words)[0] == 0, "its own results are replaced"
    (tmp_path / "out" / name).write_text("mine")
    assert davis(capsys, *words)[0] == 2
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_a_folder_whose_name_ends_like_a_table_holds_the_tables(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert davis(capsys, "--root", tree, "--set", "2017/val", "--sequence", "bear", "-o", out)[0] == 0
    assert (out / "global_results-val.csv").is_file()
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.csv"]


def test_results_of_another_set_or_protocol_stay(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--root", tree, "--sequence", "bear", "-o", tmp_path / "out"]
    assert davis(capsys, *words, "--set", "2017/val")[0] == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    for more, said in (
        (["--set", "2016/val"], "holds results of another --set (2017/val, now 2016/val)"),
        ([], "holds results of another --set (2017/val, now all)"),
        (["--set", "2017/val", "--protocol", "sparse"], "results of another --protocol (davis-2017, now sparse)"),
    ):
        code, _, err = davis(capsys, *words, *more)
        assert code == 2
        assert said in err
        assert {path: path.read_bytes() for path in files} == before
    assert davis(capsys, *words, "--set", "2016/val", "--overwrite")[0] == 0


@pytest.mark.parametrize("name", ["results.json", "per-sequence_results-val.csv", "bear", "bear/00000.png"])
def test_the_report_takes_the_place_of_no_other_output(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "out"
    words = ["--root", tree, "--set", "2017/val", "-o", out, "--html", out / name, "--overwrite"]
    code, _, err = davis(capsys, *words)
    assert code == 2
    assert "two outputs would go there" in err or "the masks of a sequence go into" in err
    assert not out.exists()


def test_davis_2016_merges_the_objects_that_a_tracker_is_given(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = davis(capsys, "--root", tree, "--set", "2016/val", "-o", tmp_path / "out")
    assert code == 0
    assert [line.split(" ", 2)[2] for line in plugin.read_text().splitlines()] == ["(1,)", "(1,)"]
    scores = vos.evaluate(tree, tmp_path / "out", sequences="2016/val", protocol="davis-2016")
    assert result_in(tmp_path / "out")["summary"] == scores.summary()
    assert "davis-2016" in said


def test_a_second_run_skips_what_is_whole_and_redoes_the_rest(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--root", tree, "--set", "2017/val", "-o", tmp_path / "out")
    davis(capsys, *arguments)
    first = result_in(tmp_path / "out")
    (tmp_path / "out/dog/00003.png").unlink()
    record = tmp_path / "out/late/run.json"
    aged = json.loads(record.read_text())
    aged["versions"]["numpy"] = "1.0"
    record.write_text(json.dumps(aged))
    plugin.unlink()
    code, said, _ = davis(capsys, *arguments)
    assert code == 0
    assert [line.split()[1] for line in plugin.read_text().splitlines()] == ["50", "100"]
    lines = said.splitlines()
    assert lines[0].endswith("finished before")
    assert not lines[1].endswith("finished before")
    assert result_in(tmp_path / "out")["summary"] == first["summary"]
    code, _, err = davis(capsys, *arguments, "-O", "quality=2")
    assert code == 2
    assert "holds a run with other options ({'fail': '', 'quality': 1, 'signal': ''}, now " in err
    assert davis(capsys, *arguments, "--quality", 2, "--overwrite")[0] == 0


def test_two_processes_share_the_work(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = davis(capsys, "--root", tree, "--set", "2017/val", "-j", 2, "-o", tmp_path / "two")
    assert code == 0
    assert "in each of 2 processes of" in said
    assert len(plugin.read_text().splitlines()) == 3
    davis(capsys, "--root", tree, "--set", "2017/val", "-o", tmp_path / "one")
    for path in (tmp_path / "one").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    one, two = (result_in(tmp_path / name) for name in ("one", "two"))
    assert one["sequences"] == two["sequences"]
    assert one["summary"] == two["summary"]


def test_the_speed_of_a_resumed_sequence_counts_the_frames_that_were_timed(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--root", tree, "--set", "2016/val", "-o", tmp_path / "out")
    davis(capsys, *arguments)
    timed = result_in(tmp_path / "out")["run"]["timing"][0]
    path = tmp_path / "out" / timed["sequence"] / "run.json"
    resumed = {"resumed": [{"frames_before": 1, "from": "state"}], "seconds": 2.0}
    path.write_text(json.dumps(json.loads(path.read_text()) | resumed))
    _, said, _ = davis(capsys, *arguments)
    assert f"{timed['frames']} frames, {(timed['frames'] - 1) / 2:.1f} frames/s, finished before" in said


def test_frames_before_the_first_object_have_masks_without_objects(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    shutil.copytree(tree, own)
    for n in range(2):
        vos.write_label_map(own / f"Annotations/480p/bear/{n:05d}.png", np.zeros((40, 60), np.uint8))
    protocol = ("--protocol", "youtube-vos")
    arguments = ("--root", own, "--set", "2016/val", "--sequence", "bear", *protocol, "-o", tmp_path / "out")
    assert davis(capsys, *arguments)[0] == 0
    assert len(list((tmp_path / "out" / "bear").glob("*.png"))) == FRAMES
    assert not vos.read_label_map(tmp_path / "out/bear/00001.png", allow_empty=True).any()
    assert vos.evaluate(own, tmp_path / "out", sequences=["bear"], protocol="youtube-vos").sequences[0].objects
    assert "finished before" in davis(capsys, *arguments)[1]


def test_processes_keep_to_a_smaller_omp_num_threads(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert davis(capsys, "--root", tree, "--set", "2017/val", "-j", 2, "-o", tmp_path / "out")[0] == 0
    for path in (tmp_path / "out").glob("*/run.json"):
        assert json.loads(path.read_text())["runtime"]["threads"] == 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code", "states"), [("SIGINT", 130, {"stopped"}), ("SIGKILL", 1, {"failed"})])
def test_no_record_says_running_once_nobody_runs(
    number: str,
    code: int,
    states: set[str],
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    interruptible: None,
) -> None:
    arguments = ("--root", tree, "--set", "2016/val", "-j", 2, "-E", "retries=0", "-o", tmp_path / "out")
    ended, _, said = davis(capsys, *arguments, "-O", f"signal={number}")
    assert ended == code
    assert "Traceback" not in said
    records = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("run.json")]
    found = {record["state"] for record in records}
    assert found & states
    assert found <= {*states, "stopped"}
    assert all(vos.read_label_map(path).any() for path in (tmp_path / "out").rglob("*.png"))
    assert not list((tmp_path / "out").rglob(".partial-*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sequence_that_fails_leaves_the_others_done(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    out = tmp_path / "out"
    code, said, err = davis(capsys, "--root", tree, "--set", "2017/val", "-o", out, "-j", workers, "-O", "fail=50")
    assert code == 1
    assert "1 of 3 sequences failed; the others are done.\n  dog: " in err
    assert "no, not this one" in err
    assert sorted(line.split(":")[0] for line in said.splitlines()) == ["bear", "late"]
    assert not (out / "results.json").exists()


def test_objects_that_appear_later_are_given_when_they_do(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = davis(
        capsys, "--root", tree, "--set", "2017/val", "--sequence", "late", "--protocol", "youtube-vos",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "youtube-vos" in said
    assert vos.object_ids(vos.read_label_map(tmp_path / "out/late/00006.png")) == (1, 2)
    results = result_in(tmp_path / "out")
    assert [len(o["j"]) for o in results["sequences"][0]["objects"]] == [6, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "2018/val"), "no set 2018/val. There are: 2016/val, 2017/val"),
        (("--set", "2017/val", "-O", "speed=3"), 'tracker "still" has no option "speed"'),
        (("--set", "2017/val", "-t", "stil"), 'no tracker named "stil"'),
        (("--set", "2017/val", "--sequence", "cat"), "has no sequence cat. It has: bear, dog, late"),
        (("--protocol", "davis-2017-unsupervised"), "Name the initializer that finds them: --init NAME"),
        (("--protocol", "sa-v"), "sa-v takes a folder of masks for each object, and the tree has label maps"),
        (("--init", "swapped", "--protocol", "davis-2017"), "davis-2017 takes ids for those of the truth"),
        (("--init", "swaped"), 'no initializer named "swaped"'),
        (("--init", "swapped", "-I", "column=3"), 'initializer "swapped" has no option "column"'),
        (("-I", "rows=3"), "-I sets an initializer's option, and there is none"),
        (("--resolution", "1080p"), "no resolution 1080p"),
    ],
)
def test_wrong_usage(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = davis(capsys, "--root", tree, "-o", tmp_path / "out", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_sequence_that_fails_is_named_and_one_without_images_fails_alone(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tree, broken)
    for path in [*(broken / "JPEGImages/480p/late").iterdir(), *(broken / "Annotations/480p/dog").iterdir()]:
        path.unlink()
    code, said, err = davis(capsys, "--root", broken, "--set", "2017/val", "-o", tmp_path / "out", "-j", workers)
    assert code == 2
    assert said.startswith("bear: ")
    assert "2 of 3 sequences failed; the others are done." in err
    assert "  dog: " in err
    assert "no annotations in it" in err
    assert "  late: " in err
    assert "no images in it" in err


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("empty", "no object in the first annotated frame, which the tracker is given. Take --protocol youtube-vos"),
        ("single", "leaves none of them to score. Leave the sequence out (--sequence or --set names the others)"),
        ("image", "vos eval --missing zero scores missing frames"),
    ],
)
def test_advice_names_options_that_there_are(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, message: str
) -> None:
    root = Path(shutil.copytree(tree, tmp_path / "broken"))
    annotations = sorted((root / "Annotations/480p/dog").iterdir())
    if broken == "empty":
        vos.write_label_map(annotations[0], np.zeros((40, 60), dtype=np.uint8))
    if broken == "single":
        for path in annotations[1:]:
            path.unlink()
    if broken == "image":
        (root / "JPEGImages/480p/dog/00003.png").unlink()
    code, _, err = davis(capsys, "--root", root, "--sequence", "dog", "-o", tmp_path / "out")
    assert code == 2
    assert message in err
    assert "--set FILE" not in err


def test_hidden_files_and_folders_are_no_part_of_a_tree(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = tmp_path / "hidden"
    shutil.copytree(tree, hidden)
    (hidden / "Annotations/480p/.ipynb_checkpoints").mkdir()
    for folder in ("JPEGImages", "Annotations"):
        (hidden / folder / "480p/bear/.00000.png").write_text("no picture")
    code, said, err = davis(capsys, "--root", hidden, "-o", tmp_path / "out")
    assert code == 0, err
    assert sorted(line.split(":")[0] for line in said.splitlines()[:3]) == ["bear", "dog", "late"]


@pytest.mark.parametrize(("option", "value", "what"), [("--max-side", 32, "--max-side"), ("--seed", 5, "seed")])
def test_a_run_of_another_kind_is_refused_before_anything_is_tracked(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str], option: str, value: int, what: str
) -> None:
    arguments = ("--root", tree, "--set", "2016/val", "-o", tmp_path / "out")
    assert davis(capsys, *arguments, "--sequence", "dog")[0] == 0
    begun = plugin.read_text()
    code, _, err = davis(capsys, *arguments, option, value)
    assert code == 2
    assert f"holds a run with another {what} (" in err
    assert "--resume" not in err
    assert plugin.read_text() == begun


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("\ufeffbear\r\n".encode(), 0, "bear"),
        ("bear\n".encode("utf-16"), 2, "odd.txt: not a text in UTF-8"),
    ],
)
def test_sets_that_other_editors_wrote(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, code: int, words: str
) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(tree, odd)
    (odd / "ImageSets/2016/odd.txt").write_bytes(content)
    found, said, err = davis(capsys, "--root", odd, "--set", "2016/odd", "-o", tmp_path / "out")
    assert found == code
    assert words in said + err


def test_one_more_sequence_adds_to_finished_results(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--root", tree, "--set", "2017/val", "-o", tmp_path / "out")
    davis(capsys, *arguments, "--sequence", "dog")
    plugin.unlink()
    code, _, _ = davis(capsys, *arguments, "--sequence", "bear", "--overwrite")
    assert code == 0
    assert [line.split()[1] for line in plugin.read_text().splitlines()] == ["0"], "only bear is tracked"
    results = result_in(tmp_path / "out")
    assert [sequence["name"] for sequence in results["sequences"]] == ["bear", "dog"]
    assert {"device", "precision", "threads"} <= set(results["run"])
    assert results["run"]["device"] != "auto" or "torch" not in sys.modules


def test_an_initializer_finds_the_objects_of_an_unsupervised_benchmark(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, inits = tmp_path / "out", plugin.with_name("inits.txt")
    arguments = ("--root", tree, "--set", "2017/val", "--init", "swapped", "-o", out)
    code, said, err = davis(capsys, *arguments)
    assert code == 0, err
    assert "no object found in" in said.splitlines()[0]
    assert "(davis-2017-unsupervised)" in said
    assert "init:     swapped" in said
    assert sorted(line.split(" ", 2)[2] for line in plugin.read_text().splitlines()) == 2 * [str(tuple(range(1, 21)))]
    scores = vos.evaluate(tree, out, sequences="2017/val", protocol="davis-2017-unsupervised")
    results = result_in(out)
    assert results["summary"] == scores.summary()
    assert (results["run"]["initializer"], results["run"]["init_options"]) == ("swapped", {})
    bear, dog = scores.sequences[:2]
    assert (bear.j.mean, {o.proposal_id for o in dog.objects}) == (0.0, {1, 2})
    assert dog.objects[0].j[0] == 1.0, "what is found in the first frame is the object, under whatever id"
    assert "found no object in the first frame" in results["sequences"][0]["notes"][0]
    # A second run makes no first mask again, and one more sequence adds to what is there.
    begun = inits.read_text()
    assert davis(capsys, *arguments)[0] == 0
    assert davis(capsys, *arguments, "--sequence", "dog")[0] == 0
    assert inits.read_text() == begun
    assert result_in(out)["summary"] == results["summary"]
    code, _, err = davis(capsys, *arguments, "-I", "rows=3")
    assert code == 2
    assert "holds a run with a first mask of another init_options ({'rows': 15}, now {'rows': 3})" in err
    code, _, err = davis(capsys, *arguments[:4], "-o", out)
    assert code == 2
    assert "holds a run with a first mask of swapped" in err


def test_an_initializer_finds_the_foreground_of_a_set_of_2016(
    tree: Path, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--root", tree, "--set", "2016/val", "--sequence", "dog", "-o", tmp_path / "out")
    assert davis(capsys, *arguments, "--init", "swapped", "-j", 2)[0] == 0
    assert plugin.read_text().endswith("(1,)\n")
    assert result_in(tmp_path / "out")["protocol"] == "davis-2016"
