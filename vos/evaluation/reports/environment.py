"""Describe how a result was produced: command, date, machine and versions."""

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
        ``command``, ``date`` (ISO 8601, local time), ``cpu``, ``cores`` (the number that this process may use),
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
    """Describe the device and precision of a model that has run in this process.

    Args:
        runtime: the run's settings.
    Returns:
        ``device``: the device that ``auto`` selects here; ``gpu``: its name, for CUDA; ``precision`` as in ``runtime``;
        ``threads``: CPU threads of torch, or the setting if the process has not loaded torch.
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
    """Return the processor's model name, or its architecture if the system has no name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
