"""One error that lists every fault of a folder of masks."""

from __future__ import annotations

from collections.abc import Sequence

from vos.errors import InputError

SHOWN_FAULTS = 10


class FaultsError(InputError):
    """Predictions or annotations that cannot be scored.

    Attributes:
        faults: one line for each, ``PATH: what is wrong``.
    """

    def __init__(self, name: str, faults: Sequence[str], hint: str = "") -> None:
        self.faults = list(faults)
        lines = [f"{name}: {len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}, nothing was scored."]
        lines += [f"  {fault}" for fault in self.faults[:SHOWN_FAULTS]]
        if len(self.faults) > SHOWN_FAULTS:
            lines.append(f"  ... and {len(self.faults) - SHOWN_FAULTS} more.")
        super().__init__("\n".join([*lines, *([hint] if hint else [])]))
