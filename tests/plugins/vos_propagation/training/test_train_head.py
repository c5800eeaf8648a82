import random
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from vos_propagation.stages.fusion_head import OWN_VOTES, WEIGHTS, FusionHead, HeadSize, load_head
from vos_propagation.training.train_head import RECORDED, TEACHER_SIZE, Recorder, fit, record_clip


def clip(frames: int = 4) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A textured square that moves over a textured ground."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 120, (24, 32, 3)).astype(np.uint8), (512, 384))
    square = cv2.resize(rng.integers(100, 255, (8, 8, 3)).astype(np.uint8), (96, 96))
    images, label_maps = [], []
    for i in range(frames):
        image, label_map = ground.copy(), np.zeros((384, 512), np.uint8)
        part = slice(120, 216), slice(150 + 6 * i, 246 + 6 * i)
        image[part], label_map[part] = square, 1
        images.append(image)
        label_maps.append(label_map)
    return images, label_maps


def test_a_record_holds_cues_features_and_the_truth_of_one_square() -> None:
    records = record_clip(Recorder(None), *clip(), random.Random(0))
    assert len(records) == 3
    n = RECORDED
    shapes = [(11, n, n), (2, 2 * n, 2 * n), (152, n, n), (24, 2 * n, 2 * n), (1, 2 * n, 2 * n), (2 * n, 2 * n)]
    coarse, _, _, _, margin, truth = records[0]
    assert [tuple(part.shape) for part in records[0]] == shapes
    votes = torch.nn.functional.interpolate(coarse[None, OWN_VOTES : OWN_VOTES + 1].float(), scale_factor=2)[0, 0] > 0.5
    inside = truth > 127
    assert float((votes & inside).sum() / (votes | inside).sum()) > 0.7
    assert float(((margin[0] > 0) & inside).sum() / ((margin[0] > 0) | inside).sum()) > 0.7


def test_every_second_frame_can_be_recorded() -> None:
    every, second = (record_clip(Recorder(None), *clip(), random.Random(0), n) for n in (1, 2))
    assert (len(every), len(second)) == (3, 2)
    assert torch.equal(every[0][0], second[0][0])


def test_without_a_head_votes_are_remembered_and_with_one_its_answer() -> None:
    images, label_maps = clip(2)
    told = {}
    for name, head in (("votes", None), ("head", load_head())):
        tracker = Recorder(head)
        record_clip(tracker, images, label_maps, random.Random(0))
        told[name] = tracker.sequence.prob[1]
    assert not torch.equal(told["votes"], told["head"])
    assert ((told["votes"] > 0.5) != (told["head"] > 0.5)).float().mean() < 0.01


def test_fitting_learns_what_the_records_show() -> None:
    records = record_clip(Recorder(None), *clip(), random.Random(0))
    together = [torch.stack(parts) for parts in zip(*records, strict=True)]
    heads = fit(together, 3, 0), fit(together, 3, 0)
    assert all(torch.equal(a, b) for a, b in zip(heads[0].parameters(), heads[1].parameters(), strict=True))
    heads = (fit(together, 30, 0),)
    coarse, fine, cells, fine_cells, _, truth = (part.float() for part in together)
    errors = []
    assert HeadSize.of(heads[0].state_dict()) == TEACHER_SIZE
    for head in (FusionHead(), heads[0]):
        logits = head(coarse, fine, *head.look(cells, fine_cells))
        errors.append(torch.nn.functional.binary_cross_entropy_with_logits(logits, truth / 255).item())
    assert errors[1] < 0.7 * errors[0]


def test_a_head_is_trained_and_another_taught_from_the_command_line(tmp_path: Path) -> None:
    for folder in ("cutouts", "photographs"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    cutout = np.full((90, 90, 4), 255, np.uint8)
    cutout[..., :3] = cv2.resize(rng.integers(0, 255, (6, 6, 3)).astype(np.uint8), (90, 90))
    cv2.imwrite(str(tmp_path / "cutouts/a.png"), cutout)
    cv2.imwrite(str(tmp_path / "photographs/a.png"), rng.integers(0, 255, (400, 600, 3)).astype(np.uint8))

    def run(*arguments: str) -> None:
        command = [sys.executable, "-m", "vos_propagation.training.train_head", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    clips = "--cutouts", "cutouts", "--photographs", "photographs", "--clips", "1"
    run("record", *clips, "--out", "records")
    run("fit", "--records", "records", "--iterations", "2", "--out", "teacher.pt")
    assert HeadSize.of(load_head(tmp_path / "teacher.pt").state_dict()) == TEACHER_SIZE
    run("record", *clips, "--out", "varied", "--varied", "--head", "teacher.pt", str(WEIGHTS))
    taught = [sys.executable, "-m", "vos_propagation.training.teach_head", "--records", "varied", "--iterations", "2"]
    taught += ["--teacher", "teacher.pt", "--out", "head.pt"]
    subprocess.run(taught, cwd=tmp_path, check=True, capture_output=True)
    assert HeadSize.of(load_head(tmp_path / "head.pt").state_dict()) == HeadSize()
