"""Train the primary object network on DAVIS sequences and photographs.

    python -m vos_primary.training.train_primary --davis DAVIS --split DAVIS/ImageSets/2016/train.txt \
        --photos PHOTOS --out primary_object.pt

A second process makes the clips, their motion cues and the frozen backbone's features, while this one trains on the
latest ones, each of which is seen a few times.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from vos.plugin import InputError
from vos_grabcut.training.averaged_training import AveragedTraining
from vos_primary.motion import motion_cues
from vos_primary.network import PrimaryObjectNetwork
from vos_primary.training.clips import Annotated, MovingClips, read_photographs, read_sequences
from vos_propagation.backbone.efficientnet_lite import load_efficientnet_lite

BATCH, NEW, KEPT = 6, 1, 800
"""Samples of a step, samples that are new in each step, and samples that are kept to be drawn from."""
DROPPED = 0.2
"""Share of the reduced features that are left out in a step."""
COARSE_WEIGHT = 0.5
"""Weight of the loss at 16 px beside the one at 4 px."""


@dataclass(frozen=True)
class Sample:
    """A clip as the network sees it, and the truth.

    Attributes:
        features: the backbone's levels, by stride s: float16 (C, H / s, W / s).
        motion: float16 (C, H / 4, W / 4), from ``motion_cues``.
        target: float16 (1, H / 4, W / 4), share of each cell that the objects cover.
    """

    features: dict[int, Tensor]
    motion: Tensor
    target: Tensor


class Samples(IterableDataset[list[Sample]]):
    """Lists of ``NEW`` random samples, without end."""

    def __init__(self, sequences: Sequence[Annotated], photographs: Sequence[Annotated], seed: int) -> None:
        """Take the sources."""
        self._clips = MovingClips(sequences, photographs, seed)

    def __iter__(self) -> Iterator[list[Sample]]:
        """Yield lists."""
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        network = load_efficientnet_lite().to(memory_format=torch.channels_last)
        while True:
            clips = [self._clips.make() for _ in range(NEW)]
            pixels = torch.from_numpy(np.stack([clip.image for clip in clips])).permute(0, 3, 1, 2).float()
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                levels = network(pixels)
            targets = F.avg_pool2d(torch.from_numpy(np.stack([clip.mask for clip in clips]))[:, None].float(), 4)
            yield [
                Sample(
                    {s: levels[s][k].half() for s in (4, 8, 16, 32)},
                    torch.from_numpy(motion_cues(clip.image, clip.others)).half(),
                    targets[k].half(),
                )
                for k, clip in enumerate(clips)
            ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the weights in float16."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True, help="file that names the sequences to learn from")
    parser.add_argument("--photos", type=Path, help="folder of JPEGImages and Annotations, instances of each image")
    parser.add_argument("--leave-out", nargs="*", default=[], help="photographs that are not used")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if chosen.steps < 1:
        parser.error(f"--steps {chosen.steps}: expected 1 or more.")
    if chosen.out.is_dir():
        parser.error(f"--out {chosen.out} is a folder: expected a file.")
    try:
        sequences = read_sequences(chosen.davis, chosen.split)
        photographs = read_photographs(chosen.photos, chosen.leave_out) if chosen.photos else []
    except (InputError, OSError) as error:
        parser.error(str(error))
    if not sequences:
        parser.error(f"--split {chosen.split} names no sequence.")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    print(f"{len(sequences)} sequences and {len(photographs)} photographs", flush=True)
    torch.manual_seed(chosen.seed)
    train(Samples(sequences, photographs, chosen.seed), chosen.steps, np.random.default_rng(chosen.seed), chosen.out)


def train(samples: Samples, steps: int, rng: np.random.Generator, out: Path) -> None:
    """Train from scratch, and write the moving average of the weights now and then and at the end."""
    network = PrimaryObjectNetwork(DROPPED).to(memory_format=torch.channels_last)
    training = AveragedTraining(network, steps, out)
    kept: list[Sample] = []
    loader = iter(
        DataLoader(samples, batch_size=None, num_workers=1, prefetch_factor=8, multiprocessing_context="spawn")
    )
    for step in range(steps):
        while len(kept) < BATCH or len(kept) < min(KEPT, NEW * step):
            kept += next(loader)
        new = next(loader)
        for sample in new:
            kept[int(rng.integers(len(kept)))] = sample
        training.learn(_loss(network, [kept[int(rng.integers(len(kept)))] for _ in range(BATCH)]))


def _loss(network: PrimaryObjectNetwork, batch: Sequence[Sample]) -> Tensor:
    """Binary cross-entropy and soft Dice at 4 px, and cross-entropy at 16 px."""
    features = {s: torch.stack([sample.features[s] for sample in batch]).float() for s in (4, 8, 16, 32)}
    features = {s: (level * torch.exp(0.1 * torch.randn(*level.shape[:2], 1, 1))) for s, level in features.items()}
    motion = torch.stack([sample.motion for sample in batch]).float()
    target = torch.stack([sample.target for sample in batch]).float()
    with torch.autocast("cpu", torch.bfloat16):
        logits, logits_16 = network(
            {s: level.contiguous(memory_format=torch.channels_last) for s, level in features.items()},
            motion.contiguous(memory_format=torch.channels_last),
        )
    logits, logits_16 = logits.float(), logits_16.float()
    probability = torch.sigmoid(logits)
    both = (probability * target).sum(dim=(1, 2, 3))
    either = (probability + target).sum(dim=(1, 2, 3))
    coarse = F.binary_cross_entropy_with_logits(logits_16, F.avg_pool2d(target, 4))
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    return entropy + (1 - (2 * both + 1) / (either + 1)).mean() + COARSE_WEIGHT * coarse


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C; else the second process outlives this one
    main()
