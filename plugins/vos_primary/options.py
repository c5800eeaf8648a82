"""Options of the initializer; importing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from vos.plugin import option


@dataclass(frozen=True)
class PrimaryOptions:
    """Options of ``primary-object``."""

    separate: bool = option(False, "Make each connected region an object of its own, the largest one first.")
