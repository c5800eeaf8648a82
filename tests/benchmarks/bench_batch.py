"""Overhead of ``vos batch``: a thousand jobs of ten frames on the local executor, against a plain loop.

Baseline "loop": one process that calls ``vos.track`` for one job after another with one tracker. Batch: the same jobs
through ``run_batch`` and the executor ``local`` with one worker: the start of its process, jobs and events through
pipes, the summary. The tracker repeats its last label map, so that the work is reading, merging and writing alone: with
a model the share of the machinery is smaller. The ratio is of processor time, own and children's: it does not depend on
what else the machine does.

    python tests/benchmarks/bench_batch.py [--jobs 1000] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
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
    assert len(summary.done) == len(jobs), summary.lines()


def processor_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def measured(work, jobs: list[TrackJob]) -> tuple[float, float]:
    began, used = time.perf_counter(), processor_seconds()
    work(jobs)
    return processor_seconds() - used, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("bench-out/batch.json"))
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    cv2.setNumThreads(1)
    ratios, rows = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames, mask = make_clip(folder)
        loop(make_jobs(frames, mask, folder / "warm", 3))
        for i in range(arguments.rounds):
            of_loop = measured(loop, make_jobs(frames, mask, folder / f"loop{i}", arguments.jobs))
            of_batch = measured(batch, make_jobs(frames, mask, folder / f"batch{i}", arguments.jobs))
            ratios.append(of_batch[0] / of_loop[0])
            rows.append({"loop": of_loop, "batch": of_batch})
    overhead = 100 * (statistics.median(ratios) - 1)
    result = {
        "jobs": arguments.jobs,
        "frames": FRAMES,
        "baseline": "vos.track in a loop, one process",
        "processor_time_ratio": round(statistics.median(ratios), 4),
        "rounds": [{way: [round(seconds, 2) for seconds in both] for way, both in row.items()} for row in rows],
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{arguments.jobs} jobs of {FRAMES} frames: vos batch takes {overhead:+.1f} % more processor time than a loop"
    )
    for row in rows:
        print(f"  processor seconds: loop {row['loop'][0]:.1f}, batch {row['batch'][0]:.1f}")


if __name__ == "__main__":
    main()
