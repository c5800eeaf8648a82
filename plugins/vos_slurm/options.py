"""Options of the executor ``slurm``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vos.plugin import option


@dataclass(frozen=True)
class SlurmOptions:
    """Options of ``slurm``."""

    workers: int = option(8, "Array tasks at most; the jobs are shared out among them.")
    partition: str = option("", "Partition; empty for the cluster's default.")
    minutes: int = option(240, "Time limit of a task, in minutes; a task that reaches it is queued again.")
    cpus: int = option(4, "Processor cores of a task.")
    gpus: int = option(0, "GPUs of a task.")
    memory_gb: float = option(16.0, "Memory of a task, in GiB.")
    retries: int = option(2, "How often the jobs of a task are submitted again after it died.")
    folder: Path = option(Path("vos-slurm"), "Folder for logs and events, on a disk that all nodes share.")
    cluster: Literal["slurm", "local"] = option("slurm", "local runs the tasks on this machine, for trying out.")

    def __post_init__(self) -> None:
        if self.workers < 1 or self.minutes < 1 or self.cpus < 1:
            raise ValueError("workers, minutes and cpus are 1 or more.")
        if self.gpus < 0 or self.retries < 0:
            raise ValueError("gpus and retries cannot be negative.")
        if not 0 < self.memory_gb < math.inf:
            raise ValueError(f"memory_gb is {self.memory_gb}, expected more than 0.")
