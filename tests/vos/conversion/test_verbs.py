"""``vos export``, ``vos import`` and ``vos eval --pred FILE``."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import vos
from vos.cli import cli
from vos.testing import StubTracker, tiny_sequence


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


def test_a_folder_without_masks_is_told(tmp_path):
    assert "no masks (PNG) in it" in str(run("export", tmp_path, "--to", "coco").exception)
    assert "no such folder" in str(run("export", tmp_path / "x", "--to", "coco").exception)
