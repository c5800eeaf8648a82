"""PerSAM on video: the release's procedure against ours, and the fit of persam-f against the release's loop.

Baseline "release": the official package's encoder; then for each object three ``SamPredictor.predict`` calls, each with
all three masks at frame size, similarity maps at frame size, numpy argmax over frame-sized planes, float32. Ours: the
tracker ``persam``. Weights are random, so masks mean nothing; the work is that of real weights of the same size.
The encoder does not depend on the number of objects: it is timed apart, alternating, and a frame's time is the sum of
the medians. The fit's baseline runs the decoder in each epoch, as released; a few of its epochs are timed, and their
mean is multiplied by 800.

    python tests/benchmarks/bench_persam.py [--model vit_b] [--objects 1 3 5 10] [--rounds 3] [--bf16]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor, sam_model_registry

from vos import Frame
from vos.types.label_map import masks_of
from vos_persam.mask_weights import fit_mask_weights
from vos_persam.options import PersamOptions
from vos_persam.target import boxes_of, center_of, expanded, extreme_points
from vos_persam.tracker import PersamTracker
from vos_sam.checkpoint import build_sam
from vos_sam.model import SegmentAnything
from vos_sam.prompt import Prompt

SIZE = (480, 854)
EPOCHS, RATE = 800, 4e-4


def random_sam(model: str) -> Any:
    """A model of the published size with random weights that give masks of a moderate size."""
    torch.manual_seed(0)
    sam = sam_model_registry["vit_b"]()
    if model == "vit_t":
        from vos_sam.tiny_vit import TinyViT

        sam.image_encoder = TinyViT()
    sam = sam.eval().requires_grad_(False)
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return build_sam(sam.state_dict(), f"random {model}")


def scene(count: int) -> tuple[Frame, np.ndarray]:
    """A frame, and as many objects on it."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 21, 3), dtype=np.uint8)
    rows, columns = (np.linspace(0, n - 1e-6, s).astype(int) for n, s in zip(coarse.shape, SIZE, strict=False))
    image = coarse[rows][:, columns]
    label_map = np.zeros(SIZE, dtype=np.uint8)
    for index in range(count):
        top, left = 40 + 200 * (index % 2), 20 + 160 * (index // 2)
        label_map[top : top + 120, left : left + 90] = index + 1
    return Frame(1, np.ascontiguousarray(image), "00001"), label_map


class OfficialLoop:
    """The released loop of one frame, after the encoder (persam_video.py:78-170 at a7e8724)."""

    def __init__(self, sam: Any, label_map: np.ndarray, targets: torch.Tensor) -> None:
        self.predictor = SamPredictor(sam)
        self.masks = masks_of(label_map, range(1, int(label_map.max()) + 1))
        self.targets = targets

    def prompts(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        predictor = self.predictor
        features = predictor.features.squeeze()
        features = features / features.norm(dim=0, keepdim=True)
        near = (self.targets[index : index + 1] @ features.flatten(1)).reshape(1, 1, *features.shape[1:])
        near = F.interpolate(near, scale_factor=4, mode="bilinear")
        full = predictor.model.postprocess_masks(near, predictor.input_size, predictor.original_size)[0]
        (box,) = boxes_of(torch.from_numpy(self.masks[index : index + 1]))
        assert box is not None
        from vos_sam.view import View

        around = expanded(box, 10, View(SIZE, 1024))
        points = np.concatenate([extreme_points(full, 2)[0], center_of(around)[None]])
        return points, np.ones(len(points), np.int64), around

    def step(self) -> np.ndarray:
        planes = [np.zeros(SIZE, np.float32)]
        for index in range(len(self.masks)):
            points, labels, box = self.prompts(index)
            masks, _, logits = self.predictor.predict(points, labels, box=box[None], multimask_output=True)
            best = int(np.argmax([mask.sum() for mask in masks]))
            masks, scores, logits = self.predictor.predict(
                points, labels, mask_input=logits[best : best + 1], multimask_output=True
            )
            best = int(np.argmax(scores))
            y, x = np.nonzero(masks[best])
            tight = np.array([x.min(), y.min(), x.max(), y.max()]) if len(x) else box
            full, scores, _ = self.predictor.predict(
                points,
                labels,
                box=tight[None],
                mask_input=logits[best : best + 1],
                multimask_output=True,
                return_logits=True,
            )
            planes.append(full[int(np.argmax(scores))])
        return np.argmax(np.stack(planes), axis=0).astype(np.uint8)

    def epoch(self, index: int, parameter: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """One epoch of persam_video_f.py:127-150: decode, mix, two losses, one step."""
        points, labels, box = self.prompts(index)
        full, _, _ = self.predictor.predict(
            points[:-2], labels[:-2], box=box[None], multimask_output=True, return_logits=True
        )
        flat = torch.from_numpy(full).flatten(1)
        target = torch.from_numpy(self.masks[index]).float().flatten()[None]
        weights = torch.cat([1 - parameter.sum(0)[None], parameter])
        mixed = (flat * weights).sum(0)[None]
        prob = mixed.sigmoid()
        dice = 1 - (2 * (prob * target).sum(-1) + 1) / (prob.sum(-1) + target.sum(-1) + 1)
        cross = F.binary_cross_entropy_with_logits(mixed, target, reduction="none")
        right = prob * target + (1 - prob) * (1 - target)
        loss = dice.sum() + ((0.25 * target + 0.75 * (1 - target)) * cross * (1 - right) ** 2).mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def step_all(tracker: PersamTracker, frame: Frame, embedding: Any) -> None:
    """Step with every object present, so that each one's work is done."""
    for tracked in tracker._objects:
        tracked.present = True
    tracker.step(frame, embedding)


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = CLOCKS["wall"]


def seconds(function: Callable[[], Any]) -> float:
    begin = clock()
    function()
    return clock() - begin


def alternate(rounds: int, *functions: Callable[[], Any]) -> list[float]:
    """Median seconds of each, timed in turn, after one round that does not count."""
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(rounds + 1):
        for function, own in zip(functions, times, strict=True):
            taken = seconds(function)
            if turn:
                own.append(taken)
    return [statistics.median(own) for own in times]


def peak_memory(function: Callable[[], Any]) -> float:
    """MiB at the peak while a function runs (Linux; 0 elsewhere)."""
    status = Path("/proc/self/status")
    try:
        Path("/proc/self/clear_refs").write_text("5")
        function()
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0
    return int(line.split()[1]) / 1024


def bench_frames(sam: Any, counts: list[int], rounds: int, bf16: bool) -> dict[str, Any]:
    ours = SegmentAnything(sam)
    predictor = SamPredictor(sam)
    frame, _ = scene(1)
    encoders: list[Callable[[], Any]] = [lambda: predictor.set_image(frame.image), lambda: ours.encode([frame.image])]
    half = SegmentAnything(sam, torch.bfloat16) if bf16 else None
    if half is not None:
        encoders.append(lambda: half.encode([frame.image]))
    with torch.inference_mode():
        official, own, *rest = alternate(rounds, *encoders)
    result: dict[str, Any] = {
        "encoder": {"release_s": official, "ours_s": own, "ratio": official / own},
        "encoder_peak_mib": {
            "release": peak_memory(lambda: predictor.set_image(frame.image)),
            "ours": peak_memory(lambda: ours.encode([frame.image])),
        },
        "objects": {},
    }
    print(f"encoder: release {official:.2f} s, ours {own:.2f} s, {official / own:.2f} times as fast")
    (embedding,) = ours.encode([frame.image])
    if half is not None:
        result["encoder"]["bf16_s"] = rest[0]
        print(f"encoder bf16: {rest[0]:.2f} s, {official / rest[0]:.2f} times as fast as the release's")
    for count in counts:
        frame, label_map = scene(count)
        # Never lost: with random weights similarity means nothing, and each object's work is to be done.
        tracker = PersamTracker(ours, PersamOptions(lost=-1e6, found=-1e6))
        tracker.start(frame, label_map, embedding)
        release = OfficialLoop(sam, label_map, torch.nn.functional.normalize(torch.randn(count, 256), dim=1))
        release.predictor = predictor
        (once,) = ours.encode([frame.image])
        step = partial(step_all, tracker, frame, once)
        with torch.inference_mode():
            released, decoded = alternate(rounds, release.step, step)
        row = {
            "release_s": official + released,
            "ours_s": own + decoded,
            "ratio": (official + released) / (own + decoded),
            "ours_besides_encoder": decoded / (own + decoded),
            "release_besides_encoder": released / (official + released),
            "decoder_ratio": released / decoded,
            "peak_mib": {"release": peak_memory(release.step), "ours": peak_memory(step)},
        }
        if half is not None:
            row["bf16_ratio"] = (official + released) / (rest[0] + decoded)
        result["objects"][count] = row
        print(
            f"{count:2d} objects: release {1 / row['release_s']:.3f} fps, ours {1 / row['ours_s']:.3f} fps, ratio "
            f"{row['ratio']:.2f}; besides the encoder: release {released:.2f} s, ours {decoded:.2f} s "
            f"({row['ours_besides_encoder']:.1%} of our frame), {row['decoder_ratio']:.1f} times as fast"
        )
    return result


def plain_fit(logits: torch.Tensor, mask: np.ndarray, epochs: int) -> None:
    """Fit on logits that are decoded once, with autograd over all pixels in each epoch."""
    flat, target = logits.flatten(1), torch.from_numpy(mask).float().flatten()
    weights = torch.full((2,), 1 / 3, requires_grad=True)
    optimizer = torch.optim.AdamW([weights], lr=RATE, eps=1e-4)
    for _ in range(epochs):
        mixed = flat[0] + weights @ (flat[1:] - flat[0])
        prob = mixed.sigmoid()
        dice = 1 - (2 * (prob @ target) + 1) / (prob.sum() + target.sum() + 1)
        cross = F.binary_cross_entropy_with_logits(mixed, target, reduction="none")
        focal = ((0.25 * target + 0.75 * (1 - target)) * cross * (prob - target) ** 2).mean()
        optimizer.zero_grad()
        (dice + focal).backward()
        optimizer.step()


def bench_fit(sam: Any, epochs: int) -> dict[str, float]:
    """The official loop and the plain loop, extrapolated, against ours, whole: decoder, upsampling, 800 steps."""
    ours = SegmentAnything(sam)
    frame, label_map = scene(1)
    release = OfficialLoop(sam, label_map, torch.nn.functional.normalize(torch.randn(1, 256), dim=1))
    release.predictor.set_image(frame.image)
    parameter = torch.nn.Parameter(torch.ones(2, 1) / 3)
    optimizer = torch.optim.AdamW([parameter], lr=RATE, eps=1e-4)
    release.epoch(0, parameter, optimizer)
    each = statistics.median(seconds(lambda: release.epoch(0, parameter, optimizer)) for _ in range(epochs))
    (embedding,) = ours.encode([frame.image])
    points, labels, box = release.prompts(0)

    def fit() -> None:
        decoded = ours.decode(embedding, [Prompt(points[:-2], labels[:-2], box)])
        fit_mask_weights(embedding.view.upsample(decoded.low_res_logits[0]), label_map == 1, epochs=EPOCHS, rate=RATE)

    with torch.inference_mode(mode=False):
        decoded = ours.decode(embedding, [Prompt(points[:-2], labels[:-2], box)])
        logits = embedding.view.upsample(decoded.low_res_logits[0]).clone()
    plain, own = alternate(3, lambda: plain_fit(logits, label_map == 1, epochs), fit)
    plain *= EPOCHS / epochs
    print(f"persam-f fit: AdamW over all pixels {plain:.1f} s ({epochs} epochs timed), {plain / own:.0f} times ours")
    print(f"persam-f fit: release {each * EPOCHS:.0f} s ({epochs} epochs timed), ours {own:.2f} s")
    print(f"persam-f fit: {each * EPOCHS / own:.0f} times as fast")
    return {
        "release_s": each * EPOCHS,
        "epochs_timed": epochs,
        "ours_s": own,
        "ratio": each * EPOCHS / own,
        "plain_s": plain,
    }


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["vit_b", "vit_t"], default="vit_b")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 3, 5, 10])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10, help="epochs of the release's fit that are timed")
    parser.add_argument("--bf16", action="store_true", help="time the encoder in bf16 too")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu (with OMP_NUM_THREADS=1) where other work disturbs"
    )
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    global clock
    clock = CLOCKS[arguments.clock]
    sam = random_sam(arguments.model)
    results: dict[str, Any] = {
        "model": arguments.model,
        "clock": arguments.clock,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    results["fit"] = bench_fit(sam, arguments.epochs)
    results["frames"] = bench_frames(sam, arguments.objects, arguments.rounds, arguments.bf16)
    output = arguments.output or Path(f"bench-out/persam_{arguments.model}.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
