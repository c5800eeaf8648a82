"""Train the click decoder on annotated pictures, with clicks simulated on its own errors.

    python -m vos_grabcut.training.train_click_decoder --data FOLDER [FOLDER ...] --out decoder.pt

A folder holds ``JPEGImages`` and ``Annotations``, as DAVIS does. Training follows RITM (Sofiiuk et al.,
arXiv:2102.06583): random clicks first, then clicks at the centre of the largest error of the decoder's own answer,
which it sees as the previous mask.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, BoolArray
from vos_grabcut.clicks.network import STRIDE, ClickDecoder
from vos_grabcut.clicks.prompt_maps import coarser, prompt_maps, seed_similarities
from vos_grabcut.training.samples import SIDE, VOID, Sample, annotated_images, make_samples
from vos_propagation.backbone.efficientnet_lite import load_efficientnet_lite

CELLS = SIDE // STRIDE
BATCH = 8
LEARNING_RATE = 3e-3
BOX_SHARE = 0.2
"""Share of the objects that have a box besides clicks."""


@dataclass
class Prompted:
    """One object of a square, and what has been said of it.

    Attributes:
        sample: the square.
        target: float32 (CELLS, CELLS), share of the object in each cell.
        weight: float32 (CELLS, CELLS), 0 in void.
        on_object: bool (CELLS, CELLS).
        beside: bool (CELLS, CELLS).
        box: bool (CELLS, CELLS).
        previous: float32 (CELLS, CELLS).
    """

    sample: Sample
    target: AnyArray
    weight: AnyArray
    on_object: BoolArray
    beside: BoolArray
    box: BoolArray
    previous: AnyArray


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the weights in float16."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--leave-out", nargs="*", default=[], help="sequences that are not used")
    parser.add_argument("--every", type=int, default=6, help="of a sequence's frames one in so many")
    parser.add_argument("--photo-squares", type=int, default=12, help="squares of each still photograph")
    parser.add_argument("--frame-squares", type=int, default=2, help="squares of each frame of a sequence")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    torch.manual_seed(chosen.seed)
    rng = np.random.default_rng(chosen.seed)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    samples = _samples(chosen, rng)
    if not samples:
        parser.error("no annotated object found: expected JPEGImages/**/X.jpg and Annotations/**/X.png in each --data.")
    print(f"{len(samples)} squares with {sum(len(s.object_ids) for s in samples)} objects")
    decoder = train(samples, chosen.steps, rng)
    torch.save({name: value.half() for name, value in decoder.state_dict().items()}, chosen.out)


def train(samples: Sequence[Sample], steps: int, rng: np.random.Generator) -> ClickDecoder:
    """Train a decoder from scratch."""
    decoder = ClickDecoder().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(decoder.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    began, losses = time.perf_counter(), []
    for step in range(steps):
        batch = [_prompted(samples[int(rng.integers(len(samples)))], rng) for _ in range(BATCH)]
        decoder.eval()
        for _ in range(int(rng.integers(0, 3))):
            _click_on_errors(decoder, batch, rng)
        decoder.train()
        logits = _answers(decoder, batch)
        loss = _loss(logits, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 25 == 24:
            print(f"step {step + 1}: loss {np.mean(losses[-25:]):.4f}, {time.perf_counter() - began:.0f} s", flush=True)
    return decoder.eval()


def _samples(chosen: argparse.Namespace, rng: np.random.Generator) -> list[Sample]:
    network = load_efficientnet_lite().to(memory_format=torch.channels_last)
    samples: list[Sample] = []
    for folder in chosen.data:
        found = list(annotated_images(folder, chosen.every, chosen.leave_out))
        stills = [pair for pair in found if pair[0].parent.name == "JPEGImages"]
        frames = [pair for pair in found if pair[0].parent.name != "JPEGImages"]
        samples += make_samples(stills, network, chosen.photo_squares, rng)
        samples += make_samples(frames, network, chosen.frame_squares, rng)
    return samples


def _prompted(sample: Sample, rng: np.random.Generator) -> Prompted:
    """Choose an object of a square, and click on it once or several times."""
    object_id = sample.object_ids[int(rng.integers(len(sample.object_ids)))]
    mask = sample.label_map == object_id
    target = cv2.resize(mask.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    void = cv2.resize((sample.label_map == VOID).astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    none = np.zeros((CELLS, CELLS), bool)
    made = Prompted(sample, target, 1 - void, none, none.copy(), none.copy(), np.zeros((CELLS, CELLS), np.float32))
    inside = target > 0.5 if (target > 0.5).any() else target >= target.max()
    made.on_object = _marked(inside, rng, centred=rng.random() < 0.6)
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.4 else 0):
        made.on_object |= _marked(inside, rng, centred=False)
    band = cv2.dilate(inside.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    outside = band & (target < 0.1) & (void < 0.5)
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.4 and outside.any() else 0):
        made.beside |= _marked(outside, rng, centred=False)
    if rng.random() < BOX_SHARE:
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        shift = rng.normal(0, 0.04 * CELLS * 0.5, 4).round().astype(int)
        y0, y1 = max(0, rows[0] + shift[0]), max(rows[0] + 1, rows[-1] + 1 + shift[1])
        x0, x1 = max(0, columns[0] + shift[2]), max(columns[0] + 1, columns[-1] + 1 + shift[3])
        made.box[y0:y1, x0:x1] = True
        if rng.random() < 0.6:
            made.on_object, made.beside = none.copy(), none.copy()
    return made


def _marked(region: BoolArray, rng: np.random.Generator, centred: bool) -> BoolArray:
    """Click on a random cell of a region, or near its centre."""
    distance = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    ys, xs = np.nonzero(distance >= (0.75 * distance.max() if centred else 0.5))
    place = int(rng.integers(len(ys)))
    marks = np.zeros(region.shape, np.uint8)
    cv2.circle(marks, (int(xs[place]), int(ys[place])), 1, 1, -1)
    return np.asarray(marks > 0)


def _click_on_errors(decoder: ClickDecoder, batch: Sequence[Prompted], rng: np.random.Generator) -> None:
    with torch.inference_mode():
        found = torch.sigmoid(_answers(decoder, batch))[:, 0].numpy()
    for one, probability in zip(batch, found, strict=True):
        answer, truth, known = probability > 0.5, one.target > 0.5, one.weight > 0.5
        missing, wrong = truth & ~answer & known, answer & ~truth & known
        if not missing.any() and not wrong.any():
            continue
        region = _largest(missing) if missing.sum() >= wrong.sum() else _largest(wrong)
        marks = _marked(region, rng, centred=rng.random() < 0.8)
        if missing.sum() >= wrong.sum():
            one.on_object = one.on_object | (marks & (one.target > 0))
        else:
            one.beside = one.beside | (marks & (one.target < 1))
        one.previous = probability.astype(np.float32)


def _largest(region: BoolArray) -> BoolArray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    return np.asarray(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()) if count > 1 else region


def _answers(decoder: ClickDecoder, batch: Sequence[Prompted]) -> Tensor:
    features = {
        s: torch.stack([one.sample.features[s] for one in batch]).float().contiguous(memory_format=torch.channels_last)
        for s in (4, 8, 16)
    }
    maps = [prompt_maps(one.on_object, one.beside, one.box, one.previous) for one in batch]
    similarities = {
        stride: torch.stack([
            seed_similarities(
                features[stride][k], coarser(one.on_object, stride // STRIDE), coarser(one.beside, stride // STRIDE)
            )
            for k, one in enumerate(batch)
        ])
        for stride in (8, 16)
    }  # fmt: skip
    logits: Tensor = decoder(features, torch.from_numpy(np.stack(maps)), similarities)
    return logits


def _loss(logits: Tensor, batch: Sequence[Prompted]) -> Tensor:
    """Binary cross-entropy and soft IoU, without void."""
    target = torch.from_numpy(np.stack([one.target for one in batch]))[:, None]
    weight = torch.from_numpy(np.stack([one.weight for one in batch]))[:, None]
    entropy = F.binary_cross_entropy_with_logits(logits, target, weight)
    probability = torch.sigmoid(logits) * weight
    both = (probability * target).sum(dim=(1, 2, 3))
    either = (probability + target * weight - probability * target).sum(dim=(1, 2, 3))
    return 2 * entropy + (1 - both / either.clamp(min=1.0)).mean()


if __name__ == "__main__":
    main()
