"""Overhead of ``vos batch``: a thousand jobs of ten frames on the executor ``local``, against a plain loop.

Baseline "loop": one process that calls ``vos.track`` for one job after another with one tracker. Batch: the same jobs
through ``run_batch`` and the executor ``local`` with one worker: the start of its process, jobs and events through
pipes, the summary. The tracker repeats its last label map, so that the work is reading, merging and writing alone: with
a model the share of the machinery is smaller. The ratio is of processor time, own and children's. Both ways run at the
same time, so that whatever else the machine does slows both alike. A batch of one job tells what the start costs.

    python tests/benchmarks/bench_batch.py [--jobs 1000] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

import vos
from vos.plugin import TrackerSpec, hookimpl
from vos_batch.batch import run_batch
from vos_batch.jobs import TrackJob
from vos_batch.local import LocalExecutor
from vos_batch.options import LocalOptions
from vos_batch.track_worker import TrackWorker

FRAMES, SIZE = 10, (480, 854)


class LastLabelMap:
    """Returns the annotation for every frame."""

    def start(self, frame: vos.Frame, label_map: vos.LabelMap) -> None:
        self.prediction = vos.Prediction.from_label_map(label_map)

    def step(self, frame: vos.Frame) -> vos.Prediction:
        return self.prediction


@hookimpl
def vos_trackers() -> list[TrackerSpec]:
    """Offer the tracker to the workers, which load this file as a plugin."""
    return [TrackerSpec("last-label-map", "Repeats its mask.", lambda options, runtime: LastLabelMap())]


def make_clip(folder: Path) -> tuple[Path, Path]:
    """Ten JPEG frames of about 140 KB, and a mask of three discs."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 107, 3)).astype(np.uint8)
    picture = cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    (folder / "frames").mkdir()
    for i in range(FRAMES):
        cv2.imwrite(str(folder / f"frames/{i:05d}.jpg"), np.roll(picture, 3 * i, axis=1))
    label_map = np.zeros(SIZE, dtype=np.uint8)
    for object_id, centre in enumerate([(200, 150), (430, 300), (650, 180)], start=1):
        cv2.circle(label_map, centre, 90, object_id, -1)
    vos.write_label_map(folder / "mask.png", label_map)
    return folder / "frames", folder / "mask.png"


def make_jobs(frames: Path, mask: Path, output: Path, count: int) -> list[TrackJob]:
    return [
        TrackJob(str(frames), str(mask), str(output), f"clip-{i:04d}", "last-label-map", runtime={"threads": 1})
        for i in range(count)
    ]


def loop(jobs: list[TrackJob]) -> None:
    worker = TrackWorker(["bench_batch"])
    for job in jobs:
        worker(job.to_job().work, lambda frame, count: None)


def batch(jobs: list[TrackJob]) -> None:
    summary = run_batch(LocalExecutor(LocalOptions(workers=1, threads=1)), jobs, ["bench_batch"])
    assert len(summary.done) == len(jobs), summary.failures


def processor_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def measured(work, jobs: list[TrackJob]) -> float:
    """Processor seconds of some jobs."""
    used = processor_seconds()
    work(jobs)
    return processor_seconds() - used


def measure(way: str, frames: Path, mask: Path, output: Path, count: int) -> tuple[float, float]:
    """Processor seconds of ``count`` jobs and of one, in a process of its own that has done both ways once."""
    cv2.setNumThreads(1)
    work = {"loop": loop, "batch": batch}[way]
    loop(make_jobs(frames, mask, output / "warm", 3))
    one = measured(work, make_jobs(frames, mask, output / "one", 1))
    return measured(work, make_jobs(frames, mask, output / "all", count)), one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("bench-out/batch.json"))
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    count, rounds = arguments.jobs, []
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(2, get_context("spawn")) as both:
        frames, mask = make_clip(Path(name))
        for i in range(arguments.rounds):
            ways = [(way, frames, mask, Path(name) / f"{way}{i}", count) for way in ("loop", "batch")]
            (of_loop, one_loop), (of_batch, one_batch) = both.map(measure, *zip(*ways, strict=True))
            start = one_batch - one_loop
            ratios = {"ratio": of_batch / of_loop, "ratio_without_start": (of_batch - start) / of_loop}
            rounds.append({"loop": of_loop, "batch": of_batch, "start": start, **ratios})
    median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    result = {
        "jobs": count,
        "frames": FRAMES,
        "baseline": "vos.track in a loop, one process",
        "processor_time_ratio": round(median["ratio"], 4),
        "processor_time_ratio_without_start": round(median["ratio_without_start"], 4),
        "rounds": [{key: round(value, 3) for key, value in one.items()} for one in rounds],
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    more, started = (100 * (median[key] - 1) for key in ("ratio", "ratio_without_start"))
    print(f"{count} jobs of {FRAMES} frames: vos batch takes {more:+.1f} % more processor time than a loop")
    print(f"  without the start of the worker ({median['start']:.2f} s): {started:+.1f} %")
    for one in rounds:
        print(f"  processor seconds: loop {one['loop']:.1f}, batch {one['batch']:.1f}")


if __name__ == "__main__":
    main()
