"""The embedded tracker: J&F on a DAVIS tree, and its speed against full similarity.

Quality: every sequence of an image set, each preset, scored by ``vos.evaluation`` (the frames between
the first and the last, mean over objects). Speed: the time of a frame in ``vos.stream``, and what each
further object adds to it, for drawn objects and, with ``--objects``, for those of the tree's sequences of
several; and the time of one frame's features and step, one after the other, against baseline "full
similarity": the same features and memory, but every cell of the frame compared with every cell of every
remembered frame, top 7. Memory: the process's peak after so many frames of a sequence played forward and
backward (``--frames``).

    python tests/benchmarks/bench_propagation.py --davis ../shared/davis [--set 2017/val] [--quality best]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import vos
import vos_propagation.confidence
from vos.evaluation import boundary_accuracy, region_similarity
from vos.host.merging import merge_objects
from vos.io.masks.mask_file import encode_label_map
from vos.plugin import SourceInfo
from vos.testing import TinySequence
from vos.types.runtime import Precision
from vos_propagation.config import PRESETS, PropagationOptions
from vos_propagation.memory.label_votes import global_votes
from vos_propagation.pipeline import PropagationTracker

# Frames of a measured clip: those before the time is taken, and those that it is taken of.
WARM_UP, TIMED = 8, 32


def track(tracker: PropagationTracker, root: Path, sequence: str, every: int, step: int) -> dict[str, Any]:
    """Track every ``step``-th frame of a sequence, backward if it is negative; score every ``every``-th of them."""
    paths = sorted((root / "JPEGImages/480p" / sequence).glob("*.jpg"))[::step]
    truths = root / "Annotations/480p" / sequence
    scores: dict[int, list[tuple[float, float]]] = {}
    confidence: list[tuple[float, float]] = []
    seconds = 0.0
    for index, path in enumerate(paths):
        began = time.perf_counter()
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        frame = vos.Frame(index, image, path.stem)
        encoding = tracker.encode([frame])[0]
        if index == 0:
            label_map = vos.read_label_map(truths / f"{path.stem}.png")
            ids = vos.object_ids(label_map)
            tracker.start(frame, label_map, encoding)
            continue
        prediction = tracker.step(frame, encoding)
        label_map = merge_objects(prediction, frame.size)
        encode_label_map(label_map)
        seconds += time.perf_counter() - began
        if index == len(paths) - 1 or index % every:
            continue
        truth = vos.read_label_map(truths / f"{path.stem}.png", allow_empty=True)
        assert prediction.scores is not None
        for row, object_id in enumerate(ids):
            j = region_similarity(truth == object_id, label_map == object_id)
            f = boundary_accuracy(truth == object_id, label_map == object_id)
            scores.setdefault(object_id, []).append((j, f))
            confidence.append((float(prediction.scores[row]), j))
    means = {object_id: np.mean(values, axis=0).tolist() for object_id, values in scores.items()}
    return {
        "sequence": sequence,
        "objects": means,
        "j_and_f": float(np.mean(list(means.values()))),
        "frames_per_second": (len(paths) - 1) / seconds,
        "confidence": confidence,
    }


def reliability(pairs: list[tuple[float, float]], bins: int = 9) -> list[tuple[float, float, int]]:
    """Give (mean score, mean J, masks) of equally large groups of masks, by score; absent ones (score 0) first."""
    present = sorted((pair for pair in pairs if pair[0] > 0), key=lambda pair: pair[0])
    groups = [[pair for pair in pairs if pair[0] == 0], *np.array_split(np.array(present).reshape(-1, 2), bins)]
    return [(*np.mean(group, axis=0).tolist(), len(group)) for group in groups if len(group)]


def draw_reliability(table: list[tuple[float, float, int]]) -> str:
    """Draw the table as SVG: a point for each group, as large as it has masks, and the diagonal."""
    side, edge = 320, 50
    place = lambda score, j: (edge + side * score, edge / 2 + side * (1 - j))  # noqa: E731
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side + 1.5 * edge} {side + 1.5 * edge}" '
        'font-family="sans-serif" font-size="12" text-anchor="middle">',
        f'<rect x="{edge}" y="{edge / 2}" width="{side}" height="{side}" fill="white" stroke="#888"/>',
        f'<line x1="{edge}" y1="{edge / 2 + side}" x2="{edge + side}" y2="{edge / 2}" stroke="#bbb"/>',
    ]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = place(tick, tick)
        parts.append(f'<text x="{x:.1f}" y="{side + 0.9 * edge}">{tick:.1f}</text>')
        parts.append(f'<text x="{edge - 14}" y="{y + 4:.1f}">{tick:.1f}</text>')
    most = max(count for _, _, count in table)
    for score, j, count in table:
        x, y = place(score, j)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 + 6 * (count / most) ** 0.5:.1f}" fill="#26c" opacity="0.7">'
        )
        parts.append(f"<title>score {score:.3f}, J {j:.3f}, {count} masks</title></circle>")
    middle = edge + side / 2
    parts.append(f'<text x="{middle}" y="{side + 1.3 * edge}">score that the tracker gave</text>')
    parts.append(f'<text transform="translate(14 {middle - edge / 2}) rotate(-90)">overlap J that the mask had</text>')
    return "\n".join([*parts, "</svg>", ""])


def drawn_objects() -> tuple[list[vos.LabelMap], TinySequence]:
    """Draw label maps with one object and with three more, each in a place of its own, and frames that they move in."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (60, 107, 3)).astype(np.uint8)
    picture = cv2.resize(small, (854, 480), interpolation=cv2.INTER_CUBIC)
    one = np.zeros((480, 854), np.uint8)
    cv2.circle(one, (300, 240), 110, 1, -1)
    four = one.copy()
    for object_id, centre in ((2, (480, 150)), (3, (480, 330)), (4, (120, 240))):
        cv2.circle(four, centre, 60, object_id, -1)
    images = tuple(np.roll(picture, 3 * i, axis=1) for i in range(WARM_UP + TIMED))
    return [one, four], TinySequence("drawn", images, tuple(four for _ in images), ())


def seconds_a_frame(quality: str, source: Any, label_map: vos.LabelMap, precision: Precision = "auto") -> float:
    """Track in ``vos.stream``, as a user would, and give the mean time of the frames after the first few."""
    options = {"quality": quality}
    runtime = vos.Runtime(precision=precision)
    results = vos.stream(source, label_map, options=options, stop=WARM_UP + TIMED, runtime=runtime)
    with contextlib.closing(results):
        for _ in itertools.islice(results, WARM_UP):
            pass
        began = time.perf_counter()
        count = sum(1 for _, label_map in results if encode_label_map(label_map))
    return (time.perf_counter() - began) / count


def share_of_further(times: dict[str, list[float]]) -> tuple[float, float]:
    """Give the median time of one object, mean over which one, and what each further one adds to it, as a share."""
    median = {name: statistics.median(values) for name, values in times.items()}
    every = median.pop("all")
    one, count = statistics.mean(median.values()), len(median)
    return one, (every - one) / (count - 1) / one


def further_objects(quality: str, root: Path, names: Iterable[str], rounds: int) -> dict[str, float]:
    """Time sequences of several objects: each object alone, and all together, in turn."""
    shares = {}
    for name in names:
        label_map = vos.read_label_map(root / "Annotations/480p" / name / "00000.png")
        ids = vos.object_ids(label_map)
        if len(ids) < 2:
            continue
        asked = {str(i): np.where(label_map == i, label_map, 0).astype(np.uint8) for i in ids} | {"all": label_map}
        times: dict[str, list[float]] = {kind: [] for kind in asked}
        for _, (kind, given) in itertools.product(range(rounds), asked.items()):
            times[kind].append(seconds_a_frame(quality, root / "JPEGImages/480p" / name, given))
        one, shares[name] = share_of_further(times)
        print(
            f"{quality:9s} {name}: one object {one * 1000:.1f} ms, each further {100 * shares[name]:.1f} %", flush=True
        )
    print(f"{quality:9s} each further object, mean: {100 * statistics.mean(shares.values()):.1f} %", flush=True)
    return shares


def speed(quality: str, rounds: int) -> dict[str, float]:
    """Time one object, also with the float backbone, and four in ``vos.stream``, and a step against full similarity."""
    (one, four), source = drawn_objects()
    frames = list(source.frames())[:16]
    times: dict[str, list[float]] = {"1": [], "1, fp32": [], "all": []}
    alone: dict[str, list[float]] = {"encode": [], "step": [], "naive": []}
    for _ in range(rounds):
        for name, label_map in (("1", one), ("all", four)):
            times[name].append(seconds_a_frame(quality, source, label_map))
        times["1, fp32"].append(seconds_a_frame(quality, source, one, "fp32"))
        tracker = PropagationTracker(PropagationOptions(quality=quality), vos.Runtime(device="cpu"))  # type: ignore[arg-type]
        tracker.start(frames[0], one, tracker.encode(frames[:1])[0])
        for frame in frames[1:]:
            began = time.perf_counter()
            encoding = tracker.encode([frame])[0]
            encoded = time.perf_counter()
            tracker.step(frame, encoding)
            if frame.index > 8:
                alone["encode"].append(encoded - began)
                alone["step"].append(time.perf_counter() - encoded)
        keys = encoding.cells.flatten(1).repeat(1, PRESETS[quality].memory.context + 1)
        values = torch.rand(2, keys.shape[1])
        began = time.perf_counter()
        global_votes(encoding.cells, keys, values, 7)
        alone["naive"].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in {**times, **alone}.items()}
    one_after_another = median["encode"] + median["step"]
    return {
        "seconds_a_frame_one_object": median["1"],
        "seconds_a_frame_four_objects": median["all"],
        "ratio_to_fp32": median["1, fp32"] / median["1"],
        "share_of_each_further_object": (median["all"] - median["1"]) / 3 / median["1"],
        "seconds_of_features_and_step": one_after_another,
        "seconds_a_frame_full_similarity": median["encode"] + median["naive"],
        "ratio_to_full_similarity": (median["encode"] + median["naive"]) / one_after_another,
    }


class BackAndForth:
    """A sequence of DAVIS played forward and backward, again and again; read frame by frame."""

    def __init__(self, folder: Path, count: int) -> None:
        paths = sorted(folder.glob("*.jpg"))
        self._paths = paths + paths[-2:0:-1]
        self.info = SourceInfo(str(folder), folder.name, "back and forth", frame_count=count)

    def frames(self, indices: range | None = None) -> Iterator[vos.Frame]:
        for index in indices or range(self.info.frame_count or 0):
            image = cv2.cvtColor(cv2.imread(str(self._paths[index % len(self._paths)])), cv2.COLOR_BGR2RGB)
            yield vos.Frame(index, image, f"{index:05d}")

    def close(self) -> None:
        pass


def peak_memory(quality: str, root: Path, sequence: str, count: int, threads: int | None) -> dict[int, float]:
    """Track a sequence forward and backward: the peak of resident memory, GiB, after so many frames."""
    label_map = vos.read_label_map(root / "Annotations/480p" / sequence / "00000.png")
    source = BackAndForth(root / "JPEGImages/480p" / sequence, count)
    runtime = vos.Runtime(device="cpu", threads=threads)
    peaks: dict[int, float] = {}
    for frame, tracked in vos.stream(source, label_map, options={"quality": quality}, runtime=runtime):
        encode_label_map(tracked)
        if (frame.index + 1) % max(1, count // 8) == 0:
            peaks[frame.index + 1] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"{quality:9s} {frame.index + 1:5d} frames: peak {peaks[frame.index + 1]:.3f} GiB", flush=True)
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, help="a DAVIS tree; without it only speed is measured")
    parser.add_argument("--set", default="2017/val", help="image set under ImageSets")
    parser.add_argument("--sequences", nargs="*", help="these sequences in place of an image set")
    parser.add_argument("--quality", nargs="*", default=["best"], choices=list(PRESETS))
    parser.add_argument("--stages", default="", help="stages to leave out, such as -decoder,-edges")
    parser.add_argument("--every", type=int, default=1, help="score every n-th frame")
    parser.add_argument("--step", type=int, default=1, help="track every n-th frame; below 0 from the last one on")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the speed measurement; 0 leaves it out")
    parser.add_argument("--frames", type=int, default=0, help="measure memory over so many frames, with --davis")
    parser.add_argument("--longest", default="composite-dev-2", help="the sequence that memory is measured on")
    parser.add_argument("--objects", action="store_true", help="what each further object costs, with --davis")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--plot", type=Path, help="draw how scores and J agree, as SVG")
    parser.add_argument("--uncalibrated", action="store_true", help="scores are the sureness that they are made from")
    parser.add_argument("--json", type=Path, default=Path("bench-out/propagation.json"))
    arguments = parser.parse_args()
    if arguments.uncalibrated:
        vos_propagation.confidence.CALIBRATION = ((0.0, 1.0), (0.0, 1.0))
    report: dict[str, Any] = {}
    for quality in arguments.quality:
        entry: dict[str, Any] = {"sequences": []}
        if arguments.davis:
            names = arguments.sequences or (arguments.davis / f"ImageSets/{arguments.set}.txt").read_text().split()
        if arguments.davis and arguments.objects:
            entry["further_objects"] = further_objects(quality, arguments.davis, names, arguments.rounds)
        elif arguments.davis and not arguments.frames:
            options = PropagationOptions(quality=quality, stages=arguments.stages)
            tracker = PropagationTracker(options, vos.Runtime(device="cpu", threads=arguments.threads))
            for name in names:
                result = track(tracker, arguments.davis, name, arguments.every, arguments.step)
                objects = " ".join(f"{i}: J {j:.3f} F {f:.3f}" for i, (j, f) in result["objects"].items())
                fps = result["frames_per_second"]
                print(f"{quality:9s} {name:16s} J&F {result['j_and_f']:.4f}  {fps:5.1f} fps  {objects}", flush=True)
                entry["sequences"].append(result)
            pairs = [pair for result in entry["sequences"] for pair in result["confidence"]]
            entry["reliability"] = reliability(pairs)
            for score, j, count in entry["reliability"]:
                print(f"{quality:9s} score {score:.3f}: J {j:.3f} over {count} masks")
            if arguments.plot:
                arguments.plot.write_text(draw_reliability(entry["reliability"]))
            for kind, chosen in (("real", False), ("composite", True)):
                scores = [r["j_and_f"] for r in entry["sequences"] if r["sequence"].startswith("composite") == chosen]
                if scores:
                    entry[f"j_and_f_{kind}"] = float(np.mean(scores))
                    print(f"{quality:9s} {kind}: mean J&F {np.mean(scores):.4f} over {len(scores)} sequences")
        if arguments.frames and arguments.davis:
            entry["peak_memory"] = peak_memory(
                quality, arguments.davis, arguments.longest, arguments.frames, arguments.threads
            )
        if arguments.rounds and not arguments.objects:
            entry["speed"] = speed(quality, arguments.rounds)
            for name, value in entry["speed"].items():
                print(f"{quality:9s} {name}: {value:.3f}")
        report[quality] = entry
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
