"""Speed of scoring, against vos-benchmark and a plain form of the official procedure in the same run.

Made-up sequences of DAVIS-2016's size; or ``--gt`` and ``--pred`` folders of your own; or ``--davis`` trees, of which
``--sequences 16 --frames 1116`` chooses so many sequences with so many masks in all: the predictions are the masks,
smoothly warped. The baselines are vos-benchmark 0.1.0, as its package is, and ``plain_davis.py``, the official DAVIS
procedure written plainly. Figures: masks in memory, by each protocol too; ``vos eval`` as a whole command with 1 and
with 2 processes. Each is given in seconds of wall time and of processor time, which depends less on what else runs.
Scores are checked to be equal.

    python tests/benchmarks/bench_evaluation.py [--gt DIR --pred DIR]
    python tests/benchmarks/bench_evaluation.py --davis DIR --davis DIR --sequences 16 --frames 1116
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import plain_davis
from vos_benchmark.benchmark import benchmark as vos_benchmark_scores

import vos
from vos.evaluation import protocol_named, score_sequence

HERE = Path(__file__).parent
VOS = ("-c", "from vos.cli import main; main()")
PROTOCOLS_IN_MEMORY = ("davis-2017", "davis-2017-unsupervised", "youtube-vos", "lvos", "vost", "mose")
OUT = HERE.parents[1] / "bench-out" / "evaluation.json"


def warp(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move a label map's pixels smoothly, by some 4 pixels."""
    size = label_map.shape
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    noise = [cv2.resize(rng.normal(0, 4, (8, 14)).astype(np.float32), size[::-1]) for _ in range(2)]
    return cv2.remap(label_map, x + noise[0], y + noise[1], cv2.INTER_NEAREST)


def make_predictions(trees: Sequence[Path], count: int, frames: int, root: Path) -> None:
    """Take ``count`` sequences of trees that have ``frames`` masks in all, and warp their masks to be predictions."""
    found = {path.name: sorted(path.glob("*.png")) for tree in trees for path in (tree / "Annotations/480p").iterdir()}
    # Sequences chosen for each number of sequences and sum of masks; the first way that is found is kept.
    ways: dict[tuple[int, int], tuple[str, ...]] = {(0, 0): ()}
    for name in sorted(found):
        for (taken, total), names in list(ways.items()):
            if taken < count:
                ways.setdefault((taken + 1, total + len(found[name])), (*names, name))
    if (count, frames) not in ways:
        raise SystemExit(f"no {count} sequences have {frames} masks in all.")
    rng = np.random.default_rng(0)
    (root / "truth").mkdir()
    for name in ways[count, frames]:
        (root / "truth" / name).symlink_to(found[name][0].parent.resolve())
        (root / "predictions" / name).mkdir(parents=True)
        for path in found[name]:
            vos.write_label_map(
                root / "predictions" / name / path.name, warp(vos.read_label_map(path, allow_empty=True), rng)
            )


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
            vos.write_label_map(root / "truth" / f"sequence-{n}" / f"{frame:05d}.png", mask)
            vos.write_label_map(root / "predictions" / f"sequence-{n}" / f"{frame:05d}.png", warp(mask, rng))


@dataclass(frozen=True)
class Took:
    """Wall time and processor time, seconds; children included."""

    wall: float
    cpu: float


def measure(action: Callable[[], object]) -> Took:
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    action()
    return Took(time.perf_counter() - wall, sum(os.times()[:4]) - cpu)


def command(*arguments: str) -> Callable[[], object]:
    # Byte code is cached, as it is after an installation; a shell that forbids it would time the compiler.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)


def compare(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, Took]:
    """Medians of the times; the actions take turns."""
    times: dict[str, list[Took]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(measure(action))
    return {
        name: Took(statistics.median(one.wall for one in taken), statistics.median(one.cpu for one in taken))
        for name, taken in times.items()
    }


def report(what: str, times: dict[str, Took], baselines: Sequence[str]) -> None:
    """Print each time, and how often it fits into each baseline's, by wall and by processor time."""
    for name, took in times.items():
        ratios = ", ".join(
            f"{times[one].wall / took.wall:.1f} ({times[one].cpu / took.cpu:.1f}) times {one}"
            for one in baselines
            if one != name
        )
        print(f"{what}, {name}: {took.wall:.3f} s, processor {took.cpu:.3f} s; {ratios}")


def check_equal(truth: Path, predictions: Path, names: list[str]) -> int:
    """Both give the same J and F in every frame; returns the number of frames."""
    expected = plain_davis.score_folders(truth, predictions, names)
    found = vos.evaluate(truth, predictions, sequences=names)
    for sequence in found.sequences:
        j, f = expected[sequence.name]
        assert np.abs(np.array([one.j for one in sequence.objects]) - j).max() < 1e-12
        assert np.abs(np.array([one.f for one in sequence.objects]) - f).max() < 1e-12
    theirs = vos_benchmark_scores([str(truth)], [str(predictions)], False, 1, verbose=False)
    for ours, (whole,) in zip((found.j_and_f, found.j.mean, found.f.mean), theirs[:3], strict=True):
        assert abs(100 * ours - whole) < 1e-6, (ours, whole)
    return sum(len(sequence.objects[0].frames) for sequence in found.sequences)


def linked(folder: Path, names: Sequence[str], target: Path) -> Path:
    """A folder of links to sequences: vos-benchmark writes a table into its folder of predictions."""
    target.mkdir()
    for name in names:
        (target / name).symlink_to((folder / name).resolve())
    return target


def in_memory(maps: list[np.ndarray]) -> dict[str, Callable[[], object]]:
    """Score label maps in memory, by each protocol."""
    return {
        "plain": lambda: plain_davis.score_maps(*maps),
        **{one: partial(score_sequence, *maps, one) for one in PROTOCOLS_IN_MEMORY},
        "boundary IoU": partial(score_sequence, *maps, protocol_named("davis-2017", boundary_iou=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gt", type=Path, help="folder of sequences")
    parser.add_argument("--pred", type=Path)
    parser.add_argument("--davis", type=Path, action="append", help="root of a DAVIS tree")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--frames", type=int, default=1116)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="the commands with one process alone; scores unchecked")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        truth, predictions = given.gt, given.pred
        if truth is None:
            if given.davis:
                make_predictions(given.davis, given.sequences, given.frames, Path(scratch))
            else:
                make_folders(Path(scratch))
            truth, predictions = Path(scratch) / "truth", Path(scratch) / "predictions"
        names = sorted(path.name for path in predictions.iterdir() if (truth / path.name).is_dir())
        truth, predictions = (
            linked(folder, names, Path(scratch) / f"links-{folder.name}") for folder in (truth, predictions)
        )
        if given.short:
            frames = sum(len(list((truth / name).glob("*.png"))) for name in names)
        else:
            frames = check_equal(truth, predictions, names)
        name = names[0]
        maps = [
            np.stack([plain_davis.read(path) for path in sorted((folder / name).glob("*.png"))])
            for folder in (truth, predictions)
        ]
        memory = {} if given.short else compare(in_memory(maps), given.rounds)
        evaluate = [*VOS, "eval", "--gt", str(truth), "--pred", str(predictions)]
        folders = f"[{str(truth)!r}], [{str(predictions)!r}]"
        theirs = "from vos_benchmark.benchmark import benchmark; benchmark({}, False, {}, verbose=False)"
        commands = {
            "plain": command(str(HERE / "plain_davis.py"), str(truth), str(predictions), *names),
            "vos-benchmark": command("-c", theirs.format(folders, 1)),
            "vos eval": command(*evaluate),
            "start of vos": command(*VOS, "--version"),
        }
        if not given.short:
            commands |= {
                "vos-benchmark, 2 processes": command("-c", theirs.format(folders, 2)),
                "vos eval, 2 processes": command(*evaluate, "-j", "2"),
                **{f"vos eval, {one}": command(*evaluate, "--protocol", one) for one in ("lvos", "vost", "mose")},
            }
        whole = compare(commands, given.rounds)
    checked = "" if given.short else "; scores equal those of both baselines"
    print(f"{frames} frames of {len(names)} sequences{checked}.")
    print("Ratios by wall time, and in parentheses by processor time.")
    if memory:
        report("masks in memory", memory, ["plain"])
    report("whole command", whole, ["plain", "vos-benchmark"])
    content = {
        what: {name: asdict(took) for name, took in times.items()}
        for what, times in (("memory", memory), ("command", whole))
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"frames": frames, "sequences": len(names), **content}, indent=1) + "\n")


if __name__ == "__main__":
    main()
