"""Clips, records and a few steps of training, on a DAVIS tree and photographs that the test draws."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vos_propagation.stages.decoder_network import TEACHER, WEIGHTS, load_decoder, widths_of
from vos_propagation.training.__main__ import main, mean_of
from vos_propagation.training.clips import Clip, ClipMaker, PhotoFolder, VideoFolder, zoomed
from vos_propagation.training.occluders import SHAPES, draw_shape, paste_occluder
from vos_propagation.training.record_cues import MEMORY_STRIDES, RECORDED, REMEMBERED, STRIDES
from vos_propagation.training.train_decoder import Records, drop_kind, erase, train

SIZE = (120, 160)


def draw(index: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    image = rng.integers(60, 120, (*SIZE, 3)).astype(np.uint8)
    label_map = np.zeros(SIZE, np.uint8)
    part = slice(30, 80), slice(20 + 4 * index, 80 + 4 * index)
    image[part], label_map[part] = rng.integers(150, 250, (50, 60, 3)), 1
    return image, label_map


def write(folder: Path, name: str, image: np.ndarray, label_map: np.ndarray, sub: str = "") -> None:
    for kind, planes, suffix in (("JPEGImages", image, "jpg"), ("Annotations", label_map, "png")):
        path = folder / kind / sub / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(planes).save(path)


@pytest.fixture
def maker(tmp_path: Path) -> ClipMaker:
    davis, photos = tmp_path / "davis", tmp_path / "photos"
    for sequence in ("one", "two"):
        for index in range(6):
            write(davis, f"{index:05d}", *draw(index), sub=f"480p/{sequence}")
    (davis / "ImageSets/2016").mkdir(parents=True)
    (davis / "ImageSets/2016/train.txt").write_text("one\ntwo\n")
    write(photos, "photo", *draw(3))
    return ClipMaker(VideoFolder(davis, "2016/train"), PhotoFolder(photos), length=3)


def test_black_and_white_masks_of_davis_2016_are_of_object_1(tmp_path: Path) -> None:
    image, label_map = draw(0)
    write(tmp_path, "00000", image, 255 * label_map, sub="480p/one")
    (tmp_path / "ImageSets/2016").mkdir(parents=True)
    (tmp_path / "ImageSets/2016/train.txt").write_text("one\n")
    assert np.array_equal(VideoFolder(tmp_path, "2016/train").read("one", 0)[1], label_map)


def test_clips_have_frames_of_one_size_and_are_the_same_for_the_same_seed(maker: ClipMaker) -> None:
    clips = [clip for clip in map(maker.draw, range(16)) if clip is not None]
    assert len(clips) > 8
    for clip in clips:
        assert {image.shape[:2] for image in clip.images} == {clip.label_maps[0].shape}
        assert clip.label_maps[0].shape[0] == 480
        assert clip.label_maps[0].any()
    assert max(int(clip.label_maps[0].max()) for clip in clips) > 1, "no object was pasted"
    again = maker.draw(3)
    first = maker.draw(3)
    assert first is not None
    assert again is not None
    assert all(np.array_equal(a, b) for a, b in zip(first.images, again.images, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_an_occluder_covers_the_middle_and_not_all(shape: str) -> None:
    for seed in range(5):
        alpha = draw_shape(shape, 60, (240, 320), random.Random(seed))
        assert alpha.shape == (240, 320)
        assert alpha[100:140, 140:180].max() > 0.5
        assert 0 < (alpha > 0.5).mean() < 0.6


def test_what_an_occluder_hides_is_background_and_looks_otherwise() -> None:
    images, label_maps = zip(*map(draw, range(4)), strict=True)
    hidden = [image.copy() for image in images], [label_map.copy() for label_map in label_maps]
    paste_occluder(*hidden, np.zeros((40, 40, 3), np.uint8), random.Random(0))
    lost = [(before == 1) & (after == 0) for before, after in zip(label_maps, hidden[1], strict=True)]
    assert any(part.any() for part in lost), "it crosses the object in no frame"
    for part, image, label_map, before in zip(lost, hidden[0], hidden[1], label_maps, strict=True):
        assert (image[part] < 140).all(), "an object's pixels are labelled as background"
        assert not (label_map > before).any()


def test_a_camera_that_zooms_moves_the_object_and_its_label_together() -> None:
    image, label_map = draw(0)
    image[label_map == 0] = 0
    clip = zoomed(Clip([image] * 4, [label_map] * 4), random.Random(2))
    for seen, labels in zip(clip.images, clip.label_maps, strict=True):
        assert ((seen.max(2) > 100) == (labels == 1)).mean() > 0.97
    assert len({int((labels == 1).sum()) for labels in clip.label_maps}) > 1


def train_from_scratch(folder: Path, out: Path) -> None:
    sources = ["--davis", str(folder / "davis"), "--photos", str(folder / "photos")]
    main([*sources, "--out", str(out), "--clips", "2", "--minutes", "0.0001", "--sides", "128"])


def test_one_command_records_and_trains_in_rounds_and_goes_on(maker: ClipMaker, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train_from_scratch(tmp_path, out)
    for folder in ("records-0", "records-1"):
        (shard,) = [torch.load(path, weights_only=True) for path in (out / folder).glob("*.pt")]
        for name, stride in (STRIDES | MEMORY_STRIDES).items():
            assert shard[name].shape[-2:] == (RECORDED[0] * 16 // stride, RECORDED[1] * 16 // stride)
        assert shard["truth"].float().amax() == 255
        assert shard["memory_masks"][:, :, 0].float().amax() == 255
        assert shard["centres"].shape[1:] == (1 + REMEMBERED, 2)
    shipped, trained = (load_decoder(path).state_dict() for path in (WEIGHTS, out / "decoder.pt"))
    assert {key: value.shape for key, value in trained.items()} == {key: value.shape for key, value in shipped.items()}
    rounds = [torch.load(out / f"round-{number}.pt", weights_only=True) for number in (1, 2)]
    teacher = torch.load(out / "teacher.pt", weights_only=True)
    assert widths_of(teacher) == TEACHER
    assert all(torch.equal(value, teacher[key]) for key, value in mean_of(*rounds).items())
    before = (out / "round-2.pt").stat().st_mtime_ns
    train_from_scratch(tmp_path, out)
    assert (out / "round-2.pt").stat().st_mtime_ns == before, "a finished training was done again"
    records = Records([out / "records-0", out / "records-1"])
    assert len(records) > 1
    first = train(records, tmp_path / "new/more.pt", seconds=60, rate=2e-3, seed=0, steps=1)
    more = train(records, tmp_path / "new/more.pt", seconds=60, rate=2e-3, seed=0, steps=2)
    assert (first.step, more.step) == (1, 2)
    assert more.seconds > first.seconds


def test_cues_are_erased_in_a_part_of_the_object_alone() -> None:
    truth = torch.zeros(80, 96)
    truth[20:60, 20:60] = 1
    parts = {"coarse": torch.ones(11, 40, 48), "fine": torch.ones(3, 80, 96), "truth": truth}
    erase(parts, random.Random(1))
    assert parts["fine"][2].min() < 0.6
    assert (parts["fine"][2] > 0.99).float().mean() > 0.5
    assert torch.equal(parts["coarse"][1], torch.ones(40, 48)), "another object's cue was changed"
    drop_kind(parts, 4)
    assert not parts["coarse"][9:].any()
    assert torch.equal(parts["fine"][2], torch.full((80, 96), 0.5))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--davis", "nowhere"], "nowhere/ImageSets/2016/train.txt: no such file. Give the root of a DAVIS tree"),
        (["--davis", "davis", "--photos", "nowhere"], "nowhere/JPEGImages: no JPEG files there"),
    ],
)
def test_folders_without_pictures_are_refused_at_once(words, message, tmp_path, maker, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", "out"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()
