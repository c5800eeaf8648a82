"""Train the decoder from scratch: rounds of recording and training of a wide network, which then teaches a narrow one.

    python -m vos_propagation.training --davis DAVIS --photos PHOTOS --out FOLDER

The first round remembers the truth or the votes; each later one remembers the masks of the decoder of the round before
and goes on from its checkpoint. A stopped run goes on where it was. The mean of the weights of the last two rounds is
FOLDER/teacher.pt. It teaches FOLDER/decoder.pt, which the package ships as ``stages/decoder.pt``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vos.plugin import InputError
from vos_propagation.training.clips import ClipMaker, PhotoFolder, VideoFolder
from vos_propagation.training.distill_decoder import distill
from vos_propagation.training.record_cues import DAGGER, LENGTH, SIDES, record_clips
from vos_propagation.training.train_decoder import Records, train

RATES = (2e-3, 8e-4, 1.2e-3)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True, help="a DAVIS tree; label 1 is learnt from")
    parser.add_argument("--split", default="2016/train")
    parser.add_argument("--photos", type=Path, help="photographs with instance masks")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=250, help="of each round")
    parser.add_argument(
        "--minutes", type=float, default=40.0, help="of training in each round, and of the narrow network"
    )
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="short sides to track at, pixels")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    try:
        photos = PhotoFolder(arguments.photos) if arguments.photos else None
        maker = ClipMaker(VideoFolder(arguments.davis, arguments.split), photos, LENGTH)
    except InputError as error:
        parser.error(str(error))
    out: Path = arguments.out
    weights, folders = out / "wide.pt", [out / f"records-{number}" for number in range(arguments.rounds)]
    for number, folder in enumerate(folders):
        marker = out / f"round-{number}.pt"
        if marker.exists():
            continue
        memories = DAGGER if number else ("truth", "votes")
        seeds = range(100_000 * number, 100_000 * number + arguments.clips)
        before = out / f"round-{number - 1}.pt" if number else None
        record_clips(maker, seeds, folder, weights=before, memories=memories, sides=arguments.sides)
        records = Records(folders[: number + 1])
        seconds, rate = 60 * arguments.minutes * (number + 1), RATES[min(number, len(RATES) - 1)]
        train(records, weights, seconds=seconds, rate=rate, seed=arguments.seed)
        shutil.copyfile(weights, marker)
    teacher = out / "teacher.pt"
    rounds = [torch.load(out / f"round-{number}.pt", weights_only=True) for number in range(len(folders))]
    torch.save(mean_of(*rounds[-2:]) if len(rounds) > 1 else rounds[0], teacher)
    seconds = 60 * arguments.minutes
    distill(teacher, Records(folders), out / "decoder.pt", seconds=seconds, seed=arguments.seed)


def mean_of(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Average two states of a network's weights, float16, as WiSE-FT (Wortsman et al., arXiv:2109.01903) with a half.

    What one round learns beyond the one before holds less on other videos than what both agree on.
    """
    return {
        name: ((one[name].float() + value.float()) / 2).half() if value.is_floating_point() else value
        for name, value in other.items()
    }


if __name__ == "__main__":
    main()
