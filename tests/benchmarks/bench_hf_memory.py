"""Memory of a long clip on SAM 2's video model: the tracker against a session that keeps everything.

Baseline "everything": the same tracker with the dropping switched off, as transformers' session is used by itself. The
model is tiny and seeded (the tests'), so the figures are those of the session's tables, not of a real model; what
counts is that ours are flat. Printed are the process's resident MiB at some frames.

    python tests/benchmarks/bench_hf_memory.py [--frames 2000] [--baseline-frames 500]
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch

import vos_hf_video.tracker as module
from vos.testing import tiny_sequence
from vos_hf_video.options import Sam2Options
from vos_hf_video.tracker import HfVideoTracker

ROOT = Path(__file__).parents[1]


def tiny_model() -> Any:
    """The tests' SAM 2, of seeded weights."""
    spec = importlib.util.spec_from_file_location("models", ROOT / "plugins" / "vos_hf_video" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    from transformers import Sam2VideoModel

    torch.manual_seed(0)
    return Sam2VideoModel(models.sam2_config()).eval()


def resident() -> float:
    """MiB of the process (Linux)."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def run(model: Any, frames: int, marks: list[int]) -> dict[int, float]:
    """Track a clip of three objects; MiB by frame."""
    sequence = tiny_sequence("moving", size=(64, 64), object_ids=(3, 5, 7))
    tracker = HfVideoTracker(model, Sam2Options())
    encodings = tracker.encode(list(sequence.frames()))
    tracker.start(sequence.frame(0), sequence.label_maps[0], encodings[0])
    found = {}
    for t in range(1, frames):
        tracker.step(sequence.frame(t % len(encodings)), encodings[t % len(encodings)])
        if t in marks or t == frames - 1:
            found[t] = resident()
    return found


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--baseline-frames", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("bench-out/hf_memory.json"))
    arguments = parser.parse_args()
    model = tiny_model()
    marks = [100, 500, 1000]
    ours = run(model, arguments.frames, marks)
    module.drop_unreachable = lambda *_: None  # type: ignore[assignment]
    everything = run(model, arguments.baseline_frames, marks)
    for name, found in (("ours", ours), ("everything", everything)):
        print(f"{name}: " + ", ".join(f"{mib:.0f} MiB after {frame} frames" for frame, mib in found.items()))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"ours": ours, "everything": everything}, indent=2) + "\n")


if __name__ == "__main__":
    main()
