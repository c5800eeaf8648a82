"""How long it takes to read a video, beside decord 0.6.0, which read it before; a ratio below 1 is quicker than decord.

    python tests/benchmarks/bench_reading.py VIDEO [--frames 120] [--repeats 3] [--json out.json]

Both readers take turns, so that a busy machine slows both. Times include opening the file; the least of the
repeats counts, and plugins are loaded before.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import decord

import vos

PLUGINS = vos.load_plugins()


def with_vos(video: Path, indices: range) -> None:
    """Read frames as a run does."""
    source = vos.open_source(video, PLUGINS)
    for _ in source.frames(indices):
        pass
    source.close()


def with_decord(video: Path, indices: range) -> None:
    """Read frames as 0.1.0 did: forward one by one, backward in blocks of 32."""
    reader = decord.VideoReader(str(video), ctx=decord.cpu(0))
    if indices.step > 0:
        for index in indices:
            reader[index].asnumpy()
        return
    for begin in range(0, len(indices), 32):
        _ = [reader[index].asnumpy() for index in indices[begin : begin + 32][::-1]]


def seconds(read: Callable[[Path, range], None], video: Path, indices: range) -> float:
    """Time one reading."""
    began = time.perf_counter()
    read(video, indices)
    return time.perf_counter() - began


def main() -> None:
    """Measure in order, with a step, from the middle and backward, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    decord.logging.set_level(decord.logging.QUIET)
    source = vos.open_source(options.video)
    count = min(source.info.frame_count or 0, options.frames)
    source.close()
    orders = {
        "in order": range(count),
        "every fifth": range(0, count, 5),
        "from the middle": range(count // 2, count),
        "backward": range(count - 1, -1, -1),
        "open and one frame": range(1),
    }
    ratios = {}
    for name, indices in orders.items():
        pairs = [
            (seconds(with_vos, options.video, indices), seconds(with_decord, options.video, indices))
            for _ in range(options.repeats)
        ]
        ours, theirs = (min(pair[side] for pair in pairs) for side in (0, 1))
        ratios[name] = round(ours / theirs, 3)
        print(f"{name:20} vos {ours:6.3f} s  decord {theirs:6.3f} s  ratio {ours / theirs:.2f}")
    if options.json:
        options.json.write_text(json.dumps({"video": options.video.name, "frames": count, "ratio": ratios}, indent=2))


if __name__ == "__main__":
    main()
