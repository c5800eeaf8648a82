"""How fast scores are made, against a plain form of the official procedure (``plain_davis.py``) in the same run.

Made-up sequences of DAVIS-2016's size, or ``--gt`` and ``--pred`` folders of your own. Three figures: scoring
masks in memory; ``vos eval`` as a whole command with 1 and with 2 processes. Results are checked to be equal.

    python tests/benchmarks/bench_evaluation.py [--gt DIR --pred DIR]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import plain_davis

import vos
from vos.evaluation import score_sequence

HERE = Path(__file__).parent
VOS = ("-c", "from vos.cli import main; main()")
OUT = HERE.parents[1] / "bench-out" / "evaluation.json"


def make_folders(root: Path, sequences: int = 4, frames: int = 50, size: tuple[int, int] = (480, 854)) -> None:
    """Drifting blobs with uneven outlines; predictions are the truth, warped smoothly."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    for n in range(sequences):
        for name in ("truth", "predictions"):
            (root / name / f"sequence-{n}").mkdir(parents=True)
        centre, speed = rng.uniform(0.3, 0.7, 2) * size, rng.normal(0, 2, 2)
        radius, waves = rng.uniform(50, 110), rng.integers(3, 9)
        for frame in range(frames):
            dy, dx = y - centre[0] - frame * speed[0], x - centre[1] - frame * speed[1]
            angle = np.arctan2(dy, dx)
            mask = (np.hypot(dy, dx) < radius * (1 + 0.2 * np.sin(waves * angle + frame / 9))).astype(np.uint8)
            noise = [cv2.resize(rng.normal(0, 4, (8, 14)).astype(np.float32), size[::-1]) for _ in range(2)]
            warped = cv2.remap(mask, x + noise[0], y + noise[1], cv2.INTER_NEAREST)
            vos.write_label_map(root / "truth" / f"sequence-{n}" / f"{frame:05d}.png", mask)
            vos.write_label_map(root / "predictions" / f"sequence-{n}" / f"{frame:05d}.png", warped)


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def command(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def compare(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Medians of seconds; the actions take turns."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(seconds(action))
    return {name: statistics.median(values) for name, values in times.items()}


def check_equal(truth: Path, predictions: Path, names: list[str]) -> int:
    """Both give the same J and F in every frame; returns the number of frames."""
    expected = plain_davis.score_folders(truth, predictions, names)
    found = vos.evaluate(truth, predictions, sequences=names)
    for sequence in found.sequences:
        j, f = expected[sequence.name]
        assert np.abs(np.array([one.j for one in sequence.objects]) - j).max() < 1e-12
        assert np.abs(np.array([one.f for one in sequence.objects]) - f).max() < 1e-12
    return sum(len(sequence.objects[0].frames) for sequence in found.sequences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gt", type=Path, help="folder of sequences")
    parser.add_argument("--pred", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        truth, predictions = given.gt, given.pred
        if truth is None:
            make_folders(Path(scratch))
            truth, predictions = Path(scratch) / "truth", Path(scratch) / "predictions"
        names = sorted(path.name for path in predictions.iterdir() if (truth / path.name).is_dir())
        frames = check_equal(truth, predictions, names)
        listed = Path(scratch) / "names.txt"
        listed.write_text("\n".join(names))
        name = names[0]
        maps = [
            np.stack([plain_davis.read(path) for path in sorted((folder / name).glob("*.png"))])
            for folder in (truth, predictions)
        ]
        memory = compare(
            {
                "plain": lambda: plain_davis.score_maps(*maps),
                "vos": lambda: score_sequence(*maps, "davis-2017"),
            },
            given.rounds,
        )
        evaluate = [*VOS, "eval", "--gt", str(truth), "--pred", str(predictions), "--set", str(listed)]
        whole = compare(
            {
                "plain": command(str(HERE / "plain_davis.py"), str(truth), str(predictions), *names),
                "vos, 1 process": command(*evaluate),
                "vos, 2 processes": command(*evaluate, "-j", "2"),
                "start of vos": command(*VOS, "--version"),
            },
            given.rounds,
        )
    print(f"{frames} frames of {len(names)} sequences; equal to the plain procedure in every frame")
    print(f"masks in memory: plain {memory['plain']:.2f} s, vos {memory['vos']:.3f} s: "
          f"{memory['plain'] / memory['vos']:.1f} times")  # fmt: skip
    for what, took in whole.items():
        print(f"whole command, {what}: {took:.2f} s, {whole['plain'] / took:.1f} times")
    result = {"frames": frames, "sequences": len(names), "memory_seconds": memory, "command_seconds": whole}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
