"""``Runtime``: device, precision, threads, seed and cache folder of a model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from vos.errors import ExtraMissingError, OptionError
from vos.types.whole_numbers import whole_number

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def cache_folder() -> Path:
    """The folder for downloaded weights: ``VOS_CACHE``, else the platform's cache folder."""
    given = os.environ.get("VOS_CACHE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("vos", appauthor=False))


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Limit the CPU threads of torch's operations that this thread calls inside the ``with`` block.

    A tracker with ``encode_ahead`` divides the cores so between encoding and tracking.

    Args:
        count: threads, 1 or more; None leaves them as they are.
    """
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Runtime:
    """Device, precision, threads, seed and cache folder that a factory builds a model for.

    ``vos.stream``, ``vos.track`` and ``vos.initialize`` leave the program's own threads and random numbers of torch as
    they were. Runs in several threads at once share torch's global random numbers, and may leave others: a tracker that
    draws from them repeats its masks only where one run follows another.

    Attributes:
        device: ``"auto"`` takes CUDA, then MPS, then the CPU; ``"cuda:1"`` and the like also fit.
        precision: ``"auto"`` leaves the choice to the plugin; the plugin documents which others it supports.
        threads: CPU threads for the model, or None for the library's default.
        seed: seed of everything random, of 64 bits; the same seed gives the same masks on one machine.
        cache: folder for downloaded weights.
    """

    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    seed: int = 0
    cache: Path = field(default_factory=cache_folder)

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise OptionError(f"precision is {self.precision!r}, expected one of {', '.join(get_args(Precision))}.")
        for name in ("threads", "seed"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole_number(value, name, OptionError))
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"threads is {self.threads}, expected 1 or more.")
        if not -(2**63) <= self.seed < 2**64:
            raise OptionError(f"seed is {self.seed}, expected a number of at most 64 bits, such as 0.")

    @staticmethod
    def threads_of_worker(workers: int) -> int:
        """Share out the cores that this process may use.

        Args:
            workers: number of processes at work at a time, 1 or more.
        Returns:
            CPU threads of each: its share of the cores, or ``OMP_NUM_THREADS`` where that is fewer.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = max(1, cores // workers)
        given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2": 4, and 2 in each of those
        return min(share, int(given)) if given.isdecimal() and int(given) else share

    def torch_device(self) -> torch.device:
        """Seed torch, set its threads, and choose the device.

        A plugin that uses torch calls this first in its factory.

        Returns:
            The device to put the model on.
        Raises:
            OptionError: the requested device is not available.
            ExtraMissingError: torch is not installed.
        """
        try:
            import torch
        except ImportError as error:
            raise ExtraMissingError(f"torch cannot be imported ({error}). Install it: pip install torch") from error
        torch.manual_seed(self.seed)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        try:
            device = torch.device(name)
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise OptionError(f'device "{name}" cannot be used here ({reason}). Try --device auto or cpu.') from None
        return device

    def torch_dtype(self, auto: Precision = "fp32") -> torch.dtype:
        """Translate ``precision``.

        Args:
            auto: what ``"auto"`` means for this plugin.
        Returns:
            ``torch.float32``, ``torch.bfloat16`` or ``torch.float16``.
        """
        import torch

        chosen = auto if self.precision == "auto" else self.precision
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(chosen, torch.float32)
