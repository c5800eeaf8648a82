"""Train the head: record cues while tracking annotated sequences, then fit the head to the truth.

    python -m vos_propagation.train_head record --davis ROOT --out RECORDS
    python -m vos_propagation.train_head fit --records RECORDS --out HEAD [--hold-out SEQUENCE ...]

Each sequence is recorded forward, and backward with every second frame left out. The tracker runs on
its own votes, so the cues hold the errors that the head must mend; and as it does not remember what
the head says, the cues are the same whatever head there is.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from torch import Tensor

from vos import Frame, Runtime, object_ids, read_label_map
from vos_propagation.head import FusionHead
from vos_propagation.options import PropagationOptions
from vos_propagation.tracker import Box, PropagationTracker

CROP = 28
BATCH = 12
LEARNING_RATE = 3e-3
IOU_PRIOR = 10.0


class Recorder(PropagationTracker):
    """The tracker, keeping the last cues."""

    def __init__(self) -> None:
        super().__init__(PropagationOptions(), Runtime(device="cpu"))
        self.record: dict[str, Any] = {}

    def _apply_head(self, coarse: Tensor, fine: Tensor, boxes: Sequence[Box | None]) -> Tensor:
        rois = [None if b is None else (b[0].start, b[0].stop, b[1].start, b[1].stop) for b in boxes]
        self.record = {"coarse": coarse.half(), "fine": fine.half(), "boxes": rois}
        return super()._apply_head(coarse, fine, boxes)


def record_sequence(tracker: Recorder, root: Path, sequence: str, step: int) -> list[dict[str, Any]]:
    """Track a sequence and keep the cues and the truth of each frame.

    Args:
        tracker: records as it tracks.
        root: a DAVIS tree.
        sequence: its name.
        step: every ``step``-th frame; backward if negative.
    Returns:
        A record for each frame: cues (K, ., h, w) half, boxes, truth uint8 (K, 2 h, 2 w) in 0..255.
    """
    records = []
    paths = sorted((root / "JPEGImages/480p" / sequence).glob("*.jpg"))[::step]
    ids: tuple[int, ...] = ()
    for index, path in enumerate(paths):
        frame = Frame(index, np.asarray(PillowImage.open(path)), path.stem)
        truth = read_label_map(root / "Annotations/480p" / sequence / f"{path.stem}.png", allow_empty=True)
        encoding = tracker.encode([frame])[0]
        if not ids:
            ids = object_ids(truth)
            tracker.start(frame, truth, encoding)
            continue
        tracker.step(frame, encoding)
        size_wh = encoding.grey.shape[::-1]
        masks = [cv2.resize((truth == i).astype(np.uint8) * 255, size_wh, interpolation=cv2.INTER_AREA) for i in ids]
        records.append({"sequence": sequence, "truth": torch.from_numpy(np.stack(masks)), **tracker.record})
    return records


def fit(records: Sequence[dict[str, Any]], iterations: int, seed: int) -> FusionHead:
    """Fit a head to records.

    Args:
        records: from ``record_sequence``; sequences are drawn evenly.
        iterations: of ``BATCH`` crops of ``CROP`` coarse cells.
        seed: of the initial weights and of the crops.
    Returns:
        The trained head.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    by_sequence: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_sequence.setdefault(record["sequence"], []).append(record)
    names = sorted(by_sequence)
    head = FusionHead()
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    losses = []
    for iteration in range(iterations):
        warm_up = min(1.0, (iteration + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * warm_up * (0.5 + 0.5 * np.cos(np.pi * iteration / iterations) + 0.01)
        crops = [_crop(rng.choice(by_sequence[rng.choice(names)]), rng) for _ in range(BATCH)]
        coarse, fine, truth = (torch.stack(planes) for planes in zip(*crops, strict=True))
        loss = _loss(head(coarse, fine), truth)
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


def _crop(record: dict[str, Any], rng: random.Random) -> tuple[Tensor, Tensor, Tensor]:
    """Cut a square near one object; flip it, and drop one kind of cue, at random."""
    k = rng.randrange(len(record["truth"]))
    height, width = record["coarse"].shape[-2:]
    box = record["boxes"][k]
    if box is None or rng.random() < 0.1:
        box = (0, height, 0, width)
    top = int(min(max(rng.uniform(box[0], box[1]) - CROP // 2, 0), height - CROP))
    left = int(min(max(rng.uniform(box[2], box[3]) - CROP // 2, 0), width - CROP))
    coarse = record["coarse"][k][:, top : top + CROP, left : left + CROP].float()
    y, x = slice(2 * top, 2 * (top + CROP)), slice(2 * left, 2 * (left + CROP))
    fine = record["fine"][k][:, y, x].float()
    truth = record["truth"][k][y, x].float() / 255
    flips = [axis for axis, chance in ((-1, 0.5), (-2, 0.2)) if rng.random() < chance]
    coarse, fine, truth = (planes.flip(flips) for planes in (coarse, fine, truth))
    if rng.random() < 0.25:
        kind = rng.randrange(3)
        coarse[2 * kind : 2 * kind + 2] = 0
        if kind == 0:
            fine.zero_()
    return coarse, fine, truth


def main() -> None:
    """Record or fit, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    record = verbs.add_parser("record")
    record.add_argument("--davis", type=Path, required=True)
    record.add_argument("--set", default="2017/val")
    record.add_argument("--out", type=Path, required=True)
    fitting = verbs.add_parser("fit")
    fitting.add_argument("--records", type=Path, required=True)
    fitting.add_argument("--hold-out", nargs="*", default=[])
    fitting.add_argument("--iterations", type=int, default=900)
    fitting.add_argument("--seed", type=int, default=0)
    fitting.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.verb == "record":
        tracker = Recorder()
        arguments.out.mkdir(parents=True, exist_ok=True)
        for sequence in (arguments.davis / f"ImageSets/{arguments.set}.txt").read_text().split():
            for step in (1, -2):
                records = record_sequence(tracker, arguments.davis, sequence, step)
                torch.save(records, arguments.out / f"{sequence}.{step}.records")
                print(f"{sequence} step {step}: {len(records)} frames", file=sys.stderr, flush=True)
        return
    chosen = [
        path
        for path in sorted(arguments.records.glob("*.records"))
        if path.name.split(".")[0] not in arguments.hold_out
    ]
    records = [entry for path in chosen for entry in torch.load(path, weights_only=True)]
    torch.save(fit(records, arguments.iterations, arguments.seed).state_dict(), arguments.out)


if __name__ == "__main__":
    main()
