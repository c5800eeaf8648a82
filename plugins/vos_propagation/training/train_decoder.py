"""Fit a decoder to recorded cues.

    python -m vos_propagation.training.train_decoder --records RECORDS --out wide.pt --minutes 40

Goes on from OUT's checkpoint, where there is one, and takes up files that ``record_cues.py`` adds meanwhile. The loss
is the binary cross-entropy of the hardest eighth of the cells and soft Dice. The cues of a random part of the object
are sometimes weakened, and sometimes one kind of cue is left out, so that the decoder learns from the image and from
the memory readout too.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.backbone.features import has_fast_bf16
from vos_propagation.memory.readout_memory import CLAIMED_SHARE, box_around, places_from
from vos_propagation.memory.readout_network import VALUE
from vos_propagation.stages.decoder_network import TEACHER, DecoderNetwork
from vos_propagation.training.record_cues import MEMORY_STRIDES, REMEMBERED, STRIDES

# Rows and columns of a training crop, cells of 16 px, even; and crops of a step.
CROP, BATCH = (20, 24), 4
# How often a kind of cue is left out, and a part of the object erased from the cues.
DROPPED, ERASED = 0.25, 0.15
# The share of the crops that is cut out of the last folder's records, those of the decoder's own masks.
LATEST = 0.7
# Rows of the coarse cues: the kinds, and those that speak for the object.
CUE_KINDS = ((0, 1), (2, 3), (4, 5), (6, 7, 8), (9, 10))
OWN_CUES = (0, 2, 6, 9)
DEEP_WEIGHT = 0.3
# How much of the target is the teacher's mask, where there is a teacher; the rest is the truth.
TEACHER_SHARE = 0.8
# How often all votes are left out together, the memory readout, and some of the memory frames.
NO_VOTES, NO_READOUT, FEWER_FRAMES = 0.08, 0.05, 0.5
# Cells of 16 px around the object in a memory frame that are read, at least and at most.
READ_ROOM = 3, 6
# The shipped weights are a moving average over about the last 500 steps.
AVERAGED = 0.998
SAVE_EVERY = 200


class Records:
    """Records in files, mapped into memory."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Read from folders; ``refresh`` looks for new files."""
        self._folders = folders
        self._known: set[Path] = set()
        self._rows: list[list[tuple[Mapping[str, Tensor], int]]] = [[] for _ in folders]
        self.refresh()

    def __len__(self) -> int:
        return sum(map(len, self._rows))

    def refresh(self) -> None:
        """Load new files."""
        for folder, rows in zip(self._folders, self._rows, strict=True):
            for path in sorted(set(folder.glob("*.pt")) - self._known):
                self._known.add(path)
                shard = torch.load(path, weights_only=True, mmap=True)
                rows += [(shard, index) for index in range(len(shard["truth"]))]

    def crop(self, rng: random.Random) -> dict[str, Tensor]:
        """Cut a crop out of a random record, float32; ``truth`` is (h4, w4) in 0..1."""
        *earlier, last = self._rows
        earlier_rows = [row for rows in earlier for row in rows]
        use_last = not earlier_rows or (last and rng.random() < LATEST)
        shard, index = rng.choice(last if use_last else earlier_rows)
        y, x = (
            rng.randrange(0, length - side + 1, 2) for length, side in zip(shard["s16"].shape[-2:], CROP, strict=True)
        )
        parts = {}
        for name, stride in STRIDES.items():
            top, left, height, width = (16 * cells // stride for cells in (y, x, *CROP))
            parts[name] = shard[name][index, ..., top : top + height, left : left + width].float()
        parts["truth"] = parts["truth"][0] / 255
        parts |= self._memory_of(shard, index, (y, x), rng)
        drawn = rng.random()
        if drawn < DROPPED:
            drop_kind(parts, rng.randrange(len(CUE_KINDS)))
        elif drawn < DROPPED + NO_VOTES:
            drop_kind(parts, 3)
            drop_kind(parts, 4)
        if rng.random() < ERASED:
            erase(parts, rng)
        return parts

    def _memory_of(
        self, shard: Mapping[str, Tensor], index: int, corner: tuple[int, int], rng: random.Random
    ) -> dict[str, Tensor]:
        """Return a record's memory frames, the places of their cells and the crop's, and which are not read."""
        parts = {name: shard[name][index].float() for name in MEMORY_STRIDES}
        parts["memory_masks"] /= 255
        height, width = parts["memory_inside"].shape[-2:]
        whole, (y, x) = (slice(0, height), slice(0, width)), corner
        now, *then = shard["centres"][index]
        parts["places"] = places_from(now, (slice(y, y + CROP[0]), slice(x, x + CROP[1])))
        parts["memory_places"] = torch.cat([places_from(centre, whole) for centre in then], 1)
        read = parts.pop("memory_inside") > 0
        room, shown = rng.randint(*READ_ROOM), [*range(REMEMBERED)]
        if rng.random() < FEWER_FRAMES:
            shown = rng.sample(shown, rng.randint(1, REMEMBERED - 1))
        claimed = F.avg_pool2d(parts["memory_masks"][:, 0], 4) > CLAIMED_SHARE
        for frame in range(REMEMBERED):
            box = box_around(claimed[frame], room) or whole
            near = torch.zeros_like(read[frame])
            near[box] = frame in shown
            read[frame] &= near
        parts["left_out"] = ~read.flatten()
        parts["use_readout"] = torch.tensor(float(rng.random() >= NO_READOUT))
        return parts


def drop_kind(parts: dict[str, Tensor], kind: int) -> None:
    """Remove one of ``CUE_KINDS`` from the cues, in place."""
    for row in CUE_KINDS[kind]:
        parts["coarse"][row] = 0
    if kind == 0:
        parts["fine"][:2] = 0
    if kind == len(CUE_KINDS) - 1:
        parts["fine"][2] = 0.5


def erase(parts: dict[str, Tensor], rng: random.Random) -> None:
    """Weaken the cues, in place, inside an ellipse around a point of the object."""
    height, width = parts["coarse"].shape[-2:]
    inside = (parts["truth"][::2, ::2] > 0.5).nonzero()
    if not len(inside):
        return
    centre = inside[rng.randrange(len(inside))]
    side = max(2.0, len(inside) ** 0.5)
    axes, angle = [rng.uniform(0.12, 0.4) * side for _ in range(2)], rng.uniform(0, math.pi)
    y, x = torch.meshgrid(torch.arange(2 * height) / 2, torch.arange(2 * width) / 2, indexing="ij")
    dy, dx = y - centre[0], x - centre[1]
    along, across = (math.cos(angle) * dy + math.sin(angle) * dx, math.cos(angle) * dx - math.sin(angle) * dy)
    ellipse = torch.sigmoid(4 * (1 - (along / axes[0]) ** 2 - (across / axes[1]) ** 2))
    kept = 1 - rng.uniform(0.5, 1.0) * ellipse
    kept_8 = F.avg_pool2d(kept[None], 2)[0]
    for row in OWN_CUES:
        if rng.random() < 0.8:
            parts["coarse"][row] *= kept_8
    if rng.random() < 0.8:
        parts["fine"][0] *= kept
    parts["fine"][2] *= kept


def loss_of(logits: Tensor, truth: Tensor) -> Tensor:
    """Compute the loss of logits (B, h, w) against the truth (B, h, w) in 0..1."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").flatten(1)
    hardest = entropy.topk(entropy.shape[1] // 8, 1).values.mean()
    prob = torch.sigmoid(logits)
    dice = 1 - (2 * (prob * truth).sum((1, 2)) + 20) / ((prob + truth).sum((1, 2)) + 20)
    return hardest + dice.mean()


def logits_of(network: DecoderNetwork, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the logits of each crop, (B, h4, w4), the readout, (B, 64, h16, w16), and the logits at 16 px."""
    levels = {stride: parts[f"s{stride}"].contiguous(memory_format=torch.channels_last) for stride in (4, 8, 16, 32)}
    readout = _read_memory(network, parts, levels)
    used = readout * parts["use_readout"][:, None, None, None]
    logits, deep = network.both_logits(network.image_features(levels), parts["coarse"], parts["fine"], used)
    return logits, readout, deep


def _read_memory(network: DecoderNetwork, parts: Mapping[str, Tensor], levels: Mapping[int, Tensor]) -> Tensor:
    """Read the memory of each crop: (B, 64, h16, w16)."""
    reader, (batch, frames) = network.readout, parts["memory_s16"].shape[:2]
    keys, _ = reader.keys(levels[16], levels[8])
    memory_keys, image = reader.keys(parts["memory_s16"].flatten(0, 1), parts["memory_s8"].flatten(0, 1))
    masks = parts["memory_masks"].flatten(0, 1)
    values = reader.values(image, masks[:, :1], masks[:, 1:])
    memory_keys, values = (
        planes.view(batch, frames, planes.shape[1], -1).transpose(1, 2).flatten(2) for planes in (memory_keys, values)
    )
    memory = (memory_keys, parts["memory_places"], values.transpose(1, 2), parts["left_out"])
    return reader.read(keys.flatten(2), parts["places"], *memory).view(batch, VALUE, *keys.shape[2:])


@dataclass(frozen=True)
class Pupil:
    """A network to train, and the one whose masks it learns beside the truth."""

    network: DecoderNetwork
    teacher: DecoderNetwork


class Training:
    """The network, its optimiser and its moving average; kept in a checkpoint."""

    def __init__(self, rate: float, seed: int, checkpoint: Path, pupil: Pupil | None = None) -> None:
        """Start training, or resume from the checkpoint if there is one.

        Args:
            rate: the highest learning rate.
            seed: of the initial weights.
            checkpoint: the file to keep the state in.
            pupil: to train; None makes a network of the widths ``TEACHER``, which learns the truth alone.
        """
        torch.manual_seed(seed)
        self._rate, self._checkpoint = rate, checkpoint
        self._teacher = None if pupil is None else pupil.teacher
        self.network = (DecoderNetwork(TEACHER) if pupil is None else pupil.network).requires_grad_(True).train()
        # The readout alone has to tell the object too: deep supervision, not part of the shipped weights.
        self.probe = torch.nn.Conv2d(VALUE, 1, 1)
        self._parameters = [*self.network.parameters(), *self.probe.parameters()]
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self._optimizer = torch.optim.AdamW(self._parameters, lr=rate, weight_decay=1e-4)
        self.step, self.seconds = 0, 0.0
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.probe.load_state_dict(state["probe"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.average, self.step, self.seconds = state["average"], state["step"], state["seconds"]

    def learn(self, crops: Sequence[Mapping[str, Tensor]], progress: float) -> float:
        """Take an optimizer step; the learning rate follows a cosine of ``progress`` in 0..1. Returns the loss."""
        rate = self._rate * min(1.0, (self.step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * progress) + 0.01)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        parts = {name: torch.stack([crop[name] for crop in crops]) for name in crops[0]}
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16(torch.device("cpu"))):
            logits, readout, deep = logits_of(self.network, parts)
            probed = self.probe(readout)[:, 0]
            target = parts["truth"] if self._teacher is None else self._mixed_with_teacher(parts)
        loss = loss_of(logits, target)
        truth_16 = F.avg_pool2d(parts["truth"][:, None], 4)[:, 0]
        coarse = sum(F.binary_cross_entropy_with_logits(x.float(), truth_16) for x in (deep, probed))
        total = loss + DEEP_WEIGHT * coarse
        self._optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _mixed_with_teacher(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Mix the truth with the teacher's masks, as in Hinton et al., arXiv:1503.02531: (B, h4, w4) in 0..1."""
        assert self._teacher is not None
        logits, _, _ = logits_of(self._teacher, parts)
        return parts["truth"].lerp(torch.sigmoid(logits.float()), TEACHER_SHARE)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(AVERAGED, self.step / (self.step + 10))
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def save(self, out: Path) -> None:
        """Write the averaged weights, float16, and the checkpoint."""
        half = {name: value.half() if value.is_floating_point() else value for name, value in self.average.items()}
        torch.save(half, out)
        state = {"network": self.network.state_dict(), "optimizer": self._optimizer.state_dict(), "step": self.step}
        state["probe"] = self.probe.state_dict()
        torch.save({**state, "average": self.average, "seconds": self.seconds}, self._checkpoint)


def train(
    records: Records,
    out: Path,
    *,
    seconds: float,
    rate: float,
    seed: int,
    steps: int | None = None,
    pupil: Pupil | None = None,
) -> Training:
    """Train for so many seconds, or steps if that is less, and write the weights.

    Args:
        records: to learn from.
        out: the file of the weights; its checkpoint lies beside it, and its folder is made if missing.
        seconds: of training in all, those before the checkpoint included; the rate falls over them.
        rate: the highest learning rate.
        seed: of the initial weights and the crops.
        steps: at most, in all.
        pupil: to train; None makes a network of the widths ``TEACHER``, which learns the truth alone.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    training = Training(rate, seed, out.with_suffix(".checkpoint"), pupil)
    rng = random.Random(seed + training.step)
    losses: list[float] = []
    while training.seconds < seconds and (steps is None or training.step < steps):
        began = time.monotonic()
        crops = [records.crop(rng) for _ in range(BATCH)]
        done = training.seconds / seconds if steps is None else training.step / steps
        losses.append(training.learn(crops, done))
        training.seconds += time.monotonic() - began
        if training.step % 50 == 0:
            mean = np.mean(losses[-50:])
            line = f"step {training.step}: loss {mean:.3f}, {len(records)} records, {training.seconds:.0f} s"
            print(line, file=sys.stderr, flush=True)
        if training.step % SAVE_EVERY == 0:
            training.save(out)
            records.refresh()
    training.save(out)
    return training


def main() -> None:
    """Train, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=Path, nargs="+", required=True, help="folders of record_cues.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--steps", type=int, help="stop after so many, before the time is over")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    records = Records(arguments.records)
    if not len(records):
        parser.error(f"no records in {', '.join(map(str, arguments.records))}. Make some with record_cues.py.")
    seconds = 60 * arguments.minutes
    train(records, arguments.out, seconds=seconds, rate=arguments.rate, seed=arguments.seed, steps=arguments.steps)


if __name__ == "__main__":
    main()
