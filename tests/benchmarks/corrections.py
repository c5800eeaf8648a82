"""Gain of a correction: one true mask in the frame where the tracker is worst, and J&F around that frame.

For each sequence of an image set: track from the first mask; find the frame with the lowest J&F that has 20 frames
after it; track again with that frame's true mask as well, both ways. Prints the mean J&F of the 20 frames after it and
of the up to 20 frames before it that are nearer to it than to the first mask, without and with the correction.

    python tests/benchmarks/corrections.py --davis ../shared/davis_train --set 2016/tune
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import vos
from vos.evaluation.metrics.boundary_accuracy import boundary_accuracy
from vos.evaluation.metrics.region_similarity import region_similarity

SPAN = 20
"""Frames after the correction, and at most before it, that are scored."""
FIRST = 5
"""The worst frame is looked for from here on."""


def j_and_f(truth: vos.LabelMap, found: vos.LabelMap) -> float:
    """Return the mean J&F of a frame's objects, in [0, 1]."""
    ids = vos.object_ids(truth) or (1,)
    scores = [(region_similarity(truth == i, found == i) + boundary_accuracy(truth == i, found == i)) / 2 for i in ids]
    return float(np.mean(scores))


def tracked(frames: Path, truth: list[vos.LabelMap], given: list[int], stop: int, tracker: str) -> Mapping[int, float]:
    """Track from the true masks of some frames, both ways; return J&F by frame index."""
    annotations = {index: truth[index] for index in given}
    results = vos.stream(str(frames), annotations, tracker=tracker, stop=stop, both_ways=True)
    return {frame.index: j_and_f(truth[frame.index], label_map) for frame, label_map in results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True, help="a DAVIS tree")
    parser.add_argument("--set", default="2016/val", help="image set under ImageSets")
    parser.add_argument("--sequences", nargs="*", help="only these")
    parser.add_argument("--tracker", default="propagation")
    arguments = parser.parse_args()
    names = (arguments.davis / f"ImageSets/{arguments.set}.txt").read_text().split()
    rows = []
    print("sequence             frame  after: none  given   before: none  given")
    for name in arguments.sequences or names:
        frames, masks = (arguments.davis / kind / "480p" / name for kind in ("JPEGImages", "Annotations"))
        truth = [vos.read_label_map(path, allow_empty=True) for path in sorted(masks.glob("*.png"))]
        if len(truth) < FIRST + SPAN + 1:
            continue
        alone = tracked(frames, truth, [0], len(truth), arguments.tracker)
        worst = min((i for i in range(FIRST, len(truth) - SPAN) if vos.object_ids(truth[i])), key=alone.__getitem__)
        corrected = tracked(frames, truth, [0, worst], worst + SPAN + 1, arguments.tracker)
        after = range(worst + 1, worst + SPAN + 1)
        before = range(max(worst // 2 + 1, worst - SPAN), worst)
        rows.append([np.mean([one[i] for i in part]) for part in (after, before) for one in (alone, corrected)])
        print(f"{name:20} {worst:5}" + "".join(f"{value:11.3f}" for value in rows[-1]), flush=True)
    print(f"{'mean':26}" + "".join(f"{value:11.3f}" for value in np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
