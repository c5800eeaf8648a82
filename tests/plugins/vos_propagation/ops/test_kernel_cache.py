"""The cache of kernels is as small as asked, from the first kernel on: seen in what oneDNN says it makes."""

import os
import subprocess
import sys

import pytest
import torch

from vos_propagation.ops.kernel_cache import KERNELS, VARIABLE

SCRIPT = """
import torch
import torch.nn.functional as F
import vos
from vos.testing import tiny_sequence

sequence = tiny_sequence("moving", size=(64, 96), length=3)
list(vos.stream(sequence, {{0: sequence.label_maps[0]}}, runtime=vos.Runtime(device="cpu")))
for height in [*range(16, 16 + {shapes}), 16]:
    print("height", height, flush=True)
    with torch.inference_mode():
        F.conv2d(torch.zeros(1, 32, height, 64), torch.zeros(32, 32, 3, 3))
"""


def made_again(environment: dict[str, str]) -> bool:
    """True if a process that has made more kernels than are kept makes its first one again."""
    script = SCRIPT.format(shapes=KERNELS + 40)
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "ONEDNN_VERBOSE": "profile_create", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    last = run.stdout.rpartition("height 16\n")[2]
    made = [line for line in last.splitlines() if ",convolution," in line]
    if not made:
        pytest.fail(f"oneDNN said nothing of a convolution: {last[-500:]}")
    return any("cache_miss" in line for line in made)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN on this machine")
def test_the_tracker_keeps_few_kernels_unless_told_otherwise() -> None:
    assert made_again({})
    assert not made_again({VARIABLE: "1024"})
