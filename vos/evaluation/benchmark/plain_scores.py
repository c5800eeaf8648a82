"""The scores of a sequence as plain data and back, to carry them from a worker: every number stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from vos.evaluation.video.object_scores import ObjectScores, SequenceScores
from vos.evaluation.video.protocol import Protocol
from vos.evaluation.video.scores import Scores, SequenceFiles

_DTYPES = {"j": np.float64, "f": np.float64, "f_adaptive": np.float64, "present": np.bool_, "boundary": np.int64}


def to_plain(scores: Scores) -> dict[str, Any]:
    """Describe the scores of one sequence, the protocol left out, as JSON data."""
    (sequence,) = scores.sequences
    return {
        "name": scores.name,
        "tolerance": scores.tolerance,
        "sequence": sequence.name,
        "notes": list(sequence.notes),
        "objects": [
            {field.name: _plain(getattr(one, field.name)) for field in fields(ObjectScores)} for one in sequence.objects
        ],
        "files": {
            name: [str(files.truth), str(files.predictions), None if files.frames is None else str(files.frames)]
            for name, files in scores.files.items()
        },
        "remarks": list(scores.remarks),
    }


def from_plain(data: Mapping[str, Any], protocol: Protocol) -> Scores:
    """Make the scores that ``to_plain`` has described.

    Args:
        data: of ``to_plain``.
        protocol: the rules that they were made by.
    """
    objects = tuple(
        ObjectScores(**{name: _value(name, value) for name, value in one.items()}) for one in data["objects"]
    )
    return Scores(
        data["name"],
        protocol,
        data["tolerance"],
        (SequenceScores(data["sequence"], objects, tuple(data["notes"])),),
        files={
            name: SequenceFiles(Path(truth), Path(predictions), None if frames is None else Path(frames))
            for name, (truth, predictions, frames) in data["files"].items()
        },
        remarks=tuple(data["remarks"]),
    )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _value(name: str, value: Any) -> Any:
    if name in _DTYPES and value is not None:
        shape = (-1, 2) if name == "boundary" else (-1,)
        return np.array(value, dtype=_DTYPES[name]).reshape(shape)
    return tuple(value) if name == "frames" else value
