"""Speed of reading masks: the plain decoder for PNG against Pillow after the same checks, in the same run.

Masks are read as ``vos eval`` reads them. "pillow, checked" checks checksums and rows and then lets Pillow decode;
"pillow, unchecked" is Pillow alone, which accepts a mask with half of its rows. All three arrays are equal.

    python tests/benchmarks/bench_mask_reading.py [--masks DIR]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import vos
from vos.io.images.png_file import decompress_rows, parse_png
from vos.io.masks.mask_file import read_stored_label_map

OUT = Path(__file__).parents[2] / "bench-out" / "mask_reading.json"


def make_masks(folder: Path, frames: int = 100, size: tuple[int, int] = (480, 854)) -> None:
    """Drifting blobs of uneven outline."""
    rng = np.random.default_rng(0)
    for frame in range(frames):
        noise = cv2.resize(rng.normal(0, 1, (8, 14)).astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
        vos.write_label_map(folder / f"{frame:05d}.png", (noise > 0.5).astype(np.uint8) + (noise < -0.8) * np.uint8(2))


def checked(path: Path) -> np.ndarray:
    content = path.read_bytes()
    decompress_rows(parse_png(content))
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image)


def unchecked(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=Path, help="folder of PNG masks")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.masks or Path(scratch)
        if given.masks is None:
            make_masks(folder)
        paths = sorted(folder.glob("*.png"))
        readers: dict[str, Callable[[Path], np.ndarray]] = {
            "vos": lambda path: read_stored_label_map(path).label_map,
            "pillow, checked": checked,
            "pillow, unchecked": unchecked,
        }
        for path in paths:
            assert all(np.array_equal(read(path), unchecked(path)) for read in readers.values()), path
        times: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(given.rounds):
            for name, read in readers.items():
                began = time.perf_counter()
                for path in paths:
                    read(path)
                times[name].append(time.perf_counter() - began)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    ratios = {name: seconds["vos"] / value for name, value in seconds.items() if name != "vos"}
    for name, ratio in ratios.items():
        print(f"{len(paths)} masks: vos takes {ratio:.2f} of the time of {name}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"masks": len(paths), "seconds": seconds, "ratios": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
