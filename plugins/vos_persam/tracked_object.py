"""State of an object that ``persam`` tracks, saved to a file so that a stopped run resumes bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, InputError, read_state, write_state

FORMAT = 1
_NUMBERS = ("inside", "outside", "rival")


@dataclass
class TrackedObject:
    """The state of one object.

    Attributes:
        object_id: its id.
        target: float32 (C,), the target embedding, not normalised.
        pooled: float32 (C,), the mean embedding, for the decoder's guidance.
        box: its last box in pixels of the frame, the last pixels included.
        present: False while it is lost.
        inside: mean similarity of its own cells where it was annotated.
        outside: mean similarity of the other cells there.
        rival: 99th percentile of the similarity of the other cells there.
        weights: of the three masks, for ``persam-f``; else None.
    """

    object_id: int
    target: Tensor
    pooled: Tensor
    box: AnyArray
    present: bool
    inside: float
    outside: float
    rival: float
    weights: tuple[float, float, float] | None = None

    def lost_below(self, share: float) -> float:
        """The similarity below which a mask is not the object: ``share`` of the way from background to object."""
        return self.outside + share * (self.inside - self.outside)

    def found_above(self, share: float) -> float:
        """The similarity from which a place may be the object: ``share`` of the way from its rivals to it."""
        return min(self.rival, self.inside) + share * max(self.inside - self.rival, 0.0)


def save_objects(path: Path, objects: Sequence[TrackedObject]) -> None:
    """Write objects: some thousand numbers each.

    Args:
        path: the file.
        objects: any number, none too.
    """
    arrays: dict[str, AnyArray] = {
        "targets": np.array([tracked.target.cpu().numpy() for tracked in objects], np.float32),
        "pooled": np.array([tracked.pooled.cpu().numpy() for tracked in objects], np.float32),
        "boxes": np.array([tracked.box for tracked in objects], np.int64),
    }
    facts = [
        {
            "object_id": tracked.object_id,
            "present": bool(tracked.present),
            "weights": None if tracked.weights is None else list(map(float, tracked.weights)),
            **{name: float(getattr(tracked, name)) for name in _NUMBERS},
        }
        for tracked in objects
    ]
    write_state(path, arrays, {"format": FORMAT, "objects": facts})


def load_objects(path: Path, channels: int, device: torch.device) -> list[TrackedObject]:
    """Read the objects of ``save_objects``.

    Args:
        path: the file.
        channels: C, of the model's embeddings.
        device: where tensors go.
    Raises:
        InputError: the file is damaged, or no state of this model.
    """
    arrays, facts = read_state(path)
    try:
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']!r}, expected {FORMAT}")
        stored = facts["objects"]
        if len({one["object_id"] for one in stored}) != len(stored):
            raise ValueError("an object comes twice")
        return [_object(one, arrays, row, channels, device) for row, one in enumerate(stored)]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be a state of this tracker ({error}).") from error


def _object(
    facts: dict[str, Any], arrays: dict[str, AnyArray], row: int, channels: int, device: torch.device
) -> TrackedObject:
    rows = {name: arrays[name][row] for name in ("targets", "pooled", "boxes")}
    for name, length, dtype in (
        ("targets", channels, "float32"),
        ("pooled", channels, "float32"),
        ("boxes", 4, "int64"),
    ):
        if rows[name].shape != (length,) or rows[name].dtype != dtype:
            raise ValueError(f"{name} are {rows[name].dtype} {rows[name].shape}, expected {dtype} ({length},)")
    target, pooled = (torch.tensor(rows[name], device=device) for name in ("targets", "pooled"))
    if type(facts["object_id"]) is not int or type(facts["present"]) is not bool:
        raise ValueError("an object's id or presence has another type")
    weights = facts["weights"]
    if weights is not None:
        first, second, third = map(float, weights)
        weights = first, second, third
    inside, outside, rival = (float(facts[name]) for name in _NUMBERS)
    return TrackedObject(
        facts["object_id"], target, pooled, rows["boxes"], facts["present"], inside, outside, rival, weights
    )
