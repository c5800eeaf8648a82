"""What a result was made with: the command, the date, the machine and the versions."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from vos.types.runtime import Runtime
from vos.version import __version__


def environment() -> dict[str, Any]:
    """Describe this process and machine for a results file.

    Returns:
        ``command``, ``date`` (ISO 8601, local time), ``cpu``, ``cores`` (those that this process may use),
        ``system``, ``python`` and ``vos``.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cpu": _cpu(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "vos": __version__,
    }


def compute_facts(runtime: Runtime) -> dict[str, Any]:
    """Describe where a model has run in this process.

    Args:
        runtime: what was asked for.
    Returns:
        ``device``: what ``auto`` stands for here; ``gpu``: its name, for CUDA; ``precision`` as asked for; ``threads``:
        CPU threads of the model, or None where the process has not loaded torch.
    """
    facts: dict[str, Any] = {"device": runtime.device, "precision": runtime.precision, "threads": runtime.threads}
    torch = sys.modules.get("torch")
    if torch is not None:
        device = runtime.torch_device()
        facts |= {"device": str(device), "threads": torch.get_num_threads()}
        if device.type == "cuda":
            facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _cpu() -> str:
    """The processor's name, where the system says it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
