"""Steps of training of the primary object network, on a sequence and a photograph that the test draws."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vos_primary.motion import OFFSETS
from vos_primary.network import PrimaryObjectNetwork
from vos_primary.training import clips
from vos_primary.training.clips import MovingClips, read_photographs, read_sequences
from vos_primary.training.train_primary import main
from vos_propagation.ops.shipped_weights import load_shipped_weights


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Draw a sequence "ball" of a bright disk that moves, and a photograph of two objects."""
    noise = np.random.default_rng(0).integers(0, 120, (120, 200, 3), dtype=np.uint8)
    for name in ("JPEGImages/480p/ball", "Annotations/480p/ball", "photos/JPEGImages", "photos/Annotations"):
        (tmp_path / name).mkdir(parents=True)
    for index in range(10):
        disk = cv2.circle(np.zeros((120, 200), np.uint8), (60 + 6 * index, 60), 24, 255, -1)
        image = np.where(disk[..., None] > 0, 240, noise).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / f"JPEGImages/480p/ball/{index:05d}.jpg")
        Image.fromarray(disk).save(tmp_path / f"Annotations/480p/ball/{index:05d}.png")
    Image.fromarray(noise).save(tmp_path / "photos/JPEGImages/one.jpg")
    instances = np.zeros((120, 200), np.uint8)
    instances[20:60, 20:80], instances[70:100, 120:180] = 1, 2
    Image.fromarray(instances).save(tmp_path / "photos/Annotations/one.png")
    (tmp_path / "train.txt").write_text("ball\n")
    return tmp_path


def test_a_clip_shows_its_objects_in_every_frame(data: Path) -> None:
    sequences = read_sequences(data, data / "train.txt")
    made = MovingClips(sequences, read_photographs(data / "photos"), 0)
    kinds = set()
    for clip in (made.make() for _ in range(60)):
        assert clip.image.shape == (*clips.SIZE, 3)
        assert clip.mask.shape == clips.SIZE
        assert clips.AREA[0] <= clip.mask.mean() <= clips.AREA[1]
        assert len(clip.others) == len(OFFSETS)
        kinds.add(sum(other is not None for other in clip.others))
    assert {0, len(OFFSETS)} <= kinds
    plain = MovingClips(sequences, [], 0)
    brightness = [
        (clip.image[clip.mask].mean(), clip.image[~clip.mask].mean()) for clip in (plain.make() for _ in range(20))
    ]
    assert all(inside > outside + 20 for inside, outside in brightness)


def test_steps_write_weights_to_a_new_folder(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vos_primary.training.train_primary.BATCH", 2)
    sources = ["--davis", str(data), "--split", str(data / "train.txt"), "--photos", str(data / "photos")]
    main([*sources, "--steps", "2", "--out", str(data / "new" / "network.pt")])
    assert "1 sequences and 1 photographs" in capsys.readouterr().out
    load_shipped_weights(PrimaryObjectNetwork(), data / "new" / "network.pt")
    not_there = str(data / "no" / "network.pt")
    (data / "other.txt").write_text("bear\n")
    (data / "none.txt").write_text("\n")
    for arguments, message in (
        ([*sources, "--steps", "0", "--out", not_there], "--steps 0: expected 1 or more"),
        ([*sources, "--out", str(data / "new")], "is a folder"),
        (["--davis", str(data), "--split", str(data / "other.txt"), "--out", not_there], "bear: no frames"),
        (["--davis", str(data), "--split", str(data / "no.txt"), "--out", not_there], "no.txt"),
        (["--davis", str(data), "--split", str(data / "none.txt"), "--out", not_there], "names no sequence"),
        ([*sources, "--photos", str(data / "photo"), "--out", not_there], "no JPEG files there"),
        ([*sources, "--leave-out", "onne", "--out", not_there], "no onne.jpg, which --leave-out names"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
    assert not (data / "no").exists()
