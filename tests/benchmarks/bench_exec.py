"""Cost of another process: the round trip of a frame and a label map, beside the same tracker called directly.

The program is examples/exec-tracker's client with a tracker that answers at once, so that all that is measured is the
way there and back; and with the example's own tracker, for the cost beside real work. A and B in turn, medians.

    python tests/benchmarks/bench_exec.py [--repeats 40]
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vos import Frame, Runtime
from vos_exec.tracker import ExecTracker

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "examples" / "exec-tracker"
SIZES = {"854x480": (480, 854), "1920x1080": (1080, 1920)}
STILL = """
class Still:
    def start(self, image, label_map):
        self.label_map = label_map.copy()

    def step(self, image):
        return self.label_map, [1]
"""


def measure(name: str, size: tuple[int, int], repeats: int, folder: Path) -> dict[str, float]:
    """Milliseconds a step, directly and through another process."""
    sys.path.insert(0, str(CLIENT))
    import my_tracker

    namespace = {"Example": my_tracker.Tracker}
    exec(STILL, namespace)
    direct = namespace[name]()
    program = folder / f"{name}.py"
    start = f"import sys; sys.path.insert(0, {str(CLIENT)!r})\nfrom my_tracker import Tracker as Example, serve"
    program.write_text(f"{start}\n{STILL}\nserve({name}())\n")
    frame = Frame(0, np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8), "00000")
    label_map = np.zeros(size, np.uint8)
    label_map[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 1
    remote = ExecTracker(f"{shlex.quote(sys.executable)} {shlex.quote(str(program))}", 60, Runtime())
    remote.start(frame, label_map)
    direct.start(frame.image, label_map)
    times: dict[str, list[float]] = {"direct": [], "exec": []}
    for _ in range(repeats):
        for way, step in (("direct", lambda: direct.step(frame.image)), ("exec", lambda: remote.step(frame))):
            began = time.perf_counter()
            step()
            times[way].append(1000 * (time.perf_counter() - began))
    remote.close()
    return {way: statistics.median(values) for way, values in times.items()}


def main() -> None:
    """Measure, print, and write bench-out/exec.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for label, size in SIZES.items():
            for name in ("Still", "Example"):
                found = measure(name, size, arguments.repeats, Path(folder))
                results[f"{label} {name.lower()}"] = found
                cost = found["exec"] - found["direct"]
                ratio = f", {found['exec'] / found['direct']:.2f} of direct" if name == "Example" else ""
                print(
                    f"{label:>9} {name.lower():<8} {found['exec']:7.2f} ms a frame, {cost:6.2f} ms for the way{ratio}"
                )
    out = ROOT / "bench-out" / "exec.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"unit": "ms", "python": platform.python_version(), "results": results}, indent=2))


if __name__ == "__main__":
    main()
