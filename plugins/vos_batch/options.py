"""Options of the local executor."""

from __future__ import annotations

from dataclasses import dataclass

from vos.plugin import option


@dataclass(frozen=True)
class LocalOptions:
    """Options of ``local``."""

    workers: int = option(0, "Processes; 0 makes one for each GPU, or one for every two cores.")
    threads: int = option(0, "CPU threads of each process; 0 shares the cores out evenly, OMP_NUM_THREADS at most.")
    retries: int = option(2, "How often a job is tried again after its process died.")

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "retries"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more.")
