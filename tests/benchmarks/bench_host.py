"""The host's overhead: frames through the loop, against a bare loop that does the same work in turn.

Baseline "bare loop": decode each 480p JPEG and encode the last mask as a palette PNG, one after the
other, with the very functions that the host uses. Host: ``vos.track`` with a tracker that returns its
last label map. Both write the same files. A ratio above 1 means that reading ahead and writing
behind more than pay for the host.

    python tests/benchmarks/bench_host.py [--frames 300] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

import vos
from vos.plugin import Plugins

SIZE = (480, 854)


class LastLabelMap:
    """Returns the annotation for every frame."""

    def start(self, frame: vos.Frame, label_map: vos.LabelMap) -> None:
        self.prediction = vos.Prediction.from_label_map(label_map)

    def step(self, frame: vos.Frame) -> vos.Prediction:
        return self.prediction


def make_frames(folder: Path, count: int) -> vos.LabelMap:
    """JPEG frames of about 140 KB, and a label map of three discs."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 107, 3)).astype(np.uint8)
    picture = cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f"{i:05d}.jpg"), np.roll(picture, 3 * i, axis=1), [cv2.IMWRITE_JPEG_QUALITY, 92])
    label_map = np.zeros(SIZE, dtype=np.uint8)
    for object_id, centre in enumerate([(200, 150), (430, 300), (650, 180)], start=1):
        cv2.circle(label_map, centre, 90, object_id, -1)
    return label_map


def bare_loop(frames: Path, label_map: vos.LabelMap, output: Path) -> None:
    from vos.plugin import read_image

    output.mkdir()
    for path in sorted(frames.glob("*.jpg")):
        read_image(path)
        vos.write_label_map(output / f"{path.stem}.png", label_map)


def host(frames: Path, label_map: vos.LabelMap, output: Path, plugins: Plugins) -> None:
    vos.track(frames, label_map, tracker=LastLabelMap(), output=output, plugins=plugins)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("bench-out/host.json"))
    arguments = parser.parse_args()
    plugins = vos.load_plugins()
    bare, hosted = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        label_map = make_frames(folder / "frames", arguments.frames)
        for i in range(arguments.rounds + 1):
            began = time.perf_counter()
            bare_loop(folder / "frames", label_map, folder / f"bare{i}")
            middle = time.perf_counter()
            host(folder / "frames", label_map, folder / f"host{i}", plugins)
            end = time.perf_counter()
            if i:  # the first round warms up
                bare.append(arguments.frames / (middle - began))
                hosted.append(arguments.frames / (end - middle))
    ratios = [h / b for h, b in zip(hosted, bare, strict=True)]
    result = {
        "frames": arguments.frames,
        "bare_fps": round(statistics.median(bare), 1),
        "host_fps": round(statistics.median(hosted), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"bare loop   {result['bare_fps']:7.1f} frames/s")
    print(f"host        {result['host_fps']:7.1f} frames/s")
    print(f"ratio       {result['ratio']:7.2f}   ({result['ratio_min']:.2f} to {result['ratio_max']:.2f})")


if __name__ == "__main__":
    main()
