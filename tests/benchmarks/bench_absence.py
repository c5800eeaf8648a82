"""The embedded tracker: absence and return, on clips with exact truth made from the real sequences of a DAVIS tree.

From every sequence five clips are made, always the same; the next sequence of the list is the other place:

- ``leave``: the cut-out object walks out of the other sequence at one side and comes back at another; the other
  sequence's object is tracked too, and nothing of it may be taken.
- ``pan``: the view turns away to the other sequence and comes on until the object appears at the opposite side.
- ``cut``: a cut away to the other sequence and back, later in time and mirrored.
- ``bar``: a wide bar, cut from the other sequence, passes in front of the object.
- ``never``: the object goes with a cut and never comes back.

Reported are: J after return (mean from the first frame in which a quarter of the object is back to the end), the
frames until J exceeds 0.5 (all of them where it never does), the area wrongly claimed while it is absent, as a share of
the object's first area, and J before the absence.

    python tests/benchmarks/bench_absence.py --davis ../shared/davis [--quality fast] [--kinds leave pan]

Without ``--davis`` nothing is measured: the clips are made from real sequences alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

import vos
from vos.evaluation import region_similarity
from vos.host.merging import merge_objects
from vos_propagation.config import PRESETS, PropagationOptions
from vos_propagation.pipeline import PropagationTracker

KINDS = ("leave", "pan", "cut", "bar", "never")
BEFORE, GONE, AFTER = 8, 12, 12
ABSENT, BACK = 0.02, 0.25
MOVE = 8

Clip: TypeAlias = Iterator[tuple[np.ndarray, np.ndarray]]
"""Frames uint8 (H, W, 3) and label maps uint8 (H, W)."""


class Material:
    """The frames and masks of one sequence, run through to and fro without end."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self._images = sorted((root / "JPEGImages/480p" / name).glob("*.jpg"))
        self._masks = root / "Annotations/480p" / name

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Give image uint8 (H, W, 3) and mask bool (H, W)."""
        last = len(self._images) - 1
        path = self._images[last - abs(last - index % (2 * last))]
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        return image, vos.read_label_map(self._masks / f"{path.stem}.png", allow_empty=True) == 1


def leave(own: Material, other: Material) -> Clip:
    """Paste the object over the other sequence; it leaves right and returns from the left, lower."""
    scale = 0.55
    for t in range(BEFORE + MOVE + GONE + MOVE + AFTER):
        image, mask = own[t]
        ground, under = other[t]
        height, width = mask.shape
        label_map = np.where(under, 2, 0).astype(np.uint8)
        y, x = np.nonzero(mask)
        box = (slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1))
        alpha = cv2.resize(mask[box].astype(np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = cv2.resize(image[box], alpha.shape[::-1], interpolation=cv2.INTER_AREA)
        tall, wide = alpha.shape
        middle, beyond = width / 2, width / 2 + wide / 2 + 4
        away = BEFORE + MOVE
        if t < away + GONE // 2:
            left = middle - width / 6 + max(0, t - BEFORE) / MOVE * (beyond + width / 6)
            top = height * 0.3
        else:
            left = middle - beyond + min(1, max(0, t - away - GONE) / MOVE) * beyond
            top = height * 0.6
        left, top = round(left - wide / 2), round(top - tall / 2)
        y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + tall), min(width, left + wide)
        if x1 > x0 and y1 > y0:
            part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
            here, a = (slice(y0, y1), slice(x0, x1)), alpha[part][..., None]
            ground[here] = np.round(a * small[part] + (1 - a) * ground[here])
            label_map[here][a[..., 0] > 0.5] = 1
        yield ground, label_map


def pan(own: Material, other: Material) -> Clip:
    """Slide the view over a round picture of the two sequences."""
    for t in range(BEFORE + MOVE + GONE // 2 + MOVE + AFTER):
        image, mask = own[t]
        width = mask.shape[1]
        turn = min(1, max(0, t - BEFORE) / MOVE) + min(1, max(0, t - BEFORE - MOVE - GONE // 2) / MOVE)
        start = round(turn * width)
        round_image = np.concatenate([image, other[t][0], image], axis=1)
        round_mask = np.concatenate([mask, np.zeros_like(mask), mask], axis=1)
        view = slice(start, start + width)
        yield round_image[:, view], round_mask[:, view].astype(np.uint8)


def cut(own: Material, other: Material) -> Clip:
    """Cut away and back, later and mirrored."""
    for t in range(BEFORE + GONE + AFTER):
        image, mask = other[t] if BEFORE <= t < BEFORE + GONE else own[t + 10 * (t >= BEFORE)]
        if BEFORE <= t < BEFORE + GONE:
            mask = np.zeros_like(mask)
        elif t >= BEFORE:
            image, mask = image[:, ::-1].copy(), mask[:, ::-1]
        yield image, mask.astype(np.uint8)


def bar(own: Material, other: Material) -> Clip:
    """Let a bar of two thirds of the width pass from left to right."""
    moving = 2 * MOVE
    for t in range(BEFORE + moving + AFTER):
        image, mask = own[t]
        width = mask.shape[1]
        wide = 2 * width // 3
        left = round((t - BEFORE) / moving * (width + wide)) - wide
        covered = slice(max(0, left), max(0, min(width, left + wide)))
        image[:, covered], mask[:, covered] = other[0][0][:, covered], False
        yield image, mask.astype(np.uint8)


def never(own: Material, other: Material) -> Clip:
    """Cut away for good."""
    for t in range(BEFORE + 2 * GONE):
        image, mask = own[t] if t < BEFORE else other[t]
        yield image, (mask & (t < BEFORE)).astype(np.uint8)


def play(
    tracker: PropagationTracker, clip: Iterator[tuple[np.ndarray, np.ndarray]], show: Path | None
) -> dict[str, Any]:
    """Track a clip and measure object 1, and the J of object 2 where there is one."""
    areas, scores, wrong, second = [], [], [], []
    pictures = []
    for t, (image, truth) in enumerate(clip):
        frame = vos.Frame(t, np.ascontiguousarray(image), f"{t:05d}")
        encoding = tracker.encode([frame])[0]
        if t == 0:
            tracker.start(frame, truth, encoding)
            answer = truth
        else:
            answer = merge_objects(tracker.step(frame, encoding), frame.size)
        areas.append(int((truth == 1).sum()))
        wrong.append(int((answer == 1).sum()))
        scores.append(region_similarity(truth == 1, answer == 1))
        if (truth == 2).any():
            second.append(region_similarity(truth == 2, answer == 2))
        if show:
            pictures.append(draw(image, truth, answer, t))
    if show:
        columns = 8
        pictures += [pictures[0] * 0] * (-len(pictures) % columns)
        rows = [np.hstack(pictures[i : i + columns]) for i in range(0, len(pictures), columns)]
        show.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(show), np.vstack(rows)[..., ::-1])
    absent = np.array(areas) < ABSENT * areas[0]
    gone = int(np.flatnonzero(absent)[0]) if absent.any() else len(areas)
    back = next((t for t in range(gone, len(areas)) if areas[t] >= BACK * areas[0]), None)
    result: dict[str, Any] = {
        "before": float(np.mean([s for t, s in enumerate(scores[:gone]) if t and areas[t] >= BACK * areas[0]])),
        "false_area": float(np.mean(np.array(wrong)[absent]) / areas[0]) if absent.any() else None,
        "second": float(np.mean(second[1:])) if second else None,
        "after": None,
        "frames": None,
    }
    if back is not None:
        result["after"] = float(np.mean(scores[back:]))
        result["frames"] = next((t for t, s in enumerate(scores[back:]) if s > 0.5), len(scores) - back)
    return result


def draw(image: np.ndarray, truth: np.ndarray, answer: np.ndarray, t: int) -> np.ndarray:
    """Draw the answer in red (object 2: blue) and the truth as a green line, small."""
    out = image.copy()
    for object_id, colour in ((1, (255, 0, 0)), (2, (0, 0, 255))):
        out[answer == object_id] = out[answer == object_id] // 2 + np.array(colour, np.uint8) // 2
    lines, _ = cv2.findContours((truth == 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, lines, -1, (0, 255, 0), 3)
    out = cv2.resize(out, (214, 120), interpolation=cv2.INTER_AREA)
    return cv2.putText(out, str(t), (3, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, help="a DAVIS tree; without it nothing is measured")
    parser.add_argument("--set", default="2016/val", help="image set under ImageSets")
    parser.add_argument("--sequences", nargs="*", help="only these of the image set")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--quality", default="fast", choices=list(PRESETS))
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--show", type=Path, help="a folder for contact sheets")
    parser.add_argument("--json", type=Path, default=Path("bench-out/absence.json"))
    arguments = parser.parse_args()
    if arguments.davis is None:
        print("not measured: this benchmark needs a DAVIS tree (--davis DIR)")
        return
    tracker = PropagationTracker(
        PropagationOptions(quality=arguments.quality), vos.Runtime(device="cpu", threads=arguments.threads)
    )
    names = (arguments.davis / f"ImageSets/{arguments.set}.txt").read_text().split()
    materials = [Material(arguments.davis, name) for name in names]
    report: dict[str, Any] = {}
    for kind in arguments.kinds:
        for i, own in enumerate(materials):
            if arguments.sequences and own.name not in arguments.sequences:
                continue
            show = arguments.show / f"{kind}-{own.name}.png" if arguments.show else None
            clip = globals()[kind](own, materials[(i + 1) % len(materials)])
            report[f"{kind}/{own.name}"] = play(tracker, clip, show)
            print(f"{kind}/{own.name:16s}", line(report[f"{kind}/{own.name}"]), flush=True)
    for kind in arguments.kinds:
        rows = [row for name, row in report.items() if name.startswith(kind + "/")]
        values = {key: [row[key] for row in rows if row[key] is not None] for key in rows[0]}
        mean = {key: float(np.mean(v)) if v else None for key, v in values.items()}
        print(f"mean {kind:16s}", line(mean))
        report[f"mean {kind}"] = mean
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1))


def line(row: dict[str, Any]) -> str:
    return "  ".join(f"{key} {'  -  ' if value is None else format(value, '.3f')}" for key, value in row.items())


if __name__ == "__main__":
    main()
