"""Outputs on the disk: an address is refused, of which a folder named ``s3:`` would be made."""

import numpy as np
import pytest

import vos
from vos.cli import main
from vos.testing import StubTracker, tiny_sequence


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A clip, its mask, a finished run and a file of another tool."""
    monkeypatch.chdir(tmp_path)
    sequence = tiny_sequence("moving", length=2)
    frames, _ = sequence.save(tmp_path / "clip")
    frames.rename("frames")
    vos.write_label_map(tmp_path / "mask.png", np.asarray(sequence.label_maps[0]))
    run = vos.track("frames", "mask.png", tracker=StubTracker(), output=tmp_path / "runs").run
    vos.export(run.output, "coco", tmp_path / "coco.json")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("init", "frames", "--box", "1:10,10,30,30", "-o", "s3://bucket/a.png"),
        ("init", "frames", "--box", "1:10,10,30,30", "-o", "a.png", "--preview", "s3://bucket/a.png"),
        ("init", "frames", "frames/00001.png", "--box", "1:10,10,30,30", "-o", "file:///tmp/masks"),
        ("frame", "frames", "-o", "s3://bucket/a.png"),
        ("export", "runs/frames", "--to", "coco", "-o", "s3://bucket/a.json"),
        ("import", "coco.json", "-o", "s3://bucket/masks"),
        ("eval", "--gt", "runs", "--pred", "runs", "--json", "gs://bucket/scores.json"),
    ],
)
def test_an_address_is_refused_and_no_folder_is_made(words, folder, capsys):
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        main(list(words))
    assert "://" in (message := capsys.readouterr().err)
    assert "is an address, expected a path on the disk." in message
    assert sorted(folder.rglob("*")) == before
