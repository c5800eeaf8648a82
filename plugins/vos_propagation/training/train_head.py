"""Train a large head, the teacher: record its cues while tracking drawn clips, then fit it to the clips' masks.

    python -m vos_propagation.training.train_head record --cutouts DIR --photographs DIR --out RECORDS [--votes-alone]
    python -m vos_propagation.training.train_head fit --records RECORDS --out HEAD [--start HEAD]

What the head answers becomes the tracker's memory, so it is trained in rounds: first on what the
tracker does by votes alone, then on what it does with the head of the round before. The head that the
tracker uses is a smaller one, which ``teach_head.py`` teaches what this one answers.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import Frame, Image, LabelMap, Runtime, object_ids
from vos_propagation.backbone.features import FrameFeatures, has_fast_bf16
from vos_propagation.config import PropagationOptions
from vos_propagation.frame_state import FrameState
from vos_propagation.ops.boxes import Box
from vos_propagation.pipeline import PropagationTracker
from vos_propagation.stages.decoder import Decoder
from vos_propagation.stages.fusion_head import LOGIT_LIMIT, FusionHead, HeadSize, load_head, votes_margin
from vos_propagation.training.synthetic_clips import SIZE, draw_clip

# Cells of 8 px, of a recorded square and of the square that a training step cuts out of it.
RECORDED, CROP = 32, 28
BATCH = 12
LEARNING_RATE = 3e-3
IOU_PRIOR = 10.0
# How often a square is learnt without one kind of cue, and without the image at one resolution.
CUE_DROPPED, IMAGE_DROPPED = 0.25, 0.15
# First channels of the kinds of coarse cues, and the end of the last kind; the votes are never dropped.
CUE_KINDS = (0, 2, 4, 6, 9)
# An object smaller than this in the first frame is not worth learning from, pixels.
SMALLEST = 150
# One clip in so many remembers mostly votes, so that the head also learns to mend a bad memory.
HARD_CLIP, HARD_SHARE = 4, 0.3
DRAWN_CLIP = 6

# A varied clip is worked on at one of these short sides, pixels, and every so many of its frames are tracked.
SIDES, STEPS = (384, 448, 512), (1, 1, 1, 2, 3)
# How often a varied clip remembers mostly votes. Of one that is tracked frame by frame, every so many are recorded.
VARIED_HARD, VARIED_EVERY = 0.2, 2

TEACHER = Path(__file__).parent / "teacher.pt"
TEACHER_SIZE = HeadSize(width=48, fine_width=24, coarse_look=32, fine_look=16, separable=False)

Record: TypeAlias = tuple[Tensor, ...]
"""Of one object in a square: coarse cues (11, n, n), fine cues (2, 2 n, 2 n), features (152, n, n) and
(24, 2 n, 2 n), the fine votes' margin (1, 2 n, 2 n), all float16, and the true mask uint8 (2 n, 2 n) in 0..255."""


class Recorder(PropagationTracker):
    """The tracker, keeping what the head sees; ``share`` of what is remembered is the head's, the rest votes."""

    def __init__(self, head: FusionHead | None, side: int = SIZE[0]) -> None:
        super().__init__(PropagationOptions(side=side), Runtime(device="cpu"))
        self.share = 1.0
        self._votes_alone = head is None
        decoder = next(stage for stage in self.stages if isinstance(stage, Decoder))
        if head is not None:
            decoder.network = head.to(next(decoder.network.parameters()).dtype)
        self._decode = decoder.decode
        decoder.decode = self._record  # type: ignore[method-assign]
        self.told: tuple[FrameFeatures, Tensor, Tensor, Tensor, Sequence[Box | None]] | None = None

    def _record(self, frame: FrameState, coarse: Tensor, fine: Tensor, margin: Tensor) -> Tensor:
        self.told = frame.features, coarse, fine, margin, frame.boxes_s8
        answer = self._decode(frame, coarse, fine, margin)
        share = 0.0 if self._votes_alone else self.share
        plain = LOGIT_LIMIT * votes_margin(coarse.float())
        plain = F.interpolate(plain, scale_factor=2, mode="bilinear", align_corners=False)[:, 0]
        return share * answer + (1 - share) * torch.where(answer > -LOGIT_LIMIT, plain, answer)


def record_clip(
    tracker: Recorder, images: Sequence[Image], label_maps: Sequence[LabelMap], rng: random.Random, every: int = 1
) -> list[Record]:
    """Track a clip and cut a square near each object out of each frame's cues.

    Args:
        tracker: records as it tracks.
        images: uint8 (H, W, 3), RGB.
        label_maps: the truth.
        rng: of where the squares are.
        every: how many frames there are to one that is recorded.
    Returns:
        A record for each object and recorded frame but the first.
    """
    records: list[Record] = []
    ids = object_ids(label_maps[0])
    for index, (image, label_map) in enumerate(zip(images, label_maps, strict=True)):
        frame = Frame(index, image, str(index))
        encoding = tracker.encode([frame])[0]
        if index == 0:
            tracker.start(frame, label_map, encoding)
            continue
        tracker.step(frame, encoding)
        if (index - 1) % every:
            continue
        assert tracker.told is not None
        _, coarse, fine, margin, boxes = tracker.told
        size_wh = encoding.grey.shape[::-1]
        for k, box in enumerate(boxes):
            if box is None:
                continue
            mask = cv2.resize((label_map == ids[k]).astype(np.uint8) * 255, size_wh, interpolation=cv2.INTER_AREA)
            y, x = _square(box, coarse.shape[2:], rng)
            yy, xx = slice(2 * y.start, 2 * y.stop), slice(2 * x.start, 2 * x.stop)
            planes = coarse[k, :, y, x], fine[k, :, yy, xx], encoding.cells[:, y, x], encoding.fine[:, yy, xx]
            parts = [part.half().clone() for part in (*planes, margin[k, :, yy, xx])]
            records.append((*parts, torch.from_numpy(mask[yy, xx].copy())))
    return records


def _square(box: Box, size: Sequence[int], rng: random.Random) -> Box:
    """Place a square of ``RECORDED`` cells about a point of the box, now and then of the whole frame."""
    if rng.random() < 0.1:
        box = slice(0, size[0]), slice(0, size[1])
    sides = []
    for part, length in zip(box, size, strict=True):
        first = int(min(max(rng.uniform(part.start, part.stop) - RECORDED // 2, 0), length - RECORDED))
        sides.append(slice(first, first + RECORDED))
    return sides[0], sides[1]


def fit(
    records: Sequence[Tensor], iterations: int, seed: int, start: FusionHead | None = None, rate: float = LEARNING_RATE
) -> FusionHead:
    """Fit a head to records.

    Args:
        records: the parts of a ``Record``, each of all records together along a first axis.
        iterations: of ``BATCH`` squares of ``CROP`` cells.
        seed: of the initial weights and of the squares.
        start: a head to go on from, in place of a new one.
        rate: the learning rate, after a warm-up and before it falls to nothing.
    Returns:
        The trained head.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    head = (start or FusionHead(TEACHER_SIZE)).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=1e-3)
    losses = []
    for iteration in range(iterations):
        warm_up = min(1.0, (iteration + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm_up * (0.5 + 0.5 * np.cos(np.pi * iteration / iterations) + 0.01)
        crops = [crop(records, rng.randrange(len(records[0])), rng) for _ in range(BATCH)]
        coarse, fine, cells, fine_cells, _, truth = (torch.stack(planes) for planes in zip(*crops, strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16(torch.device("cpu"))):
            head_features = [
                look * (torch.rand(BATCH, 1, 1, 1) > IMAGE_DROPPED) for look in head.look(cells, fine_cells)
            ]
            logits = head(coarse, fine, *head_features)
        loss = _loss(logits.float(), truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if (iteration + 1) % 100 == 0:
            print(f"{iteration + 1} of {iterations}: loss {np.mean(losses[-100:]):.4f}", file=sys.stderr, flush=True)
    return head


def _loss(logits: Tensor, truth: Tensor) -> Tensor:
    prob = torch.sigmoid(logits)
    shared = (prob * truth).sum((1, 2))
    union = (prob + truth - prob * truth).sum((1, 2))
    overlap = (shared + IOU_PRIOR) / (union + IOU_PRIOR)
    return 2 * F.binary_cross_entropy_with_logits(logits, truth) + (1 - overlap).mean()


def crop(records: Sequence[Tensor], index: int, rng: random.Random, dropped: float = CUE_DROPPED) -> list[Tensor]:
    """Cut a smaller square out of a record; flip it, and drop one kind of cue, at random.

    Args:
        records: the parts of a ``Record``, each of all records together along a first axis.
        index: which record.
        rng: of the square, the flips and the cues.
        dropped: how often one kind of cue is 0.
    Returns:
        The parts, float32, ``CROP`` cells of 8 px along a side; the mask in 0..1.
    """
    y, x = rng.randrange(RECORDED - CROP + 1), rng.randrange(RECORDED - CROP + 1)
    flips = [axis for axis, chance in ((-1, 0.5), (-2, 0.2)) if rng.random() < chance]
    parts = []
    for part in records:
        scale = part.shape[-1] // RECORDED
        square = part[index][..., scale * y : scale * (y + CROP), scale * x : scale * (x + CROP)]
        parts.append(square.float().flip(flips))
    if rng.random() < dropped:
        kind = rng.randrange(len(CUE_KINDS) - 1)
        parts[0][CUE_KINDS[kind] : CUE_KINDS[kind + 1]] = 0
        if kind == 0:
            parts[1].zero_()
    return [*parts[:-1], parts[-1] / 255]


def _record(arguments: argparse.Namespace) -> None:
    cutouts, photographs = (sorted(path.iterdir()) for path in (arguments.cutouts, arguments.photographs))
    drawings = sorted(arguments.drawings.iterdir()) if arguments.drawings else cutouts
    heads = [None] if arguments.votes_alone else [load_head(path) for path in arguments.head]
    sides = SIDES if arguments.varied else SIZE[:1]
    trackers = {(side, which): Recorder(head, side) for side in sides for which, head in enumerate(heads)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    for seed in range(arguments.first, arguments.first + arguments.clips):
        images, label_maps = draw_clip(cutouts if seed % DRAWN_CLIP else drawings, photographs, seed)
        ids = object_ids(label_maps[0])
        if not ids or min(np.count_nonzero(label_maps[0] == i) for i in ids) < SMALLEST:
            continue
        rng = random.Random(seed)
        step, side, which, every = 1, sides[0], 0, 1
        share = HARD_SHARE if seed % HARD_CLIP == HARD_CLIP - 1 else 1.0
        if arguments.varied:
            step, side, which = rng.choice(STEPS), rng.choice(sides), rng.randrange(len(heads))
            share = HARD_SHARE if rng.random() < VARIED_HARD else 1.0
            every = VARIED_EVERY if step == 1 else 1
        tracker = trackers[side, which]
        tracker.share = share
        records += record_clip(tracker, images[::step], label_maps[::step], rng, every)
        print(f"clip {seed}: {len(records)} records", file=sys.stderr, flush=True)
    together = [torch.stack(parts) for parts in zip(*records, strict=True)]
    torch.save(together, arguments.out / f"{arguments.first}.records")


def add_fitting_options(parser: argparse.ArgumentParser, *, iterations: int, seed: int, rate: float) -> None:
    """Add what the command line of a fit says, with these defaults."""
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=iterations)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--start", type=Path, help="a head to go on from")
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--out", type=Path, required=True)


def _fit(arguments: argparse.Namespace) -> None:
    files = [torch.load(path, weights_only=True) for path in sorted(arguments.records.glob("*.records"))]
    records = [torch.cat(parts) for parts in zip(*files, strict=True)]
    start = load_head(arguments.start) if arguments.start else None
    head = fit(records, arguments.iterations, arguments.seed, start, arguments.rate)
    torch.save(head.state_dict(), arguments.out)


def main() -> None:
    """Record or fit, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    record = verbs.add_parser("record")
    record.set_defaults(run=_record)
    record.add_argument("--cutouts", type=Path, required=True, help="folder of images with an alpha channel")
    record.add_argument("--drawings", type=Path, help="another such folder, for one clip in six")
    record.add_argument("--photographs", type=Path, required=True, help="folder of images")
    record.add_argument("--out", type=Path, required=True)
    record.add_argument("--first", type=int, default=0, help="seed of the first clip")
    record.add_argument("--clips", type=int, default=110)
    record.add_argument(
        "--head",
        type=Path,
        nargs="+",
        default=[TEACHER],
        help="of the round before; a varied clip takes any of several",
    )
    record.add_argument(
        "--varied", action="store_true", help="clips of several sides, and of every frame, second or third frame"
    )
    record.add_argument("--votes-alone", action="store_true", help="for the first round: no head")
    fitting = verbs.add_parser("fit")
    fitting.set_defaults(run=_fit)
    add_fitting_options(fitting, iterations=2600, seed=0, rate=LEARNING_RATE)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
