"""A run's seed, CPU threads and autocast of torch, kept apart from those of the program that calls it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from vos.types.runtime import Runtime

_AUTOCAST_DEVICES = ("cpu", "cuda")


class _Values(NamedTuple):
    threads: int
    generators: list[Any]
    autocast: list[bool]

    @classmethod
    def read(cls, torch: Any) -> _Values:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        autocast = [torch.is_autocast_enabled(device) for device in _AUTOCAST_DEVICES]
        return cls(torch.get_num_threads(), [torch.get_rng_state(), *cuda], autocast)

    def write(self, torch: Any) -> None:
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        torch.set_rng_state(self.generators[0])
        for device, state in enumerate(self.generators[1:]):
            torch.cuda.set_rng_state(state, device)
        for name, enabled in zip(_AUTOCAST_DEVICES, self.autocast, strict=True):
            torch.set_autocast_enabled(name, enabled)


class TorchSettings:
    """The threads and random numbers of torch that ``Runtime.torch_device`` sets for a run.

    They are process-wide: without this, a program would go on with the run's threads, and would draw the same random
    numbers after every run. A program that has not imported torch has no random numbers to keep. The program's autocast
    is off in the run, whose precision is the runtime's.
    """

    def __init__(self, runtime: Runtime | None) -> None:
        """Keep nothing yet; torch is imported here only where the runtime sets its threads."""
        self._imports = runtime is not None and runtime.threads is not None
        self._own: _Values | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Set the run's values inside the ``with`` block, and the program's after it."""
        torch: Any = sys.modules.get("torch")
        if torch is None and self._imports:
            try:
                torch = importlib.import_module("torch")
            except ImportError:  # the factory that needs it says so
                torch = None
        if torch is None:
            yield
            return
        before = _Values.read(torch)
        (self._own or before._replace(autocast=[False] * len(_AUTOCAST_DEVICES))).write(torch)
        try:
            yield
        finally:
            self._own = _Values.read(torch)
            before.write(torch)
