"""PerSAM's frame with Segment Anything's fast path against the path before it, in one run.

Baseline "before": MobileSAM's encoder as a plain module (for vit_t; vit_b's encoder is the same in both), and the
decoder with all objects in one pass and every image cell projected. Ours: the tracker ``persam`` as it is. Weights are
random and of the published size, so masks mean nothing; how far the two paths' logits differ is printed. The encoder
is timed apart, alternating, and a frame's time is the sum of the medians.

    python tests/benchmarks/bench_sam.py [--models vit_t vit_b] [--objects 5] [--rounds 3] [--clock cpu]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import bench_persam
import torch
from bench_persam import alternate, random_sam, scene, step_all
from projected_decoder import ProjectedDecoder

from vos_persam.options import PersamOptions
from vos_persam.tracker import PersamTracker
from vos_sam.encoder import VitEncoder
from vos_sam.model import SegmentAnything


def before(sam: Any) -> SegmentAnything:
    """The model as it ran before."""
    made = SegmentAnything(sam)
    if not isinstance(made._encoder, VitEncoder):
        made._encoder = sam.image_encoder
    made._decoder = ProjectedDecoder(sam)  # type: ignore[assignment]
    return made


def bench(model: str, count: int, rounds: int) -> dict[str, float]:
    """Time one model with some objects."""
    sam = random_sam(model)
    paths = [before(sam), SegmentAnything(sam)]
    frame, label_map = scene(count)
    encoders = [lambda path=path: path.encode([frame.image]) for path in paths]
    embeddings = [encode()[0] for encode in encoders]
    steps = []
    for path in paths:
        tracker = PersamTracker(path, PersamOptions(lost=-1e6, found=-1e6))
        tracker.start(frame, label_map, embeddings[0])
        steps.append(lambda tracker=tracker: step_all(tracker, frame, embeddings[0]))
    with torch.inference_mode():
        encode = alternate(rounds, *encoders)
        step = alternate(rounds, *steps)
    result = {
        "encode_before_s": encode[0],
        "encode_s": encode[1],
        "step_before_s": step[0],
        "step_s": step[1],
        "encode_ratio": encode[0] / encode[1],
        "step_ratio": step[0] / step[1],
        "ratio": (encode[0] + step[0]) / (encode[1] + step[1]),
        "features_differ": float((embeddings[0].features - embeddings[1].features).abs().max()),
    }
    print(
        f"{model}, {count} objects: {result['ratio']:.2f} times as many frames a second as before (encoder "
        f"{result['encode_ratio']:.2f}, {encode[1]:.2f} s; decodings {result['step_ratio']:.2f}, {step[1]:.2f} s); "
        f"features differ by {result['features_differ']:.1e}"
    )
    return result


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=["vit_b", "vit_t"], default=["vit_t", "vit_b"])
    parser.add_argument("--objects", type=int, nargs="+", default=[5])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=bench_persam.CLOCKS, default="wall")
    parser.add_argument("--output", type=Path, default=Path("bench-out/sam.json"))
    arguments = parser.parse_args()
    bench_persam.clock = bench_persam.CLOCKS[arguments.clock]
    results: dict[str, Any] = {"threads": torch.get_num_threads(), "torch": torch.__version__, "clock": arguments.clock}
    for model in arguments.models:
        results[model] = {count: bench(model, count, arguments.rounds) for count in arguments.objects}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
