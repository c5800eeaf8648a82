"""Train the click decoder on annotated pictures, with clicks simulated on its own errors.

    python -m vos_grabcut.training.train_click_decoder --data FOLDER [FOLDER ...] --out decoder.pt

A folder holds ``JPEGImages`` and ``Annotations``, as DAVIS does. Training follows RITM (Sofiiuk et al.,
arXiv:2102.06583): random prompts first, then clicks at the centre of the largest error of the decoder's own answer,
which it sees as the previous mask. A second process makes the squares while this one trains.
"""

from __future__ import annotations

import argparse
import glob
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from vos.plugin import InputError
from vos_grabcut.clicks.network import ClickDecoder
from vos_grabcut.training.averaged_training import AveragedTraining
from vos_grabcut.training.samples import Annotated, Sample, SquareCrops, annotated_images, read_annotated
from vos_grabcut.training.simulated_prompts import PromptedObject, simulate_prompts

BATCH = 8
COARSE_WEIGHT = 0.3
"""Weight of the loss at 16 px beside the one at 4 px."""
MOST_CORRECTIONS = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the weights in float16."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--leave-out", nargs="*", default=[], help="sequences and photographs that are not used")
    parser.add_argument("--every", type=int, default=6, help="of a sequence's frames one in so many")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    torch.manual_seed(chosen.seed)
    if chosen.steps < 1 or chosen.every < 1:
        parser.error(f"--steps {chosen.steps} and --every {chosen.every}: expected 1 or more.")
    if chosen.out.is_dir():
        parser.error(f"--out {chosen.out} is a folder: expected a file.")
    try:
        stills, frames = _images(chosen)
    except InputError as error:
        parser.error(str(error))
    if not stills and not frames:
        parser.error("no annotated object found: expected JPEGImages/**/X.jpg and Annotations/**/X.png in each --data.")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    print(f"{len(stills)} photographs and {len(frames)} frames", flush=True)
    squares = SquareCrops(stills, frames, BATCH, chosen.seed)
    train(squares, chosen.steps, np.random.default_rng(chosen.seed), chosen.out)


def train(squares: SquareCrops, steps: int, rng: np.random.Generator, out: Path) -> None:
    """Train a decoder from scratch, and write the moving average of its weights now and then and at the end."""
    decoder = ClickDecoder().to(memory_format=torch.channels_last)
    training = AveragedTraining(decoder, steps, out)
    batches = iter(
        DataLoader(squares, batch_size=None, num_workers=1, prefetch_factor=4, multiprocessing_context="spawn")
    )
    for _ in range(steps):
        batch = [simulate_prompts(sample, rng) for sample in next(batches)]
        features = _stacked([one.sample for one in batch])
        decoder.eval()
        for _ in range(int(rng.integers(0, MOST_CORRECTIONS))):
            _correct(decoder, features, batch, rng)
        decoder.train()
        training.learn(_loss(*_answers(decoder, features, batch), batch))


def _images(chosen: argparse.Namespace) -> tuple[list[Annotated], list[Annotated]]:
    """Read the photographs, and the frames of sequences, that show an object.

    Raises:
        InputError: a mask cannot be read, or nothing has a name of ``--leave-out``.
    """
    if unknown := {name for name in chosen.leave_out if not any(_holds(folder, name) for folder in chosen.data)}:
        raise InputError(f"--leave-out {min(unknown)}: no --data folder has a sequence or photograph of this name.")
    pools: tuple[list[Annotated], list[Annotated]] = ([], [])
    for folder in chosen.data:
        for image_path, mask_path in annotated_images(folder, chosen.every, chosen.leave_out):
            found = read_annotated(image_path, mask_path)
            if found.object_ids:
                pools[image_path.parent.name != "JPEGImages"].append(found)
    return pools


def _holds(folder: Path, name: str) -> bool:
    images = folder / "JPEGImages"
    return (images / f"{name}.jpg").is_file() or any(path.is_dir() for path in images.rglob(glob.escape(name)))


def _stacked(samples: Sequence[Sample]) -> dict[int, Tensor]:
    return {
        s: torch.stack([sample.features[s] for sample in samples]).float().contiguous(memory_format=torch.channels_last)
        for s in (4, 8, 16, 32)
    }


def _correct(
    decoder: ClickDecoder, features: dict[int, Tensor], batch: Sequence[PromptedObject], rng: np.random.Generator
) -> None:
    with torch.inference_mode():
        found = torch.sigmoid(_answers(decoder, features, batch)[0])[:, 0].numpy()
    for one, probability in zip(batch, found, strict=True):
        one.correct(probability, rng)


def _answers(
    decoder: ClickDecoder, features: dict[int, Tensor], batch: Sequence[PromptedObject]
) -> tuple[Tensor, Tensor]:
    maps = torch.from_numpy(np.stack([one.prompts.maps() for one in batch]))
    each = [one.prompts.similarities({s: features[s][k] for s in (8, 16)}) for k, one in enumerate(batch)]
    with torch.autocast("cpu", torch.bfloat16):
        logits, logits_16 = decoder.both_logits(features, maps, {s: torch.stack([e[s] for e in each]) for s in (8, 16)})
    return logits.float(), logits_16.float()


def _loss(logits: Tensor, logits_16: Tensor, batch: Sequence[PromptedObject]) -> Tensor:
    """Binary cross-entropy and soft IoU, without void; at 16 px the cross-entropy alone."""
    target = torch.from_numpy(np.stack([one.target for one in batch]))[:, None]
    weight = torch.from_numpy(np.stack([one.weight for one in batch]))[:, None]
    entropy = F.binary_cross_entropy_with_logits(logits, target, weight)
    probability = torch.sigmoid(logits) * weight
    both = (probability * target).sum(dim=(1, 2, 3))
    either = (probability + target * weight - probability * target).sum(dim=(1, 2, 3))
    coarse = F.binary_cross_entropy_with_logits(logits_16, F.avg_pool2d(target, 4), F.avg_pool2d(weight, 4))
    return 2 * entropy + (1 - both / either.clamp(min=1.0)).mean() + COARSE_WEIGHT * coarse


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C; else the second process outlives this one
    main()
