"""Teach a small head what a large one answers: as good masks for a third of the time.

    python -m vos_propagation.training.train_head record --varied --head TEACHER [HEAD] --cutouts DIR --out RECORDS ...
    python -m vos_propagation.training.teach_head --records RECORDS --out HEAD [--teacher TEACHER] [--start HEAD]

Source: Hinton et al., Distilling the Knowledge in a Neural Network (arXiv:1503.02531), here of the logits themselves
where the teacher is unsure. The truth of the drawn clips is not looked at: what it could add, it adds on drawn clips
alone.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.backbone.features import has_fast_bf16
from vos_propagation.stages.fusion_head import COARSE_CUES, FINE_CUES, LOGIT_LIMIT, FusionHead, HeadSize, load_head
from vos_propagation.training.train_head import BATCH, TEACHER, add_fitting_options, crop

LEARNING_RATE = 3e-3
CUE_DROPPED = 0.1
# Logits of the student count beyond the teacher's limit up to this.
STUDENT_LIMIT = 10.0
# Everywhere logits should be alike a little, and where the teacher's is within a few of 0 fully.
ANYWHERE, UNSURE = 0.1, 2.0
# The mean of the weights over about the last 1 / (1 - AVERAGED) steps is what is given.
AVERAGED = 0.998


def teach(
    records: Sequence[Sequence[Tensor]],
    teacher: FusionHead,
    iterations: int,
    seed: int,
    start: FusionHead | None = None,
    rate: float = LEARNING_RATE,
) -> FusionHead:
    """Fit a head to what a larger one answers.

    Args:
        records: files of records; of each the parts of a ``Record``, of all its records together along a first axis.
        teacher: the larger head.
        iterations: of ``BATCH`` squares.
        seed: of the squares.
        start: a head to go on from, in place of the teacher's leading channels.
        rate: the learning rate, after a warm-up and before it falls to nothing.
    Returns:
        The mean of the head over the last steps.
    """
    rng = random.Random(seed)
    head = (start or leading_channels(teacher, HeadSize())).train().requires_grad_(True)
    mean = {name: value.clone() for name, value in head.state_dict().items()}
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=1e-4)
    every = [(file, index) for file in records for index in range(len(file[0]))]
    losses = []
    for iteration in range(iterations):
        warm_up = min(1.0, (iteration + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm_up * (0.5 + 0.5 * np.cos(np.pi * iteration / iterations) + 0.01)
        crops = [crop(*every[rng.randrange(len(every))], rng, CUE_DROPPED) for _ in range(BATCH)]
        coarse, fine, cells, fine_cells, margin, _ = (torch.stack(planes) for planes in zip(*crops, strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16(torch.device("cpu"))):
            with torch.no_grad():
                wanted = teacher(coarse, fine, *teacher.look(cells, fine_cells), margin)
            logits = head(coarse, fine, *head.look(cells, fine_cells), margin)
        loss = _loss(logits.float(), wanted.clamp(-LOGIT_LIMIT, LOGIT_LIMIT).float())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        kept = min(AVERAGED, iteration / (iteration + 10))
        for name, value in head.state_dict().items():
            mean[name].lerp_(value, 1 - kept)
        losses.append(float(loss.detach()))
        if (iteration + 1) % 100 == 0:
            print(f"{iteration + 1} of {iterations}: loss {np.mean(losses[-100:]):.4f}", file=sys.stderr, flush=True)
    head.load_state_dict(mean)
    return head.eval().requires_grad_(False)


def leading_channels(teacher: FusionHead, size: HeadSize) -> FusionHead:
    """Cut a head down to the first channels of each layer, and to what a cell says itself where layers are separable.

    It is a better start than chance.

    Args:
        teacher: a head whose layers are whole.
        size: of the smaller head.
    Returns:
        The smaller head; separable layers look at single cells yet.
    """
    head = FusionHead(size)
    whole, own = teacher.state_dict(), head.state_dict()
    for name, value in own.items():
        layer, part = name.split(".", 1)
        if part == "0.weight":
            own[name] = _itself(value)
            continue
        taken = [torch.arange(length) for length in value.shape]
        if layer == "enter" and part == "weight":
            taken[1] = _firsts(COARSE_CUES, size.coarse_look, starts=(0, COARSE_CUES))
        if layer == "merge" and value.dim() > 1:
            before = whole["merge.bias"].shape[0]
            taken[1] = _firsts(
                size.fine_width, FINE_CUES + 1, size.fine_look, starts=(0, before, before + FINE_CUES + 1)
            )
        source = whole[f"{layer}.{part.removeprefix('1.')}"]
        if value.dim() > 1 and value.shape[-1] < source.shape[-1]:
            source = source[..., 1:2, 1:2]
        own[name] = source[torch.meshgrid(*taken, indexing="ij")].clone()
    head.load_state_dict(own)
    return head


def _itself(weight: Tensor) -> Tensor:
    """Give weights (C, 1, 3, 3) of a layer that leaves each channel as it is."""
    weight = torch.zeros_like(weight)
    weight[:, :, 1, 1] = 1
    return weight


def _firsts(*lengths: int, starts: Sequence[int]) -> Tensor:
    """List so many channels from each start on."""
    return torch.cat([torch.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)])


def _loss(logits: Tensor, wanted: Tensor) -> Tensor:
    logits = logits.clamp(-STUDENT_LIMIT, STUDENT_LIMIT)
    prob = torch.sigmoid(wanted)
    surprise = F.binary_cross_entropy_with_logits(logits, prob) - F.binary_cross_entropy(prob, prob)
    apart = F.smooth_l1_loss(logits, wanted, reduction="none")
    return 2 * surprise + 0.5 * (apart * (ANYWHERE + torch.exp(-wanted.abs() / UNSURE))).mean()


def main() -> None:
    """Teach, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_fitting_options(parser, iterations=8000, seed=7, rate=LEARNING_RATE)
    parser.add_argument("--teacher", type=Path, default=TEACHER)
    arguments = parser.parse_args()
    files = [torch.load(path, weights_only=True, mmap=True) for path in sorted(arguments.records.glob("*.records"))]
    start = load_head(arguments.start) if arguments.start else None
    head = teach(files, load_head(arguments.teacher), arguments.iterations, arguments.seed, start, arguments.rate)
    torch.save(head.state_dict(), arguments.out)


if __name__ == "__main__":
    main()
