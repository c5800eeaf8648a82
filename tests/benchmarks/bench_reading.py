"""Speed of reading a video, beside decord 0.6.0; a ratio below 1 is faster than decord.

    python tests/benchmarks/bench_reading.py [VIDEO] [--frames 120] [--repeats 3] [--json out.json]

Without a video it reads the example clip, encoded anew to and fro until it has 300 frames.
Both readers take turns. Times are processor time of all threads and include opening the file; the least of the
repeats counts, and plugins are loaded before.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import av
import decord

import vos
from vos.example_clip import CLIP

PLUGINS = vos.load_plugins()
LENGTH = 300
"""Frames of the video that is made where none is given."""


def write_long_clip(path: Path) -> None:
    """Encode the example clip to and fro, as H.264 of ``LENGTH`` frames with a key frame at least every 60."""
    with av.open(str(CLIP)) as clip:
        stream = clip.streams.video[0]
        rate = stream.average_rate
        frames = [frame.to_ndarray(format="yuv420p") for frame in clip.decode(stream)]
        width, height = stream.width, stream.height
    with av.open(str(path), "w") as long_clip:
        encoder = long_clip.add_stream("libx264", rate=rate, options={"g": "60"})
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        for pixels in islice(cycle(frames + frames[-2:0:-1]), LENGTH):
            long_clip.mux(encoder.encode(av.VideoFrame.from_ndarray(pixels, format="yuv420p")))
        long_clip.mux(encoder.encode())


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
    """Processor seconds of one reading, all threads together: what else the machine does is not counted."""
    began = time.process_time()
    read(video, indices)
    return time.process_time() - began


def main() -> None:
    """Read the options, and make a video where none is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", help="by default the example clip, made longer")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    decord.logging.set_level(decord.logging.QUIET)
    with tempfile.TemporaryDirectory() as folder:
        video = options.video
        if video is None:
            video = Path(folder) / "example-clip-300.mp4"
            write_long_clip(video)
        count, ratios = measure(video, options.frames, options.repeats)
    if options.json:
        options.json.write_text(json.dumps({"video": video.name, "frames": count, "ratio": ratios}, indent=2))


def measure(video: Path, frames: int, repeats: int) -> tuple[int, dict[str, float]]:
    """Measure in order, with a step, from the middle and backward; print and return the ratios by order."""
    source = vos.open_source(video)
    count = min(source.info.frame_count or 0, frames)
    source.close()
    orders = {
        "in order": range(count),
        "every fifth": range(0, count, 5),
        "from the middle": range(count // 2, count),
        "backward": range(count - 1, -1, -1),
        "open and one frame": range(1),
    }
    ratios: dict[str, float] = {}
    for name, indices in orders.items():
        pairs = [(seconds(with_vos, video, indices), seconds(with_decord, video, indices)) for _ in range(repeats)]
        ours, theirs = (min(pair[side] for pair in pairs) for side in (0, 1))
        ratios[name] = round(ours / theirs, 3)
        print(f"{name:20} vos {ours:6.3f} s  decord {theirs:6.3f} s  ratio {ours / theirs:.2f}")
    return count, ratios


if __name__ == "__main__":
    main()
