"""Options of ``cutie``; importing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vos.plugin import option


@dataclass(frozen=True)
class CutieOptions:
    """Options of ``cutie``; the defaults are those of the package for videos of any length."""

    checkpoint: Path | None = option(None, "Cutie's weights, such as cutie-base-mega.pth: base or small.")
    max_internal_size: int = option(480, "Shorter side that frames are scaled down to, pixels; -1 never scales.")
    mem_every: int = option(5, "Every so many frames one becomes a memory.")
    long_term: bool = option(True, "Consolidate old memories into a bounded long-term memory; false drops them.")

    def __post_init__(self) -> None:
        if self.mem_every < 1:
            raise ValueError(f"mem_every is {self.mem_every}, expected 1 or more")
        if self.max_internal_size != -1 and self.max_internal_size < 16:
            raise ValueError(f"max_internal_size is {self.max_internal_size}, expected 16 or more, or -1")
