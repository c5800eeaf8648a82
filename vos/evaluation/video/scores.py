"""The scores of a whole data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vos.evaluation.metrics.statistics import Statistics, mean_of
from vos.evaluation.video.disappearance import disappearance_and_reappearance
from vos.evaluation.video.object_scores import ObjectScores, SequenceScores, main_score
from vos.evaluation.video.protocol import Protocol


@dataclass(frozen=True)
class SequenceFiles:
    """Folders of a sequence's masks and images, for reports.

    Attributes:
        truth: folder of its annotations.
        predictions: folder of its predictions.
        frames: folder of its images; None where the data set has none.
    """

    truth: Path
    predictions: Path
    frames: Path | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """J and F of a data set.

    A data set's J is the mean over all its objects, not over its sequences (as DAVIS does).

    Attributes:
        name: what was scored, such as a tracker's name.
        protocol: the rules.
        tolerance: of the boundary, as given.
        sequences: the sequences' scores, in order.
        unseen: sequences and object ids of unseen categories (YouTube-VOS); None where not requested.
        files: where each sequence's pictures are; with a folder for each object, by ``SEQUENCE/ID``.
        remarks: what a reader should know of the data set, such as folders that were left out.
    """

    name: str
    protocol: Protocol
    tolerance: float
    sequences: tuple[SequenceScores, ...]
    unseen: frozenset[tuple[str, int]] | None = None
    files: Mapping[str, SequenceFiles] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def objects(self) -> list[tuple[str, ObjectScores]]:
        """All objects, each with its sequence's name."""
        return [(sequence.name, scores) for sequence in self.sequences for scores in sequence.objects]

    @cached_property
    def j(self) -> Statistics:
        """Mean over the objects of J's statistics."""
        return mean_of([scores.j_statistics for _, scores in self.objects if len(scores.j)])

    @cached_property
    def f(self) -> Statistics:
        """Mean over the objects of F's statistics."""
        return mean_of([scores.f_statistics for _, scores in self.objects if len(scores.f)])

    @property
    def j_and_f(self) -> float:
        """Mean of mean J and mean F, in [0, 1]."""
        return (self.j.mean + self.f.mean) / 2

    @property
    def main(self) -> float:
        """J&F, by which results are compared; J where F is not measured."""
        return main_score(self.j.mean, self.f.mean)

    def files_of(self, sequence: str, object_id: int) -> SequenceFiles | None:
        """Find the folders of an object's masks and images; None where they are not known."""
        return self.files.get(f"{sequence}/{object_id}" if self.protocol.object_folders else sequence)

    @property
    def notes(self) -> list[str]:
        """Remarks on the scores, those of a sequence with its name."""
        return [
            *self.remarks,
            *(f'sequence "{sequence.name}": {note}' for sequence in self.sequences for note in sequence.notes),
        ]

    def by_category(self) -> dict[str, float] | None:
        """J and F of seen and unseen categories, and their mean G (YouTube-VOS).

        Returns:
            ``g``, ``j_seen``, ``f_seen``, ``j_unseen``, ``f_unseen``; those that have objects, and G
            as the mean of these. None where the categories are not known.
        """
        if self.unseen is None:
            return None
        table: dict[str, float] = {}
        for group in ("seen", "unseen"):
            members = [
                scores
                for name, scores in self.objects
                if ((name, scores.object_id) in self.unseen) == (group == "unseen") and len(scores.j)
            ]
            if members:
                table[f"j_{group}"] = mean_of([scores.j_statistics for scores in members]).mean
                table[f"f_{group}"] = mean_of([scores.f_statistics for scores in members]).mean
        return {"g": sum(table.values()) / len(table), **table} if table else {}

    def summary(self) -> dict[str, float]:
        """The seven numbers of the DAVIS table, and those by category if known; all in [0, 1]."""
        numbers = {
            "j_and_f": self.j_and_f,
            "j_mean": self.j.mean,
            "j_recall": self.j.recall,
            "j_decay": self.j.decay,
            "f_mean": self.f.mean,
            "f_recall": self.f.recall,
            "f_decay": self.f.decay,
        }
        return {**numbers, **self._protocol_numbers(), **(self.by_category() or {})}

    def _protocol_numbers(self) -> dict[str, float]:
        """Metrics of single protocols (V of LVOS, J_tr of VOST, the adaptive F of MOSE) and the boundary IoU."""
        objects = [one for _, one in self.objects if len(one.j)]
        return {**self._own_numbers(objects), **self._boundary_numbers(objects)}

    def _boundary_numbers(self, objects: Sequence[ObjectScores]) -> dict[str, float]:
        """The boundary IoU: its mean over frames, then objects; and of whole tubes, its mean over objects."""
        if not self.protocol.boundary_iou:
            return {}
        means = [float(one.b.mean()) for one in objects if one.b is not None]
        return {"b_mean": _mean(means), "b_tube": _mean([one.b_tube for one in objects])}

    def _own_numbers(self, objects: Sequence[ObjectScores]) -> dict[str, float]:
        if self.protocol.name == "lvos":
            return {"v": _mean([one.instability for one in objects])}
        if self.protocol.measures == "j":
            return {"j_tr": _mean([one.j_last.mean for one in objects])}
        if self.protocol.measures != "j-f-adaptive":
            return {}
        f_adaptive = _mean([float(one.f_adaptive.mean()) for one in objects if one.f_adaptive is not None])
        spans = [disappearance_and_reappearance(one) for one in objects]
        gone = [pair for pair, _ in spans if pair is not None]
        back = [pair for _, pair in spans if pair is not None]
        return {
            "j_and_f_adaptive": (self.j.mean + f_adaptive) / 2,
            "f_adaptive": f_adaptive,
            "disappearance": _mean([sum(pair) / 2 for pair in gone]),
            "reappearance": _mean([sum(pair) / 2 for pair in back]),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, per-frame values included, as plain data; NaN becomes None."""
        content: dict[str, Any] = without_nan({
            "name": self.name,
            "protocol": self.protocol.name,
            "official": self.protocol.official,
            "tolerance": self.tolerance,
            "skip_first": self.protocol.skip_first,
            "skip_last": self.protocol.skip_last,
            "summary": self.summary(),
            "notes": self.notes,
            "sequences": [_sequence_json(sequence) for sequence in self.sequences],
        })  # fmt: skip
        return content


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def without_nan(data: Any) -> Any:
    """Replace NaN by None in plain data; JSON has no NaN."""
    if isinstance(data, dict):
        return {key: without_nan(value) for key, value in data.items()}
    if isinstance(data, list):
        return [without_nan(value) for value in data]
    return None if isinstance(data, float) and math.isnan(data) else data


def _sequence_json(sequence: SequenceScores) -> dict[str, Any]:
    return {
        "name": sequence.name,
        "j_and_f": sequence.j_and_f,
        "j_mean": sequence.j.mean,
        "f_mean": sequence.f.mean,
        "notes": list(sequence.notes),
        "objects": [
            {
                "id": scores.object_id,
                "label": f"{sequence.name}_{scores.label}",
                "proposal": scores.proposal_id,
                "j_mean": scores.j_statistics.mean,
                "j_recall": scores.j_statistics.recall,
                "j_decay": scores.j_statistics.decay,
                "f_mean": scores.f_statistics.mean,
                "f_recall": scores.f_statistics.recall,
                "f_decay": scores.f_statistics.decay,
                "frames": list(scores.frames),
                "j": scores.j.tolist(),
                "f": without_nan(scores.f.tolist()),
                **({} if scores.f_adaptive is None else {"f_adaptive": scores.f_adaptive.tolist()}),
                **({} if scores.b is None else {"b": scores.b.tolist(), "b_tube": scores.b_tube}),
            }
            for scores in sequence.objects
        ],
    }
