"""DiffSeg's aggregation, merging and suppression: ours against the official procedure, on one CPU.

The baseline follows the release step by step (segmentor.py at 77ea596, half precision in the first
merge included) in plain torch on the same threads: every attention map repeated to 64 x 64 x 64 x 64 in float64, all
pairs of 256 anchors and 4096 cells as tensors of 4096 values, sixteen anchors at a time. Both get
the same reference attention and must give the same label map.

    python tests/benchmarks/bench_diffseg.py [--repeats 3] [--baseline-repeats 1] [--threads N]
    python tests/benchmarks/bench_diffseg.py --network [--threads N]

The second form measures time and memory of one pass of a Stable Diffusion 1.5 of random weights (3.9 GB
with its arithmetic in float32; Linux alone), with attention captured.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos_diffseg.options import DiffSegOptions
from vos_diffseg.segment import segment

ROOT = Path(__file__).parents[2]
SIDES = (64, 32, 16, 8)
THRESHOLD = 1.0
SIZE = (512, 512)


def reference_attentions() -> list[Tensor]:
    """The made-up self-attention that the official release was run on: (heads, n, n) for each side."""
    with np.load(ROOT / "tests" / "data" / "diffseg" / "diffseg.npz") as arrays:
        pairs = [[torch.from_numpy(arrays[f"{name}{side}"]).double() for name in "QK"] for side in SIDES]
    return [torch.softmax(queries @ keys.transpose(1, 2), dim=-1).float() for queries, keys in pairs]


def official_aggregate(attentions: list[Tensor]) -> Tensor:
    total = torch.zeros(64, 64, 64, 64, dtype=torch.float64)
    for attention in attentions:
        side = math.isqrt(attention.shape[-1])
        maps = attention.mean(0).reshape(-1, 1, side, side)
        maps = F.interpolate(maps, scale_factor=64 // side, mode="bilinear").reshape(side, side, 64, 64)
        maps = maps / maps.sum(dim=(2, 3), keepdim=True)
        maps = maps.repeat_interleave(64 // side, dim=0).repeat_interleave(64 // side, dim=1)
        total += maps * (side / sum(SIDES))
    return total


def official_divergence(anchor: Tensor, maps: Tensor) -> Tensor:
    quotient = anchor.log() - maps.log()
    return (anchor * quotient).sum(dim=(-2, -1)) / 2 - (maps * quotient).sum(dim=(-2, -1)) / 2


def official_merge(maps: Tensor, threshold: float, iterations: int) -> Tensor:
    line = torch.arange(1, 62, 4)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    anchors = maps[rows.reshape(-1), columns.reshape(-1)][:, None].half()
    flat = maps.reshape(1, 4096, 64, 64)
    half = flat.half()
    close = [official_divergence(anchors[i : i + 16], half) < threshold for i in range(0, 256, 16)]
    members = torch.cat(close).double()
    merged = (members @ flat.reshape(4096, 4096) / members.sum(1, keepdim=True)).reshape(-1, 64, 64)
    for _ in range(iterations - 1):
        taken: set[int] = set()
        result = []
        for index, anchor in enumerate(merged):
            if index in taken:
                continue
            taken.add(index)
            near = official_divergence(anchor, merged) < threshold
            if near.any():
                taken.update(torch.nonzero(near).flatten().tolist())
                result.append(merged[near].mean(0))
        merged = torch.stack(result)
    return merged


def official_segment(attentions: list[Tensor]) -> Tensor:
    merged = official_merge(official_aggregate(attentions), THRESHOLD, 3)
    upsampled = F.interpolate(merged[:, None].float(), scale_factor=8, mode="bilinear")
    return upsampled.argmax(dim=0)[0]


def our_segment(attentions: list[Tensor]) -> Tensor:
    return segment(attentions, SIZE, DiffSegOptions(threshold=THRESHOLD))


def save(name: str, result: Mapping[str, object]) -> None:
    output = ROOT / "bench-out"
    output.mkdir(exist_ok=True)
    (output / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def timed(function: Callable[[list[Tensor]], Tensor], attentions: list[Tensor]) -> tuple[float, Tensor]:
    start = time.perf_counter()
    labels = function(attentions)
    return time.perf_counter() - start, labels


def network_cost() -> dict[str, float]:
    """Seconds and peak memory of one pass over 512 x 512 pixels; the network has its real size."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    from vos_diffseg.capture import capture_self_attention
    from vos_diffseg.stable_diffusion import StableDiffusion

    model = object.__new__(StableDiffusion)
    levels = (320, 640, 1280, 1280)
    model.unet = UNet2DConditionModel(sample_size=64, block_out_channels=levels, cross_attention_dim=768).eval()
    model.vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    ).eval()
    del model.vae.decoder
    model.scheduler = DDPMScheduler(beta_schedule="scaled_linear")
    model.empty_text = torch.zeros(1, 77, 768)
    model.device, model.dtype = torch.device("cpu"), torch.float32
    model.attention = capture_self_attention(model.unet)
    image = torch.zeros(3, 512, 512)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = resident("VmRSS")
    start = time.perf_counter()
    attentions = model.attention_maps(image, 300, noise_seed=0)
    pass_seconds = time.perf_counter() - start
    pass_peak = resident("VmHWM") - before
    with torch.inference_mode():
        our_segment(attentions)
    return {
        "model_gb": before,
        "pass_seconds": pass_seconds,
        "pass_peak_above_model_gb": pass_peak,
        "peak_above_model_gb": resident("VmHWM") - before,
    }


def resident(field: str) -> float:
    """A memory figure of this process from the kernel, GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours before and after each baseline run")
    parser.add_argument("--baseline-repeats", type=int, default=1)
    parser.add_argument("--network", action="store_true", help="measure a pass of the network instead")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.network:
        cost = {**network_cost(), "threads": arguments.threads}
        save("diffseg-network", cost)
        print(json.dumps(cost, indent=2))
        return
    attentions = reference_attentions()
    ours, baseline, equal = [], [], True
    with torch.inference_mode():
        our_segment(attentions)
        for _ in range(arguments.baseline_repeats):
            ours += [timed(our_segment, attentions)[0] for _ in range(arguments.repeats)]
            seconds, expected = timed(official_segment, attentions)
            baseline.append(seconds)
            for _ in range(arguments.repeats):
                seconds, labels = timed(our_segment, attentions)
                ours.append(seconds)
                equal = equal and torch.equal(labels, expected)
    result = {
        "baseline": "official procedure (google/diffseg 77ea596) in plain torch",
        "baseline_seconds": statistics.median(baseline),
        "our_seconds": statistics.median(ours),
        "ratio": statistics.median(baseline) / statistics.median(ours),
        "runs": {"baseline": baseline, "ours": ours},
        "equal_label_maps": equal,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    save("diffseg", result)
    print(
        f"official {result['baseline_seconds']:.1f} s, ours {result['our_seconds']:.2f} s: "
        f"{result['ratio']:.0f} times faster, label maps {'equal' if equal else 'DIFFERENT'} "
        f"({arguments.threads} threads)"
    )


if __name__ == "__main__":
    main()
