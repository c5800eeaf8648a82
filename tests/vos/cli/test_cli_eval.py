"""``vos eval`` as a user meets it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vos
from vos import cli
from vos.evaluation import HungarianScorer, SemanticScorer
from vos.evaluation.datasets.submission import write_submission
from vos.evaluation.images.perseg import evaluate_perseg
from vos.evaluation.metrics.boundary_iou import boundary_region
from vos.evaluation.video.attributes import AttributeLimits, attributes_of, slices
from vos.plugin import PALETTE

FRAMES = 8


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exited:
        cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(exited.value.code or 0), out, err


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAVIS tree with two sequences of squares, images, and two sets of predictions, one of them exact."""
    root = tmp_path_factory.mktemp("davis")
    for name, objects in (("bear", 1), ("dog", 2)):
        for n in range(FRAMES):
            truth = np.zeros((40, 60), dtype=np.uint8)
            for object_id in range(1, objects + 1):
                truth[5 + n : 15 + n, 20 * object_id - 10 : 20 * object_id] = object_id
            for folder, label_map in (
                ("Annotations/480p", truth),
                ("exact", truth),
                ("moved", np.roll(truth, 3, axis=1)),
            ):
                at = root / folder / name
                at.mkdir(parents=True, exist_ok=True)
                vos.write_label_map(at / f"{n:05d}.png", label_map)
            at = root / "JPEGImages/480p" / name
            at.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((40, 60, 3), 90, dtype=np.uint8)).save(at / f"{n:05d}.jpg")
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("bear\ndog\n")
    return root


@pytest.mark.parametrize("folders", [("Annotations/480p", "exact"), ("Annotations/480p/bear", "exact/bear")])
def test_label_maps_are_scored_without_loading_plugins(tree: Path, folders: tuple[str, str]) -> None:
    code = (
        "import sys; from vos.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(sorted({n.partition('.')[0] for n in sys.modules if n.startswith(('vos_', 'torch', 'cv2'))}))"
    )
    arguments = ["eval", "--gt", str(tree / folders[0]), "--pred", str(tree / folders[1])]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "[]")


@pytest.mark.parametrize("options", [[], ["--no-plugin", "exec"]])
def test_folders_named_as_the_sequences_are_no_folders_of_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    for name in ("001", "002"):
        for kind in ("truth", "mine"):
            (tmp_path / kind / name).mkdir(parents=True)
            for n in range(4):
                label_map = np.zeros((20, 30), dtype=np.uint8)
                label_map[4:12, 4 + n : 14 + n], label_map[14:18, 2:9] = 1, 2
                Image.fromarray(label_map).save(tmp_path / kind / name / f"{n:05d}.png")
    code, out, err = run(capsys, *options, "eval", "--gt", tmp_path / "truth", "--pred", tmp_path / "mine")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split()[:2] == ["mine", "100.0"]


def test_a_table_and_all_files(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {kind: tmp_path / f"r.{kind}" for kind in ("json", "html")}
    code, out, err = run(
        capsys, "eval", "--gt", tree, "--pred", f"mine={tree}/moved", "--set", "2017/val", "-j", 2, "--per-sequence",
        "--json", files["json"], "--html", files["html"], "--csv", tmp_path / "tables",
    )  # fmt: skip
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"]
    assert lines[1].split()[0] == "mine"
    assert [line.split()[0] for line in lines[3:]] == ["Sequence", "bear", "dog"]
    scores = vos.evaluate(tree, tree / "moved")
    assert float(lines[1].split()[1]) == round(100 * scores.j_and_f, 1)

    written = json.loads(files["json"].read_text())
    assert {"command", "date", "cpu", "cores", "python", "vos"} <= set(written)
    (content,) = written["results"]
    assert content["summary"] == scores.summary()
    assert content["sequences"][1]["objects"][1]["j"] == scores.sequences[1].objects[1].j.tolist()
    assert content["sequences"][0]["objects"][0]["frames"] == [f"{n:05d}" for n in range(1, FRAMES - 1)]
    with (tmp_path / "tables/per-sequence_results-val.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["Sequence"] for row in rows] == ["bear_1", "dog_1", "dog_2"]
    assert float(rows[0]["J-Mean"]) == round(scores.sequences[0].j.mean, 3)
    assert (tmp_path / "tables/global_results-val.csv").read_text().startswith("J&F-Mean,J-Mean,")


class Page(HTMLParser):
    """Counts what a report holds, and finds what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:")]


@pytest.mark.parametrize("names", [["moved"], ["moved", "exact"]])
def test_the_html_report_is_one_whole_file(tree: Path, tmp_path: Path, names: list[str]) -> None:
    from vos.evaluation.reports.html import html_report

    text = html_report([vos.evaluate(tree, tree / name, name=f"<{name}>") for name in names])
    page = Page(text)
    assert page.fetched == []
    assert page.tags.count("img") == 3 * len(names)
    assert page.tags.count("polyline") == 3 * 2 * len(names)
    assert page.tags.count("svg") == 3
    assert "<moved>" not in text
    assert "&lt;moved&gt;" in text
    assert not re.search(r"\$[a-z]", text)
    series = [json.loads(found) for found in re.findall(r'type="application/json">(.*?)</script>', text)]
    scores = vos.evaluate(tree, tree / "moved")
    assert series[2]["series"][0]["j"] == [round(v, 4) for v in scores.sequences[1].objects[1].j.tolist()]
    assert len(series[0]["series"]) == len(names)


def test_the_html_report_compares_an_object_with_itself_whatever_proposal_was_matched(
    tree: Path, tmp_path: Path
) -> None:
    from vos.evaluation.reports.html import html_report

    for path in (tree / "exact/dog").iterdir():
        found = np.array(Image.open(path))
        found[:, :15] = 0  # half of the first object is lost
        for name, ids in (("plain", [0, 1, 2]), ("swapped", [0, 2, 1])):
            (tmp_path / name / "dog").mkdir(parents=True, exist_ok=True)
            vos.write_label_map(tmp_path / name / "dog" / path.name, np.array(ids, dtype=np.uint8)[found])
    both = [
        vos.evaluate(tree, tmp_path / name, sequences=["dog"], protocol="davis-2017-unsupervised", official=True)
        for name in ("plain", "swapped")
    ]
    assert [[one.object_id for one in scores.sequences[0].objects] for scores in both] == [[1, 2], [2, 1]]
    text = html_report(both)
    assert re.findall(r">([+-][0-9.]+)</td>", text) == ["+0.0", "+0.0"]
    for data in re.findall(r'type="application/json">(.*?)</script>', text):
        one, other = json.loads(data)["series"]
        assert one["j"] == other["j"]


def test_several_predictions_side_by_side(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "eval", "--gt", tree, "--pred", f"old={tree}/moved", "--pred", f"new={tree}/exact")
    assert code == 0
    table = [line.split() for line in out.split("\n\n")[1].splitlines()]
    assert table[0] == ["Sequence", "old", "new", "+/-"]
    old = vos.evaluate(tree, tree / "moved").sequences[0].j_and_f
    assert table[1] == ["bear", f"{100 * old:.1f}", "100.0", f"{100 * (1 - old):+.1f}"]
    assert table[-1][:2] == ["All", "objects"]
    code, _, err = run(capsys, "eval", "--gt", tree, "--pred", tree / "exact", "--pred", tree / "exact")
    assert code == 2
    assert 'two --pred are called "exact"' in err


def test_bad_input_ends_with_2_and_lists_faults(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(FRAMES):
        at = tmp_path / "mine/bear"
        at.mkdir(parents=True, exist_ok=True)
        (at / f"{n:05d}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = run(capsys, "eval", "--gt", tree, "--pred", tmp_path / "mine", "-j", 2)
    assert (code, out) == (2, "")
    assert err.startswith(f"vos: {tmp_path}/mine: 7 faults, nothing was scored.\n")
    assert err.count("a truncated PNG file") == 6
    assert "mine/dog: no such folder (6 frames to score)" in err
    code, _, err = run(capsys, "eval", "--gt", tree)
    assert code == 2
    assert "takes --gt DIR and at least one --pred DIR" in err
    code, _, err = run(capsys, "eval", "--gt", tree, "--pred", tree / "exact", "--protocol", "davis")
    assert code == 2
    assert 'no protocol named "davis"' in err


def test_notes_go_to_stderr(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine/bear").mkdir(parents=True)
    code, out, err = run(capsys, "eval", "--gt", tree, "--pred", tmp_path / "mine", "--missing", "zero")
    assert code == 0
    assert 'vos: sequence "bear": 6 of 6 frames have no prediction and were scored as empty.' in err
    assert out.splitlines()[1].split() == ["mine", "0.0", "0.0", "0.0", "0.0", "0.0", "0.0", "0.0"]


def test_nothing_slow_is_imported_to_score_a_folder(tree: Path) -> None:
    code = (
        "import sys, vos.cli\n"
        "try:\n    vos.cli.main(sys.argv[1:])\n"
        "finally:\n    print({'torch', 'scipy', 'tqdm', 'av', 'pandas'} & set(sys.modules))"
    )
    arguments = ["eval", "--gt", str(tree), "--pred", str(tree / "exact")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_official_and_all_frames(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "eval", "--gt", tree, "--pred", tree / "moved", "--official", "--all-frames",
        "--protocol", "davis-2016", "--tolerance", 1,
    )  # fmt: skip
    expected = vos.evaluate(
        tree, tree / "moved", protocol="davis-2016", all_frames=True, official=True, tolerance=1
    ).summary()
    assert code == 0
    assert [float(cell) for cell in out.splitlines()[1].split()[1:]] == [round(100 * v, 1) for v in expected.values()]


@pytest.mark.parametrize("hungarian", [False, True])
def test_semantic(tmp_path: Path, capsys: pytest.CaptureFixture[str], hungarian: bool) -> None:
    rng = np.random.default_rng(0)
    scorer = HungarianScorer(4) if hungarian else SemanticScorer(4)
    for folder in ("images", "labels", "mine"):
        (tmp_path / folder).mkdir()
    for n in range(3):
        labels, found = rng.integers(0, 5, (20, 30), dtype=np.uint8), rng.integers(0, 4, (20, 30), dtype=np.uint8)
        Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / f"images/{n}.jpg")
        Image.fromarray(labels).save(tmp_path / f"labels/{n}.png")
        Image.fromarray(found).save(tmp_path / f"mine/{n}.png")
        scorer.add(found, np.where(labels < 4, labels, 255))
    arguments = ["eval", "semantic", tmp_path / "images", "--labels", tmp_path / "labels", "--classes", 4,
                 "--pred", tmp_path / "mine", "--json", tmp_path / "r.json"]  # fmt: skip
    code, out, _ = run(capsys, *arguments, *(["--hungarian"] if hungarian else []))
    assert code == 0
    assert f"Mean IoU {100 * scorer.mean_iou:.1f}".split() == out.splitlines()[-2].split()
    written = json.loads((tmp_path / "r.json").read_text())
    assert (written["mean_iou"], written["pixel_accuracy"]) == (scorer.mean_iou, scorer.accuracy)
    code, out, err = run(capsys, *arguments, "--overwrite", "--layout", "voc")
    assert (code, out) == (2, "")
    assert "--layout knows its labels and classes" in err
    (tmp_path / "mine/0.png").unlink()
    Image.fromarray(np.zeros((5, 5), dtype=np.uint8)).save(tmp_path / "mine/1.png")
    code, _, err = run(capsys, *arguments, "--overwrite")
    assert code == 2
    assert "2 faults" in err
    assert "0.png: no such file" in err
    assert "1.png: 5x5, its labels are 30x20" in err


def test_predicted_values_that_are_no_class_are_faults_and_segments_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, value in (("images", 0), ("labels", 1), ("mine", 7)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((4, 6), value, dtype=np.uint8)).save(tmp_path / folder / "a.png")
    arguments = ["eval", "semantic", tmp_path / "images", "--labels", tmp_path / "labels", "--classes", 3,
                 "--pred", tmp_path / "mine"]  # fmt: skip
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "a.png: holds 7, expected classes 0 to 2, or 255 for nothing; segments without a class need --hung" in err
    code, out, _ = run(capsys, *arguments, "--hungarian")
    assert code == 0
    assert out.splitlines()[-1].split() == ["Pixel", "accuracy", "100.0"]


@pytest.mark.parametrize(
    ("black_and_white", "line"), [("labels", "no label is a class"), ("mine", "all predictions are")]
)
def test_classes_in_black_and_white_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], black_and_white: str, line: str
) -> None:
    for folder in ("images", "labels", "mine"):
        (tmp_path / folder).mkdir()
        classes = np.eye(8, 9, dtype=np.uint8) * (255 if folder == black_and_white else 1)
        Image.fromarray(classes).save(tmp_path / folder / "a.png")
    code, out, err = run(
        capsys, "eval", "semantic", tmp_path / "images", "--labels", tmp_path / "labels", "--classes", 2,
        "--pred", tmp_path / "mine",
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert f"{tmp_path / black_and_white}: {line}" in err


def test_labels_without_a_class_leave_json_that_all_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, value in (("images", 0), ("labels", 255), ("mine", 1)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((4, 6), value, dtype=np.uint8)).save(tmp_path / folder / "a.png")
    code, out, _ = run(
        capsys, "eval", "semantic", tmp_path / "images", "--labels", tmp_path / "labels", "--classes", 2,
        "--pred", tmp_path / "mine", "--json", tmp_path / "r.json",
    )  # fmt: skip
    assert code == 0
    assert out.splitlines()[-2].split() == ["Mean", "IoU", "-"]
    written = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: f"no JSON: {name}")
    assert written == {"pixel_accuracy": None, "mean_iou": None, "iou": {"0": None, "1": None}, "images": 1}


def test_perseg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    square = np.zeros((50, 80), dtype=bool)
    square[10:30, 10:40] = True
    for category, shift in (("cat", 0), ("mug", 6)):
        for n in range(3):
            for folder, mask in (("PerSeg/Annotations", square), ("mine", np.roll(square, shift, axis=1))):
                at = tmp_path / folder / category
                at.mkdir(parents=True, exist_ok=True)
                if folder == "mine":
                    vos.write_label_map(at / f"{n:02d}.png", mask.astype(np.uint8))
                else:
                    painted = np.zeros((*mask.shape, 3), dtype=np.uint8)
                    painted[mask] = (0, 0, 128)
                    Image.fromarray(painted).save(at / f"{n:02d}.png")
    (tmp_path / "mine/mug/00.png").unlink()  # the reference is not scored
    cat, mug = evaluate_perseg(tmp_path / "PerSeg", tmp_path / "mine")
    assert (cat.iou, cat.boundary_iou, cat.images) == (1.0, 1.0, 2)
    assert mug.iou == 24 / 36
    edges = boundary_region(square), boundary_region(np.roll(square, 6, axis=1))
    assert mug.boundary_iou == (edges[0] & edges[1]).sum() / (edges[0] | edges[1]).sum()
    code, out, _ = run(capsys, "eval", "perseg", "--gt", tmp_path / "PerSeg", "--pred", tmp_path / "mine")
    assert code == 0
    assert out.splitlines()[-1].split()[:2] == ["Mean", f"{100 * (1 + 24 / 36) / 2:.1f}"]
    read = vos.read_label_map(tmp_path / "mine/mug/02.png")
    Image.fromarray(PALETTE[read]).save(tmp_path / "mine/mug/02.png")  # painted, as PerSAM's script does
    assert evaluate_perseg(tmp_path / "PerSeg", tmp_path / "mine") == [cat, mug]
    cutout = Image.fromarray(np.full((50, 80, 3), 90, np.uint8))
    cutout.putalpha(Image.fromarray((read > 0) * np.uint8(255)))
    cutout.save(tmp_path / "mine/mug/02.png")  # the image, transparent around the object
    for hidden in ("PerSeg/Annotations/cat/._01.png", "PerSeg/Annotations/.checkpoints/01.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"")
    assert evaluate_perseg(tmp_path / "PerSeg", tmp_path / "mine") == [cat, mug]
    with pytest.raises(vos.InputError, match="no category has 0.png, the given image that --reference names"):
        evaluate_perseg(tmp_path / "PerSeg", tmp_path / "mine", reference="0")
    for category in ("cat", "mug"):
        (tmp_path / f"PerSeg/Annotations/{category}/00.png").unlink()
    assert evaluate_perseg(tmp_path / "PerSeg", tmp_path / "mine") == [cat, mug]
    cutout.resize((80, 50), Image.Resampling.BILINEAR, (0, 0, 60, 40)).save(tmp_path / "mine/mug/02.png")
    with pytest.raises(vos.InputError, match="mug/02.png: soft transparency"):
        evaluate_perseg(tmp_path / "PerSeg", tmp_path / "mine")
    (tmp_path / "mine/mug/01.png").unlink()
    code, _, err = run(capsys, "eval", "perseg", "--gt", tmp_path / "PerSeg", "--pred", tmp_path / "mine")
    assert code == 2
    assert "mug/01.png: no such file" in err


def test_a_boundary_region_is_what_an_erosion_takes_away() -> None:
    mask = np.zeros((50, 100), dtype=bool)
    mask[:30, 20:60] = True
    region = boundary_region(mask)  # 2 % of the diagonal of 111.8: 2 pixels; the frame's edge is an outline
    inside = np.zeros_like(mask)
    inside[2:28, 22:58] = True
    assert np.array_equal(region, mask & ~inside)


def test_tables_for_papers(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["eval", "--gt", tree, "--pred", f"a_b={tree}/moved", "--pred", f"exact={tree}/exact", "--digits", 2]
    code, out, _ = run(capsys, *common, "--table", "latex", "--intervals")
    assert code == 0
    assert "a\\_b & " in out
    assert "exact & 100.00 & 100.00" in out
    assert out.count("\\toprule") == 2
    assert "better on 2 of 2, p = 0.5000" in out
    assert "% exact: 95 % interval over 2 sequences: 100.00 to 100.00" in out
    _, out, _ = run(capsys, *common, "--table", "md")
    assert "| exact | 100.00 | 100.00 |" in out


def test_json_to_stdout_and_one_sequence(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = tmp_path / "frames.csv"
    code, out, _ = run(
        capsys, "eval", "--gt", tree, "--pred", tree / "moved", "--sequence", "dog", "--json", "-",
        "--frames-csv", frames, "--boundary-iou",
    )  # fmt: skip
    assert code == 0
    (result,) = json.loads(out)["results"]
    assert [sequence["name"] for sequence in result["sequences"]] == ["dog"]
    rows = list(csv.DictReader(frames.read_text().splitlines()))
    assert len(rows) == 2 * (FRAMES - 2)
    assert float(rows[0]["J"]) == pytest.approx(result["sequences"][0]["objects"][0]["j"][0], abs=1e-6)
    assert list(rows[0]) == ["Result", "Sequence", "Object", "Frame", "J", "F", "B"]
    (dog,) = vos.evaluate(tree, tree / "moved", sequences=["dog"], boundary_iou=True).sequences
    assert float(rows[0]["B"]) == pytest.approx(dog.objects[0].b[0], abs=1e-6)
    assert result["summary"]["b_mean"] == pytest.approx(np.mean([one.b for one in dog.objects]))
    assert not Path("-").exists()


def test_one_sequence_of_a_set_is_scored_by_the_sets_protocol(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(tree, tmp_path / "davis"))
    (root / "ImageSets/2016").mkdir()
    (root / "ImageSets/2016/val.txt").write_text("dog\n")
    words = ["eval", "--gt", root, "--pred", tree / "moved", "--set", "2016/val", "--json", "-", "--sequence"]
    code, out, _ = run(capsys, *words, "dog")
    assert code == 0
    (result,) = json.loads(out)["results"]
    assert result["protocol"] == "davis-2016"
    assert [(one["name"], len(one["objects"])) for one in result["sequences"]] == [("dog", 1)]
    code, out, err = run(capsys, *words, "dog", "--sequence", "bear")
    assert (code, out) == (2, "")
    assert "2016/val has no sequence bear. It has: dog." in err


@pytest.mark.parametrize(("protocol", "columns"), [("vost", "J_tr"), ("lvos", "V"), ("mose", "J&F-dot")])
def test_protocols_have_columns_of_their_own(
    tree: Path, capsys: pytest.CaptureFixture[str], protocol: str, columns: str
) -> None:
    code, out, _ = run(capsys, "eval", "--gt", tree, "--pred", tree / "exact", "--protocol", protocol)
    assert code == 0
    assert columns in out.splitlines()[0].split()
    assert ("F-Mean" in out) == (protocol != "vost")


def test_f_that_a_protocol_does_not_measure_is_an_empty_field(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "frames.csv"
    arguments = ("eval", "--gt", tree, "--pred", tree / "exact", "--protocol", "vost", "--boundary-iou")
    code, out, _ = run(capsys, *arguments, "--frames-csv", frames)
    assert code == 0
    assert out.split()[-2:] == ["100.0", "100.0"], "B-Mean and B-Tube"
    assert {row["F"] for row in csv.DictReader(frames.read_text().splitlines())} == {""}


def test_results_are_compared_by_j_where_f_is_not_measured(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--gt", tree, "--pred", tree / "exact", "--pred", tree / "moved", "--protocol", "vost"]
    code, out, _ = run(capsys, *words, "--html", tmp_path / "r.html")
    assert code == 0
    scores = vos.evaluate(tree, tree / "moved", protocol="vost")
    j = 100 * scores.j.mean
    assert out.splitlines()[-1].split() == ["All", "objects", "100.0", f"{j:.1f}", f"{j - 100:+.1f}"]
    summary = scores.to_json()["summary"]
    assert [summary[f"f_{kind}"] for kind in ("mean", "recall", "decay")] == [None] * 3
    text = (tmp_path / "r.html").read_text()
    assert "nan" not in text.lower()
    assert "<th>J_tr</th>" in text
    worst = min((one.j.min(), f"frame {one.frames[one.j.argmin()]}: J ") for _, one in scores.objects)
    assert worst[1] in re.findall("<figcaption>[^<]*</figcaption>", text.split("<h3>moved</h3>")[1])[0]


def test_scores_by_attribute(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "eval", "--gt", tree, "--pred", tree / "exact", "--slices")
    assert code == 0
    assert [line.split() for line in out.splitlines()[-3:]] == [
        ["Attribute", "Objects", "exact"], ["medium", "3", "100.0"], ["slow", "3", "100.0"],
    ]  # fmt: skip


def test_attributes_come_from_areas_and_centres_of_the_label_maps(tmp_path: Path) -> None:
    (tmp_path / "truth/dog").mkdir(parents=True)
    for frame in range(4):
        label_map = np.zeros((300, 400), dtype=np.uint8)
        label_map[20:290, 4 * frame : 270 + 4 * frame] = 1  # more than 65,535 pixels
        label_map[5:9, 300 + 10 * frame : 304 + 10 * frame] = 200
        vos.write_label_map(tmp_path / f"truth/dog/{frame:05d}.png", label_map)
    scores = vos.evaluate(tmp_path / "truth", tmp_path / "truth")
    first, second = slices([scores, scores])
    assert {one.name: one.objects for one in first} == {"large": 1, "slow": 1, "small": 1, "fast": 1}
    assert second == first


def test_folders_of_objects_may_have_any_number_of_zeros(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures and attributes are found; B sees object 2 from a frame before A on, and their curves end together."""
    for kind in ("gt/Annotations", "A", "B"):
        for number in ("1", "02"):
            (tmp_path / kind / "v" / number).mkdir(parents=True)
            for n in range(6):
                mask = np.zeros((40, 60), dtype=np.uint8)
                mask[5:15, 5:20] = number == "1" or n > 2 or (kind == "B" and n == 2)
                vos.write_label_map(tmp_path / kind / "v" / number / f"{n:05d}.png", mask)
    (tmp_path / "gt/JPEGImages/v").mkdir(parents=True)
    for n in range(6):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / f"gt/JPEGImages/v/{n:05d}.jpg")
    words = ["eval", "--gt", tmp_path / "gt", "--protocol", "sa-v", "--slices", "--html", tmp_path / "r.html"]
    code, out, _ = run(capsys, *words, "--pred", tmp_path / "A", "--pred", tmp_path / "B")
    assert code == 0
    assert out.splitlines()[-1].split()[:2] == ["slow", "2"]
    text = (tmp_path / "r.html").read_text()
    assert text.count("<img") == 4
    data = json.loads(re.findall('<script type="application/json">(.*?)</script>', text)[1])
    assert data["frames"] == ["00002", "00003", "00004"]
    assert [one["j"] for one in data["series"]] == [[None, 1, 1], [0, 1, 1]]
    curves = [points.split() for points in re.findall('points="([^"]*)"', text)]
    assert [line[-1] for line in curves[4:]] == ["452.0,8.0"] * 4
    found = vos.evaluate(tmp_path / "gt", tmp_path / "A", protocol="sa-v").files_of("v", 2)
    assert found is not None
    assert found.frames == tmp_path / "gt/JPEGImages/v"


@pytest.mark.parametrize("order", ["AB", "BA"])
def test_an_attribute_that_only_some_results_have_is_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], order: str
) -> None:
    """By sa-v, an object that is gone is scored only where it is predicted; B predicts it."""
    for kind in ("gt", "A", "B"):
        for number in ("000", "001"):
            (tmp_path / kind / "v" / number).mkdir(parents=True)
            for n in range(6):
                mask = np.zeros((40, 60), dtype=np.uint8)
                mask[5:15, 5:20] = number == "000" or n == 0 or (kind == "B" and n == 2)
                vos.write_label_map(tmp_path / kind / "v" / number / f"{n:05d}.png", mask)
    words = ["eval", "--gt", tmp_path / "gt", "--protocol", "sa-v", "--slices"]
    code, out, _ = run(capsys, *words, "--pred", tmp_path / order[0], "--pred", tmp_path / order[1])
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.split("\n\n")[-1].splitlines()}
    first = order.index("A")
    assert rows["disappears"][1:] == (["-", "66.7"] if first == 0 else ["66.7", "-"])
    assert (rows["disappears"][0], rows["medium"][0]) == (("0/1", "1/2") if first == 0 else ("1/0", "2/1"))


def test_sequences_without_scored_objects_are_left_out_of_intervals_and_tests(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gt").mkdir()
    for kind in ("gt", "moved"):
        shutil.copytree(tree / ("Annotations/480p" if kind == "gt" else kind), tmp_path / kind, dirs_exist_ok=True)
        (tmp_path / kind / "late").mkdir()
        for n in range(FRAMES):
            mask = np.full((40, 60), kind == "gt" and n == FRAMES - 1, dtype=np.uint8)  # in the last frame alone
            vos.write_label_map(tmp_path / kind / f"late/{n:05d}.png", mask)
    words = ["eval", "--gt", tmp_path / "gt", "--protocol", "youtube-vos", "--intervals"]
    words += ["--pred", f"exact={tmp_path}/gt", "--pred", tmp_path / "moved"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, out, err = run(capsys, *words)
        _, nothing, _ = run(capsys, *words, "--sequence", "late")
    assert err == ""
    assert "exact: 95 % interval over 2 sequences: 100.0 to 100.0" in out
    assert "better on 0 of 2, p = 0.5000" in out
    assert "exact: 95 % interval over 0 sequences: - to -" in nothing
    assert "moved against exact: - a sequence, better on 0 of 0, p = -" in nothing


def test_void_alone_is_no_object_in_attributes_and_pictures(tmp_path: Path) -> None:
    from vos.evaluation.reports.html import html_report

    for kind in ("void", "gone", "mine"):
        for folder in ("Annotations", "JPEGImages"):
            (tmp_path / kind / folder / "dog").mkdir(parents=True)
        for n in range(6):
            label_map = np.zeros((40, 60), dtype=np.uint8)
            label_map[5:15, 5:20] = n < 3 or kind == "mine"
            if kind == "void" and n > 2:
                label_map[20:38, 4:56] = 255
            vos.write_label_map(tmp_path / kind / f"Annotations/dog/{n:05d}.png", label_map)
            Image.fromarray(np.full((40, 60, 3), 90, dtype=np.uint8)).save(
                tmp_path / kind / f"JPEGImages/dog/{n:05d}.jpg"
            )
    results = [vos.evaluate(tmp_path / kind, tmp_path / "mine/Annotations") for kind in ("void", "gone")]
    assert {one.name: one.objects for one in slices(results)[0]} == {"disappears": 1, "medium": 1, "slow": 1}
    (void,), (gone,) = (re.findall("<img[^>]*>", html_report([scores])) for scores in results)
    assert "frame 00003" in void
    assert void == gone


def test_attributes_are_measured_from_the_truth() -> None:
    areas = np.array([0, 100, 100, 30, 0, 100])
    centroids = np.array([[0, 0], [0, 0], [0, 9], [0, 18], [0, 0], [0, 40]], dtype=float)
    assert attributes_of(areas, centroids, 100_000, AttributeLimits()) == {"small", "fast", "occluded", "disappears"}


@pytest.mark.parametrize(("flag", "name"), [("--json", "r.json"), ("--html", "r.html"), ("--csv", "r.csv")])
def test_no_table_or_report_is_replaced_unasked(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, name: str
) -> None:
    words = ["eval", "--gt", tree, "--pred", tree / "exact", flag, tmp_path / name]
    (tmp_path / name).write_text("mine")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "is there already. Choose another name, or --overwrite." in err
    assert (tmp_path / name).read_text() == "mine"
    assert run(capsys, *words, "--overwrite")[0] == 0


def test_tables_of_several_predictions_go_into_folders_of_their_names(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--gt", tree, "--pred", tree / "exact"]
    code, out, err = run(capsys, *words, "--pred", tree / "moved", "--csv", tmp_path / "r.csv")
    assert (code, out) == (2, "")
    assert "r.csv: a file for the tables of one --pred, and there are 2. Give a folder" in err
    for name in ("a/../../b", "..", "a/b", ""):
        code, out, err = run(capsys, *words, "--pred", f"{name}={tree}/moved", "--csv", tmp_path / "deep/tables")
        assert (code, out) == (2, "")
        assert f'--pred "{name}": no name for a folder of tables' in err
    assert not list(tmp_path.iterdir())
    assert run(capsys, *words, "--pred", f"a b={tree}/moved", "--csv", tmp_path / "tables")[0] == 0
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["a b", "exact"]


@pytest.mark.parametrize("target", ["r.html", "new/folder/r.html"])
def test_a_report_in_a_folder_that_is_not_writable_is_refused_before_the_work(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and real(path, mode))
    words = ["eval", "--gt", tree, "--pred", tree / "exact", "--html", tmp_path / target]
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert f"{tmp_path}: cannot be written to. Choose another folder." in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["eval", "davis"])
def test_a_folder_is_refused_as_a_report_before_the_work(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "r").mkdir()
    words = {"eval": ["--gt", tree, "--pred", tree / "exact"], "davis": ["--root", tree, "-o", tmp_path / "out"]}
    code, out, err = run(capsys, command, *words[command], "--html", tmp_path / "r", "--overwrite")
    assert (code, out) == (2, "")
    assert "r: is a folder, expected the name of a file." in err
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_an_outputs_folder_is_refused_before_the_work(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    words = ["eval", "--gt", tree, "--pred", tree / "exact", "--overwrite", "--json"]
    for name, kind in (("notes", "a file"), ("link", "a broken link")):
        code, out, err = run(capsys, *words, tmp_path / name / "deeper" / "r.json")
        assert (code, out) == (2, "")
        assert f"{name}: is {kind}, expected a folder." in err
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_submission_holds_masks_alone(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "exact" / "results.json").write_text("{}")
    target = tmp_path / "new" / "submission.zip"  # its folder is made
    assert run(capsys, "eval", "submission", tree / "exact", "-o", target)[0] == 0
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        assert archive.read("dog/00003.png") == (tree / "exact/dog/00003.png").read_bytes()
    assert len(names) == 2 * FRAMES
    assert names[0] == "bear/00000.png"
    results = Path(shutil.copytree(tree / "exact", tmp_path / "results"))
    shutil.copytree(results / "dog", results / ".trash")
    (tmp_path / "names.txt").write_text("dog\ndog\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for more, expected in (((), 2 * FRAMES), (("--names", tmp_path / "names.txt"), FRAMES)):
            assert run(capsys, "eval", "submission", results, "-o", target, "--overwrite", *more)[0] == 0
            with zipfile.ZipFile(target) as archive:
                assert len(archive.namelist()) == len(set(archive.namelist())) == expected
    (tmp_path / "names.txt").write_text("cat\n")
    code, _, err = run(
        capsys, "eval", "submission", tree / "exact", "-o", target, "--overwrite", "--names", tmp_path / "names.txt"
    )
    assert code == 2
    assert "no masks of 1 sequences, first cat" in err
    (results / "dog" / "run.json").write_text('{"finished": false}')
    code, _, err = run(capsys, "eval", "submission", results, "-o", target, "--overwrite")
    assert (code, err) == (
        2, f"vos: {results / 'dog'}: the run is not finished. Run it again to go on, or leave it out with --names.\n"
    )  # fmt: skip


def test_a_submission_of_a_name_that_is_not_utf_8_is_refused(tree: Path, tmp_path: Path) -> None:
    try:
        shutil.copytree(tree / "exact" / "dog", tmp_path / "results" / os.fsdecode(b"d\xffg"))
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(vos.InputError, match=r"00000\.png: its name is not UTF-8, as names in a zip file are"):
        write_submission(tmp_path / "results", tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()
