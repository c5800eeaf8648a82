"""``vos export``, ``vos import`` and ``vos eval --pred FILE``."""

import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vos
import vos.cli_options.executor_options
from vos.cli import cli
from vos.testing import StubTracker, tiny_sequence
from vos_batch.one_job import run_job


@pytest.fixture
def finished(tmp_path):
    """A run of a folder of images, and the truth beside it."""
    sequence = tiny_sequence("moving", object_ids=(1, 2), length=4)
    frames, masks = sequence.save(tmp_path / "clip")
    truth = tmp_path / "truth" / sequence.name
    shutil.copytree(masks, truth)
    return vos.track(
        frames, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path / "out", sequence=sequence.name
    ).run


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=True)


def test_a_finished_run_is_exported_imported_and_scored(finished, tmp_path):
    done = run("export", finished.output, "--to", "coco", "-o", tmp_path / "c.json", "--images", "--polygons")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'c.json'}\n"), done.output
    assert len(list((tmp_path / "images").iterdir())) == 4
    done = run("import", tmp_path / "c.json", "-o", tmp_path / "again")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'again' / finished.sequence}\n"), done.output
    for path in finished.output.glob("*.png"):
        again = tmp_path / "again" / finished.sequence / path.name
        assert np.array_equal(vos.read_label_map(path), vos.read_label_map(again))
    truth = tmp_path / "truth"
    scores = [run("eval", "--gt", truth, "--pred", pred).stdout for pred in (tmp_path / "c.json", tmp_path / "out")]
    assert "J&F" in scores[0]
    rows = [[line.split()[1:] for line in text.splitlines()[1:]] for text in scores]  # without the name
    assert rows[0] == rows[1]


def test_a_file_of_another_tool_is_read_once_for_its_scores(finished, tmp_path):
    (path,) = vos.export(finished.output, "tar", tmp_path / "masks.tar")
    done = run("eval", "--gt", tmp_path / "truth", "--pred", path)
    assert done.stderr == f"vos: {path}: read as tar.\n"


def test_faults_of_a_file_of_another_tool_name_the_file(finished, tmp_path):
    (path,) = vos.export(finished.output, "tar", tmp_path / "masks.tar")
    truth = tmp_path / "truth"
    shutil.copytree(truth / finished.sequence, truth / "other")
    fault = f"{path}: 1 fault, nothing was scored.\n  {path}/other: no such folder"
    assert fault in str(run("eval", "--gt", truth, "--pred", path).exception)


@pytest.mark.parametrize("missing", ["error", "zero"])
def test_masks_in_one_file_a_sequence_are_never_scored_as_missing(finished, tmp_path, missing):
    vos.export(finished.output, "tar", tmp_path / "shards" / finished.sequence / "masks.tar")
    shutil.copy(finished.output / "run.json", tmp_path / "shards" / finished.sequence)
    done = run("eval", "--gt", tmp_path / "truth", "--pred", tmp_path / "shards", "--missing", missing)
    message = str(done.exception)
    assert f"{finished.sequence}/masks.tar: no PNG file beside it, as masks are scored (vos import makes" in message
    assert "--missing zero" not in message


@pytest.mark.parametrize(("prefix", "annotated"), [("", [0, 1, 2, 3]), ("0:", [0]), ("2:", [2])])
@pytest.mark.parametrize("to", ["coco", "cvat", "npz"])
def test_each_frame_of_a_file_of_another_tool_is_an_annotation(finished, tmp_path, to, prefix, annotated):
    (path,) = vos.export(finished.output, to, tmp_path / "file")
    words = ("track", finished.source.location, "--mask", f"{prefix}{path}", "--quality", "fast", "-o", tmp_path / "t")
    done = run(*words, "--sequence", "s")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "t" / "s" / "run.json").read_text())["annotated"] == annotated


def test_an_overlay_is_drawn_again_from_the_source(finished, tmp_path):
    done = run("export", finished.output, "--to", "overlay", "-o", tmp_path / "o.webm")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "o.webm").stat().st_size > 500


def test_an_export_that_is_there_is_replaced_only_with_overwrite(finished, tmp_path):
    words = ("export", finished.output, "--to", "npz", "-o", tmp_path / "m.npz")
    assert run(*words).exit_code == 0
    before = (tmp_path / "m.npz").read_bytes()
    refused = run(*words)
    assert isinstance(refused.exception, vos.InputError)
    assert "is there already" in str(refused.exception)
    assert (tmp_path / "m.npz").read_bytes() == before
    assert run(*words, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "cvta"), 'no format or writer named "cvta". Formats: coco, cvat'),
        (("--to", "labelme"), '"labelme" is only read'),
        (("--to", "npz", "--polygons"), "no option"),
    ],
)
def test_wrong_usage_is_told(finished, words, message):
    refused = run("export", finished.output, *words)
    assert message in str(refused.exception)


def test_grey_steps_are_the_same_objects_in_all_masks_of_a_folder(tmp_path, caplog):
    for k, values in enumerate(([85, 170, 255], [85, 170, 0], [0, 0, 255])):
        Image.fromarray(np.kron([[0, *values]], np.ones((8, 8))).astype(np.uint8)).save(tmp_path / f"{k:05d}.png")
    with caplog.at_level("INFO", logger="vos"):
        (path,) = vos.export(tmp_path, "npz", tmp_path / "m.npz")
    assert np.load(path)["label_maps"][:, :1, ::8].tolist() == [[[0, 1, 2, 3]], [[0, 1, 2, 0]], [[0, 0, 0, 3]]]
    assert caplog.text.count("grey values 85, 170, 255 in equal steps, read as objects 1 to 3") == 1


def test_a_folder_without_masks_is_told(tmp_path):
    assert "no masks (PNG) in it" in str(run("export", tmp_path, "--to", "coco").exception)
    assert "no such folder" in str(run("export", tmp_path / "x", "--to", "coco").exception)


class InThisProcess:
    """An executor for tests: the worker and its jobs in this process, all events at the end."""

    def run(self, plan, jobs):
        worker, events = plan.make(), []
        for job in jobs:
            run_job(worker, job, "here", events.append)
        yield from events


@pytest.mark.parametrize("workers", [False, True])
def test_several_results_are_exported_and_one_that_fails_leaves_the_others(finished, tmp_path, monkeypatch, workers):
    for name in ("a", "b", "c"):
        shutil.copytree(finished.output, tmp_path / name / name)
        record = json.loads((tmp_path / name / name / "run.json").read_text())
        (tmp_path / name / name / "run.json").write_text(json.dumps(record | {"sequence": name}))
    next((tmp_path / "b" / "b").glob("*.png")).write_bytes(b"no picture")
    monkeypatch.setattr(vos.cli_options.executor_options, "chosen_executor", lambda *given: InThisProcess())
    words = ["export", *(tmp_path / name for name in "abc"), "--to", "npz", *(["-j", 2] if workers else [])]
    refused = run(*words, "-o", tmp_path / "out")
    assert isinstance(refused.exception, vos.InputError)
    assert str(refused.exception).startswith("1 of 3 sequences failed; the others are done.\n")
    assert [str(path.relative_to(tmp_path / "out")) for path in sorted((tmp_path / "out").rglob("*.npz"))] == [
        "a/masks.npz", "c/masks.npz",
    ]  # fmt: skip
    done = run("export", tmp_path / "a", tmp_path / "c", *words[4:], "-o", tmp_path / "two")
    assert (done.exit_code, done.stdout) == (0, "".join(f"{tmp_path}/two/{n}/masks.npz\n" for n in "ac")), done.output
    alone = run("export", tmp_path / "a", *words[4:], "-o", tmp_path / "one.npz")
    assert (alone.exit_code, alone.stdout) == (0, f"{tmp_path}/one.npz\n")
    assert (tmp_path / "one.npz").is_file()
    assert not list((tmp_path / "a").rglob("*.npz"))
    refused = run("export", tmp_path / "b", *words[4:], "-o", tmp_path / "b.npz")
    assert "not a picture" in str(refused.exception)
    assert "sequences failed" not in str(refused.exception)
    shutil.copytree(tmp_path / "a", tmp_path / "d")
    clash = run("export", tmp_path / "a", tmp_path / "d", *words[4:], "-o", tmp_path / "three")
    assert "would both be written to" in str(clash.exception)
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize(
    ("earlier", "later", "frames"),
    [
        ({}, {"stop": 2}, [0, 1]),
        ({}, {"step": 3}, [0, 3]),
        ({}, {"start": 2}, [2, 3]),
        ({"step": 2}, {"stop": 2}, [0, 1]),
    ],
)
def test_masks_that_an_earlier_run_left_are_no_part_of_an_export(tmp_path, earlier, later, frames):
    sequence = tiny_sequence("moving", object_ids=(1, 2), length=4)
    source, _ = sequence.save(tmp_path / "clip")
    for more in (earlier, later):
        given = {more.get("start", 0): sequence.label_maps[0]}
        folder = vos.track(
            source, given, tracker=StubTracker(), output=tmp_path / "out", overwrite=True, sequence="s", **more
        ).run.output
    masks = len(list(folder.glob("*.png")))
    done = run("export", folder, "--to", "npz", "-o", tmp_path / "m.npz")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "m.npz") as held:
        assert held["indices"].tolist() == frames
    assert f"{masks - len(frames)} masks of frames that the recorded run does not have (first 0000" in done.stderr
    assert sorted(vos.to_table(folder)["frame_index"].unique()) == frames


def test_masks_that_are_gone_are_said_to_be(finished):
    (finished.output / "00001.png").unlink()
    done = run("export", finished.output, "--to", "npz")
    assert done.exit_code == 0, done.output
    assert "of the recorded run's 4 masks, 3 are here." in done.stderr


def test_masks_that_nothing_tells_apart_are_refused(finished):
    shutil.copy(finished.output / "00001.png", finished.output / "10001.png")
    (finished.output / "00001.png").rename(finished.output / "10000.png")
    refused = run("export", finished.output, "--to", "npz")
    assert isinstance(refused.exception, vos.InputError)
    assert "holds 5 masks, its run.json is of a run of 4 frames" in str(refused.exception)


@pytest.mark.parametrize(
    ("length", "size", "message"),
    [
        (3, None, "00003.png: is the mask of frame 3, and .* has 3 frames, from 0. Give the video .* --source"),
        (1, None, "00003.png: is the mask of frame 3, and .* has 1 frame, from 0"),
        (4, (20, 30), "00003.png: the mask is 64x48, the frames of .* are 30x20. Give the video"),
    ],
)
@pytest.mark.parametrize("to", ["cutouts", "coco"])
def test_another_video_is_refused_before_anything_is_written(finished, tmp_path, to, length, size, message):
    frames, _ = tiny_sequence(length=length, **({} if size is None else {"size": size})).save(tmp_path / "o")
    refused = run("export", finished.output, "--to", to, "-o", tmp_path / "new" / "x", "--source", frames)
    assert isinstance(refused.exception, vos.InputError)
    assert re.search(message, str(refused.exception))
    assert not (tmp_path / "new").exists()
