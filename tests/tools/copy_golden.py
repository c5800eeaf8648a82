"""Copy the golden vectors of Segment Anything and PerSAM into tests/data, thinned out.

    python tests/tools/copy_golden.py ../shared/golden tests/data

Pictures become PNG files; float maps of 128 or more rows and columns keep every fourth of each (``_sub4``).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("persam_image", "persam_f_image", "persam_video", "persam_video_lost_object", "persam_video_f")


def thinned(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep what is small, and every fourth row and column of what is not."""
    kept = {}
    for name, array in arrays.items():
        large = array.dtype.kind == "f" and array.ndim >= 2 and min(array.shape[-2:]) >= 128
        if large or (name.endswith(("features", "features_ref", "features_frame0")) and array.ndim == 4):
            kept[f"{name}_sub4"] = array[..., ::4, ::4]
        elif not name.endswith("mask_input_sub4") or "frame1/" in name or "frame5/" in name or "test" in name:
            kept[name] = array
    return kept


def main() -> None:
    """Copy."""
    source, target = (Path(argument) for argument in sys.argv[1:3])
    tiny, persam = target / "sam_tiny", target / "persam"
    for folder in (tiny, persam):
        folder.mkdir(parents=True, exist_ok=True)
    (tiny / "state_dict.npz").write_bytes((source / "sam_tiny/state_dict.npz").read_bytes())
    reference = dict(np.load(source / "sam_tiny/reference_predictions.npz"))
    for name in ("duck/image", "judo/image"):
        del reference[name]  # the same pictures as persam/image_1.png and persam/frame_0.png
    np.savez_compressed(tiny / "reference_predictions.npz", **thinned(reference))
    for name in NAMES:
        arrays = dict(np.load(source / f"{name}.npz"))
        for index in range(3):
            if (picture := arrays.pop(f"image_{index}", None)) is not None:
                Image.fromarray(picture).save(persam / f"image_{index}.png", optimize=True)
        for index, frame in enumerate(arrays.pop("frames", ())):
            Image.fromarray(frame).save(persam / f"frame_{index}.png", optimize=True)
        np.savez_compressed(persam / f"{name}.npz", **thinned(arrays))


if __name__ == "__main__":
    main()
