"""Clips, records and a few steps of training, on a DAVIS tree and photographs that the test draws."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vos_propagation.stages.decoder_network import WEIGHTS, load_decoder
from vos_propagation.training.clips import ClipMaker, PhotoFolder, VideoFolder
from vos_propagation.training.record_cues import RECORDED, STRIDES, Recorder
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


@pytest.fixture
def records(maker: ClipMaker, tmp_path: Path) -> Path:
    clip = next(clip for clip in map(maker.draw, range(16)) if clip is not None and len(clip.images) == 3)
    found = Recorder(128, None).record(clip, random.Random(0))
    (tmp_path / "records").mkdir()
    together = {name: torch.stack([record[name] for record in found]) for name in found[0]}
    torch.save(together, tmp_path / "records" / "000000-000001.pt")
    return tmp_path / "records"


def test_records_are_learnt_from_and_a_stopped_training_goes_on(records: Path, tmp_path: Path) -> None:
    shard = torch.load(records / "000000-000001.pt", weights_only=True)
    for name, stride in STRIDES.items():
        assert shard[name].shape[-2:] == (RECORDED[0] * 16 // stride, RECORDED[1] * 16 // stride)
    assert shard["truth"].float().amax() == 255
    out = tmp_path / "decoder.pt"
    first = train(Records([records]), out, seconds=60, rate=2e-3, seed=0, steps=1)
    assert first.step == 1
    more = train(Records([records]), out, seconds=60, rate=2e-3, seed=0, steps=2)
    assert more.step == 2
    assert more.seconds > first.seconds
    assert load_decoder(out).leave.weight.shape == load_decoder(WEIGHTS).leave.weight.shape


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
