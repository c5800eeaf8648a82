"""First masks without weights: the IoU that a box, a stroke and clicks on an object reach, of each initializer.

Prompts are made from the true masks: the object's own box; a box up to 15 % of its sides looser at each side; a
stroke between the innermost pixel (the maximum of the distance transform) and that of what lies further from it than
0.4 of the root of the area; and clicks, the first at the innermost pixel, each further one at that of the largest
region of error, on the object or beside it. Prints the mean IoU of the objects, how many have an IoU below 0.1 with
their box, and the median number of clicks to 0.85 (11 stands for more than 10).

    python tests/benchmarks/first_masks.py --data ../shared/davis --set 2016/val

``--data`` is a tree as DAVIS has it, or a folder of photographs (JPEGImages/X.jpg, Annotations/X.png). Of a sequence
the first and the middle frame are taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

import vos
from vos.evaluation.metrics.region_similarity import region_similarity
from vos.plugin import AnyArray, BoolArray, EmptyMaskError, Image

MOST_CLICKS = 10
GOAL = 0.85
VOID = 255


def objects_of(
    root: Path, image_set: str | None, names: list[str], min_area: int
) -> Iterator[tuple[Image, BoolArray, BoolArray]]:
    """Yield each object's image, uint8 (H, W, 3), mask and void, bool (H, W)."""
    if image_set is None:
        found = [root / f"JPEGImages/{name}.jpg" for name in names] or sorted((root / "JPEGImages").glob("*.jpg"))
    else:
        names = names or (root / f"ImageSets/{image_set}.txt").read_text().split()
        frames = [sorted((root / "JPEGImages/480p" / name).glob("*.jpg")) for name in names]
        found = [path for one in frames for path in (one[0], one[len(one) // 2])]
    for path in found:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        mask_path = root / "Annotations" / path.relative_to(root / "JPEGImages").with_suffix(".png")
        label_map = vos.read_label_map(mask_path, allow_empty=True)
        for object_id in vos.object_ids(label_map):
            mask = label_map == object_id
            if mask.sum() >= min_area:
                yield image, mask, label_map == VOID


def innermost(mask: BoolArray) -> tuple[int, int]:
    """Return the pixel (x, y) that is furthest from the mask's edge and the frame's."""
    distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x), int(y)


def largest(region: BoolArray) -> BoolArray:
    """Return the largest connected part."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    return np.asarray(parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()) if count > 1 else region


def answer(image: Image, name: str, **options: str) -> BoolArray:
    """Ask an initializer for object 1; an empty mask if it finds nothing."""
    try:
        return np.asarray(vos.initialize(image, name, options) == 1)
    except EmptyMaskError:
        return np.zeros(image.shape[:2], bool)


def box_of(mask: BoolArray, loose: AnyArray) -> str:
    """Return the option of a mask's box with its sides moved outward, (4,), as shares of its width and height."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    x0, y0 = columns[0] - loose[0] * width, rows[0] - loose[1] * height
    x1, y1 = columns[-1] + loose[2] * width, rows[-1] + loose[3] * height
    return f"1:{max(x0, 0)},{max(y0, 0)},{min(x1, mask.shape[1] - 1)},{min(y1, mask.shape[0] - 1)}"


def stroke_on(mask: BoolArray) -> str:
    """Return the option of a stroke on the object."""
    x, y = innermost(mask)
    rest = mask.astype(np.uint8)
    cv2.circle(rest, (x, y), int(0.4 * np.sqrt(mask.sum())), 0, -1)
    to_x, to_y = innermost(rest > 0) if rest.any() else (x, y)
    return f"1:{x},{y} {to_x},{to_y} +"


def clicked(image: Image, mask: BoolArray, void: BoolArray, name: str) -> list[float]:
    """Click until the goal or ``MOST_CLICKS``, at least five times; return the IoU after each click."""
    x, y = innermost(mask)
    points, scores = [f"1:{x},{y},+"], []
    while len(scores) < MOST_CLICKS:
        found = answer(image, name, points=";".join(points))
        scores.append(region_similarity(mask, found, void))
        missing, wrong = largest(mask & ~found & ~void), largest(found & ~mask & ~void)
        if (scores[-1] >= GOAL and len(scores) >= 5) or not (missing.any() or wrong.any()):
            break
        on_object = missing.sum() >= wrong.sum()
        x, y = innermost(missing if on_object else wrong)
        points.append(f"1:{x},{y},{'+' if on_object else '-'}")
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", help="image set under ImageSets; without it the folder holds photographs")
    parser.add_argument("--names", nargs="*", default=[], help="only these sequences or photographs")
    parser.add_argument("--min-area", type=int, default=1, help="smallest object, pixels")
    parser.add_argument("--initializers", nargs="+", default=["clicks", "grabcut"])
    arguments = parser.parse_args()
    objects = list(objects_of(arguments.data, arguments.set, arguments.names, arguments.min_area))
    print(f"{len(objects)} objects")
    print(f"{'':13}box  below 0.1  loose box  stroke  1 click  2 clicks  3      5      to {GOAL}")
    for name in arguments.initializers:
        rng, rows, clicks = np.random.default_rng(0), [], []
        for image, mask, void in objects:
            prompts = {"boxes": box_of(mask, np.zeros(4))}, {"boxes": box_of(mask, rng.uniform(0, 0.15, 4))}
            found = [answer(image, name, **options) for options in (*prompts, {"scribbles": stroke_on(mask)})]
            scores = clicked(image, mask, void, name)
            at = [scores[min(count, len(scores)) - 1] for count in (1, 2, 3, 5)]
            rows.append([*(region_similarity(mask, one, void) for one in found), *at])
            clicks.append(next((k for k, score in enumerate(scores, 1) if score >= GOAL), MOST_CLICKS + 1))
        missed = sum(row[0] < 0.1 for row in rows)
        box, loose, stroke, *rest = np.mean(rows, axis=0)
        print(
            f"{name:10} {box:6.3f} {missed:10} {loose:10.3f} {stroke:7.3f}  "
            + "  ".join(f"{value:6.3f}" for value in rest) + f"  {np.median(clicks):5.1f}",
            flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
