"""PerSAM's frame with Segment Anything's fast path against another checkout's, in turn.

Each path runs in a process of its own, which imports the plugins of its checkout; the rounds alternate. Weights are
random and of the published size, so masks mean nothing; how far the two paths' embeddings and logits differ is
printed. The encoder is timed apart from the decodings, and a frame's time is the sum of the medians.

    git worktree add /tmp/before 3643a7f^
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_sam.py --before /tmp/before [--models vit_t vit_b] [--objects 1 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]


class Worker:
    """A process with one model and the plugins of one checkout."""

    def __init__(self, checkout: Path, model: str, clock: str, folder: Path) -> None:
        """Start it; arrays that it computes are written into ``folder``."""
        folder.mkdir()
        paths = [checkout, checkout / "plugins", Path(__file__).parent]
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", model, "--clock", clock, "--output", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        )
        self.folder = folder

    def seconds(self, what: str) -> float:
        """Time one ``encode``, or one step with some objects (``"5"``)."""
        assert self._process.stdin
        assert self._process.stdout
        print(what, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def result(self, what: str) -> np.ndarray:
        """Return an array that the last call computed."""
        computed: np.ndarray = np.load(self.folder / f"{what}.npy")
        return computed

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def work(model: str, folder: Path) -> None:
    """Answer the lines of standard input with seconds: the worker's side."""
    import bench_persam
    import torch

    from vos_persam.options import PersamOptions
    from vos_persam.tracker import PersamTracker
    from vos_sam.model import SegmentAnything

    sam = SegmentAnything(bench_persam.random_sam(model))
    trackers: dict[str, PersamTracker] = {}
    frame, _ = bench_persam.scene(1)
    with torch.inference_mode():
        (embedding,) = sam.encode([frame.image])
        for line in sys.stdin:
            what = line.strip()
            if what != "encode":
                if what not in trackers:
                    # Never lost: with random weights similarity means nothing, and each object's work is to be done.
                    trackers[what] = PersamTracker(sam, PersamOptions(lost=-1e6, found=-1e6))
                trackers[what].start(frame, bench_persam.scene(int(what))[1], embedding)
            begin = bench_persam.clock()
            if what == "encode":
                computed: Any = sam.encode([frame.image])[0].features
            else:
                computed = trackers[what].step(frame, embedding).logits
            seconds = bench_persam.clock() - begin
            np.save(folder / f"{what}.npy", np.asarray(computed))
            print(seconds, flush=True)


def bench(workers: tuple[Worker, Worker], what: str, rounds: int) -> dict[str, float]:
    """Time the checkout before and ours in turn, after one round that does not count."""
    times: list[list[float]] = [[worker.seconds(what) for worker in workers] for _ in range(rounds + 1)][1:]
    before, ours = (statistics.median(column) for column in zip(*times, strict=True))
    first, second = (worker.result(what) for worker in workers)
    return {
        "before_s": before,
        "ours_s": ours,
        "ratio": before / ours,
        "differ": float(np.abs(first - second).max()),
        "masks_differ": float(((first > 0) != (second > 0)).mean()),
    }


def compare(before: Path, model: str, counts: list[int], rounds: int, clock: str) -> dict[str, Any]:
    """Time one model."""
    with tempfile.TemporaryDirectory() as folder:
        workers = (
            Worker(before, model, clock, Path(folder) / "before"),
            Worker(ROOT, model, clock, Path(folder) / "ours"),
        )
        encode = bench(workers, "encode", rounds)
        print(
            f"{model}, encoder: {encode['before_s']:.2f} s before, {encode['ours_s']:.2f} s now, "
            f"{encode['ratio']:.2f} times as fast; features differ by {encode['differ']:.1e}"
        )
        result: dict[str, Any] = {"encode": encode, "objects": {}}
        for count in counts:
            step = bench(workers, str(count), rounds)
            ratio = (encode["before_s"] + step["before_s"]) / (encode["ours_s"] + step["ours_s"])
            result["objects"][count] = {"step": step, "ratio": ratio}
            print(
                f"{model}, {count} objects: {ratio:.2f} times as many frames a second (decodings "
                f"{step['before_s']:.2f} s before, {step['ours_s']:.2f} s now, {step['ratio']:.2f} times as fast); "
                f"logits differ by {step['differ']:.1e}, masks in {step['masks_differ']:.4%} of the pixels"
            )
        for worker in workers:
            worker.close()
    return result


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="the other checkout")
    parser.add_argument("--models", nargs="+", choices=["vit_b", "vit_t"], default=["vit_t", "vit_b"])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--output", type=Path, default=Path("bench-out/sam.json"))
    parser.add_argument("--worker", metavar="MODEL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        import bench_persam

        bench_persam.clock = bench_persam.CLOCKS[arguments.clock]
        work(arguments.worker, arguments.output)
        return
    if arguments.before is None:
        parser.error("--before names the checkout to compare with: git worktree add /tmp/before 3643a7f^")
    results: dict[str, Any] = {"clock": arguments.clock}
    for model in arguments.models:
        results[model] = compare(arguments.before, model, arguments.objects, arguments.rounds, arguments.clock)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
