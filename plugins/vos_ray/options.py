"""Options of the executor ``ray``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vos.plugin import option


@dataclass(frozen=True)
class RayOptions:
    """Options of ``ray``."""

    workers: int = option(2, "Actors at most.")
    address: str = option(
        "",
        'A cluster\'s address, such as "auto" or ray://head:10001; empty takes RAY_ADDRESS, else the cluster on this '
        "machine, else starts Ray here.",
    )
    cpus: float = option(1.0, "Processor cores of each actor.")
    gpus: float = option(0.0, "GPUs of each actor; 0.5 lets two share one.")
    retries: int = option(2, "How often a job is tried again after its actor died.")

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}, expected 1 or more.")
        if not (0 <= self.cpus < math.inf and 0 <= self.gpus < math.inf and self.retries >= 0):
            raise ValueError("cpus, gpus and retries are numbers, and not negative.")
