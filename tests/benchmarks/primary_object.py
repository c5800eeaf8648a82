"""The primary object without any prompt: the IoU that ``primary-object`` reaches on sequences of one object.

Of each sequence every twelfth frame is taken, with the frames that its motion is computed from; the first frame is also
taken alone, as a still. Prints a row for each sequence and the mean.

    python tests/benchmarks/primary_object.py --data ../shared/davis --set 2016/val
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import vos
from vos.evaluation.metrics.region_similarity import region_similarity
from vos.plugin import EmptyMaskError, Frame, Initializer, LabelMap

EVERY = 12


def found(where: Frame | Path, initializer: Initializer, index: int = 0) -> LabelMap:
    """Return the label map, uint8 (H, W), without an object where nothing is found."""
    try:
        return vos.initialize(where, initializer, frame_index=index)
    except EmptyMaskError:
        frame = where if isinstance(where, Frame) else vos.read_frame(where, index)
        return np.zeros(frame.size, dtype=np.uint8)


def scores(root: Path, sequence: str, initializer: Initializer) -> tuple[float, float, float]:
    """Return the IoU of every twelfth frame on the mean, of the first one, and of the first one as a still."""
    folder = root / "JPEGImages/480p" / sequence
    names = [path.stem for path in sorted(folder.glob("*.jpg"))]

    def score(index: int, label_map: LabelMap) -> float:
        truth = vos.read_label_map(root / "Annotations/480p" / sequence / f"{names[index]}.png", allow_empty=True)
        return region_similarity(truth > 0, label_map > 0)

    of_frames = [score(index, found(folder, initializer, index)) for index in range(0, len(names), EVERY)]
    return float(np.mean(of_frames)), of_frames[0], score(0, found(vos.read_frame(folder, 0), initializer))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="2016/val")
    chosen = parser.parse_args()
    from vos_primary.initializer import PrimaryObjectInitializer
    from vos_primary.options import PrimaryOptions

    initializer = PrimaryObjectInitializer(PrimaryOptions())
    print("| sequence | every twelfth frame | first frame | first frame as a still |\n|---|---|---|---|")
    rows = []
    for sequence in (chosen.data / f"ImageSets/{chosen.set}.txt").read_text().split():
        rows.append(scores(chosen.data, sequence, initializer))
        print(f"| {sequence} | " + " | ".join(f"{value:.3f}" for value in rows[-1]) + " |", flush=True)
    print("| mean | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
