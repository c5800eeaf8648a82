"""Export a small result in the formats that other tools' libraries read; ``check.py`` opens them there.

Usage: export.py FOLDER (write), export.py --decode FOLDER (read what the other library encoded).
"""

import json
import sys
from pathlib import Path

import numpy as np

import vos
from vos.conversion.exporting import export
from vos.testing import StubTracker, TinySequence
from vos_formats.run_lengths import from_label_studio

SIZE = (40, 56)


def label_maps():
    """Two objects with a hole, two parts and the frame's border; the second one vanishes for a frame."""
    maps = []
    for k in range(4):
        label_map = np.zeros(SIZE, np.uint8)
        label_map[2:20, 3 + k : 25 + k] = 3
        label_map[8:12, 9 + k : 15 + k] = 0
        if k != 2:
            label_map[25:40, 30:56] = 9
            label_map[5:9, 40 + k : 44] = 9
        maps.append(label_map)
    return tuple(maps)


class Oracle(StubTracker):
    """Gives the exact label maps."""

    def step(self, frame):
        return vos.Prediction.from_label_map(label_maps()[frame.index], (3, 9))


def write(folder: Path) -> None:
    """Write the truth, and every format."""
    maps = label_maps()
    images = tuple(np.full((*SIZE, 3), 30 * (k + 1), np.uint8) for k in range(len(maps)))
    sequence = TinySequence("clip", images, maps, ())
    run = vos.track(sequence, maps[0], tracker=Oracle(), output=folder / "out").run.output
    np.save(folder / "truth.npy", np.stack(maps))
    with_images = {"images": True}
    for polygons in (False, True):
        path = folder / f"coco-{polygons}" / "annotations" / "instances_clip.json"
        export(run, "coco", path, options={"polygons": polygons, **with_images}, source=sequence)
        (path.parent / "images").rename(path.parent.parent / "images")
        export(run, "cvat", folder / f"cvat-{polygons}.xml", options={"polygons": polygons})
    export(run, "yolo", folder / "yolo", options=with_images, source=sequence)
    export(run, "label-studio", folder / "label-studio.json")
    export(run, "youtube-vis", folder / "youtube-vis.json")
    export(run, "sa-v", folder / "sa-v" / "clip")
    export(run, "mots", folder / "mots" / "clip" / "instances")


def decode(folder: Path) -> None:
    """Decode the brush masks that Label Studio's own encoder made."""
    truth = np.load(folder / "truth.npy")
    for entry in json.loads((folder / "encoded.json").read_text()):
        assert np.array_equal(from_label_studio(entry["rle"], SIZE), truth[entry["frame"]] == entry["object"])
    print("label-studio-sdk's encoder: decoded exactly")


if __name__ == "__main__":
    if sys.argv[1] == "--decode":
        decode(Path(sys.argv[2]))
    else:
        write(Path(sys.argv[1]))
