"""Options of ``cutie``; importing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vos.plugin import ExtraMissingError, WeightsError, option


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


def check_files(checkpoint: Path | None) -> Path:
    """Check that the package and the checkpoint are there, without loading either.

    Args:
        checkpoint: the option of that name.
    Returns:
        The checkpoint.
    Raises:
        ExtraMissingError: rf-cutie is not installed.
        WeightsError: no such file.
    """
    if find_spec("cutie") is None:
        raise ExtraMissingError('cutie needs rf-cutie. Install it: pip install "vos-toolkit[cutie]"')
    if checkpoint is None or not checkpoint.is_file():
        found = "cutie needs a checkpoint" if checkpoint is None else f"{checkpoint}: no such file"
        raise WeightsError(
            f"{found}. Give Cutie's weights, such as cutie-base-mega.pth of its releases, with -O checkpoint=FILE."
        )
    return checkpoint
