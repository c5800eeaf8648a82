"""Compare every frame that vos reads with ffmpeg's, over containers, codecs and orders of reading.

    python tests/sweeps/sweep_frames.py [--only PATTERN] [--keep FOLDER]

Each file is a clip of 40 frames whose pictures carry their numbers, written by PyAV. The truth is what plain decoding
with FFmpeg's libraries shows from the beginning of the file. A reading is *exact* if it gives the same pictures with
the same indices, and the clip's times and rate or none, *refused* if it ends with a VosError, and *wrong* otherwise.
The exit status is 1 if one is wrong. Containers that cannot hold a codec are left out and counted.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
from scheduling import same_scheduling

import vos

AnyArray = np.ndarray[Any, Any]

os.environ["SVT_LOG"] = "0"  # the AV1 encoder writes to the terminal
COUNT, HEIGHT, WIDTH, RATE = 40, 64, 96, 25

CONTAINERS = {
    "mp4": "mp4", "mov": "mov", "fragments.mp4": "mp4", "3gp": "3gp", "mkv": "matroska", "webm": "webm",
    "avi": "avi", "ts": "mpegts", "m2ts": "mpegts", "mpg": "mpeg", "vob": "vob", "flv": "flv", "wmv": "asf",
    "nut": "nut", "ogv": "ogg", "mxf": "mxf", "ivf": "ivf", "gif": "gif",
    "h264": "h264", "hevc": "hevc", "m2v": "mpeg2video", "m4v": "m4v", "mjpeg": "mjpeg", "obu": "obu",
    "y4m": "yuv4mpegpipe",
}  # fmt: skip
"""Suffix and FFmpeg's name of the format."""

MUXER_OPTIONS = {"fragments.mp4": {"movflags": "frag_keyframe+empty_moov"}, "m2ts": {"mpegts_m2ts_mode": "1"}}

CODECS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", {"g": "12", "bf": "3"}),
    "h264 open GOP": ("libx264", "yuv420p", {"g": "12", "bf": "3", "x264-params": "open-gop=1:b-pyramid=normal"}),
    "h264 without B": ("libx264", "yuv420p", {"g": "12", "bf": "0"}),
    "h264 one key frame": ("libx264", "yuv420p", {"g": "250", "bf": "3"}),
    "h264 interlaced": ("libx264", "yuv420p", {"g": "12", "bf": "2", "x264-params": "tff=1"}),
    "h264 intra refresh": ("libx264", "yuv420p", {"x264-params": "intra-refresh=1:keyint=12"}),
    "hevc": ("libx265", "yuv420p", {"x265-params": "log-level=none:keyint=12:ctu=16:open-gop=0"}),
    "hevc open GOP": ("libx265", "yuv420p", {"x265-params": "log-level=none:keyint=12:ctu=16:open-gop=1"}),
    "hevc 10 bits": ("libx265", "yuv420p10le", {"x265-params": "log-level=none:keyint=12:ctu=16"}),
    "vp8": ("libvpx", "yuv420p", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "10", "deadline": "good"}),
    "vp9": ("libvpx-vp9", "yuv420p", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "10", "cpu-used": "4"}),
    "av1": ("libsvtav1", "yuv420p", {"g": "12", "preset": "10", "svtav1-params": "lp=1"}),
    "mpeg4": ("mpeg4", "yuv420p", {"g": "12", "bf": "2"}),
    "mpeg2": ("mpeg2video", "yuv420p", {"g": "12", "bf": "2"}),
    "mpeg2 interlaced": ("mpeg2video", "yuv420p", {"g": "12", "bf": "2", "flags": "+ildct+ilme"}),
    "mpeg1": ("mpeg1video", "yuv420p", {"g": "12", "bf": "2"}),
    "mjpeg": ("mjpeg", "yuvj420p", {}),
    "wmv2": ("wmv2", "yuv420p", {"g": "12"}),
    "msmpeg4": ("msmpeg4", "yuv420p", {"g": "12"}),
    "flv1": ("flv", "yuv420p", {"g": "12"}),
    "h263p": ("h263p", "yuv420p", {"g": "12"}),
    "prores": ("prores_ks", "yuv422p10le", {}),
    "ffv1": ("ffv1", "yuv420p", {"g": "12"}),
    "rawvideo": ("rawvideo", "yuv420p", {}),
    "png": ("png", "rgb24", {}),
    "gif": ("gif", "rgb8", {}),
}  # fmt: skip
"""Name, encoder, pixel format and options: B frames and open groups of pictures where the codec has them."""

ORDERS = {
    "in order": range(COUNT),
    "start 1": range(1, COUNT),
    "start 17": range(17, COUNT),
    "start 25": range(25, COUNT),
    "last": range(COUNT - 1, COUNT),
    "step 2": range(0, COUNT, 2),
    "step 7": range(0, COUNT, 7),
    "start 3 step 13": range(3, COUNT, 13),
    "backward": range(COUNT - 1, -1, -1),
    "backward from 20": range(20, -1, -1),
    "backward step 9": range(38, -1, -9),
}
SHUFFLED = tuple(int(index) for index in np.random.default_rng(0).permutation(COUNT))
"""Single frames in any order from one source, as the web page asks for them."""


def decode_all(path: Path) -> list[AnyArray]:
    """Decode a file from its beginning to its end, as ffmpeg does: the frames that it shows, uint8 (H, W, 3)."""
    with av.open(str(path)) as file:
        stream = file.streams.best("video")
        if not isinstance(stream, av.VideoStream):  # the container does not say which codec it is
            return []
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]


def picture(number: int) -> AnyArray:
    """Six columns, light where the number has a 1, and a light block on top that moves to the right."""
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for bit in range(6):
        if number >> bit & 1:
            image[HEIGHT // 2 :, bit * 16 : bit * 16 + 16] = 220
    image[: HEIGHT // 4, number * 2 : number * 2 + 10] = 200
    return image


def number_in(image: AnyArray) -> int:
    """The number that a picture carries."""
    return sum(1 << bit for bit in range(6) if image[40:60, bit * 16 + 4 : bit * 16 + 12].mean() > 130)


def write_clip(path: Path, container: str, codec: str) -> None:
    """Encode the clip; raises where the container cannot hold the codec."""
    encoder, pixel_format, options = CODECS[codec]
    with av.open(str(path), "w", format=CONTAINERS[container], options=MUXER_OPTIONS.get(container, {})) as file:
        stream = file.add_stream(encoder, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        stream.codec_context.thread_count = 1
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def faults(source: vos.Source, truth: list[AnyArray], indices: range) -> Iterator[str]:
    """Compare frames that are read with the truth; every time that a source states has to be that of the clip."""
    frames = list(source.frames(indices))
    if [frame.index for frame in frames] != list(indices):
        yield f"indices {[frame.index for frame in frames]}"
    for frame in frames:
        if not np.array_equal(frame.image, truth[frame.index]):
            yield f"frame {frame.index} is {number_in(frame.image)}"
        if frame.time is not None and abs(frame.time - frame.index / RATE) > 2e-3:
            yield f"frame {frame.index} is at {frame.time:.3f} s"


def verdict(path: Path, order: str, truth: list[AnyArray], plugins: Any) -> str:
    """``"exact"``, ``"refused: ..."`` or ``"wrong: ..."`` for one reading."""
    found: list[str] = []
    try:
        source = vos.open_source(path, plugins)
        try:
            if source.info.frame_count != len(truth):
                found.append(f"{source.info.frame_count} frames, not {len(truth)}")
            if source.info.fps is not None and abs(source.info.fps - RATE) > 0.01:
                found.append(f"{source.info.fps} frames/s")
            for part in [range(i, i + 1) for i in SHUFFLED] if order == "shuffled" else [ORDERS[order]]:
                found.extend(faults(source, truth, part))
        finally:
            source.close()
    except vos.VosError as error:
        return f"refused: {error}"
    return f"wrong: {'; '.join(found[:4])}" if found else "exact"


def sweep(folder: Path, pattern: str) -> Counter[str]:
    """Write, read and compare every file whose ``container/codec`` fits a pattern; print what is not exact."""
    plugins = vos.load_plugins()
    counts: Counter[str] = Counter()
    for container, codec in product(CONTAINERS, CODECS):
        name = f"{container}/{codec}"
        if not fnmatch.fnmatch(name, pattern):
            continue
        path = folder / f"{codec.replace(' ', '-')}.{container}"
        try:
            with same_scheduling():
                write_clip(path, container, codec)
            truth = decode_all(path)
        except (av.error.FFmpegError, ValueError):
            counts["combinations that the container cannot hold"] += 1
            continue
        numbers = [number_in(image) for image in truth]
        if numbers != list(range(COUNT)):  # the muxer lost frames or the codec's name, or the encoder blurred a number
            print(f"{name}: FFmpeg itself shows {len(numbers)} frames: {numbers}", flush=True)
            counts["files of which FFmpeg shows other frames"] += 1
        if len(truth) not in (0, COUNT):
            continue
        for order in [*ORDERS, "shuffled"] if truth else ["in order"]:
            result = verdict(path, order, truth, plugins)
            counts[f"readings {result.partition(':')[0]}"] += 1
            if result != "exact":
                print(f"{name}, {order}: {result}", flush=True)
    return counts


def main() -> int:
    """Sweep and print counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help='such as "ts/*", "*/h264*"')
    parser.add_argument("--keep", type=Path, help="a folder for the files, which are removed otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        counts = sweep(folder, options.only)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    return 1 if counts["readings wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
