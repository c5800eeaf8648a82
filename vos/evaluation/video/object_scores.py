"""The scores of one sequence: J and F of each object over time, with their statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vos.evaluation.metrics.statistics import Statistics, mean_of, statistics

Series = npt.NDArray[np.float64]

LAST_QUARTER = 0.75
"""Share of the frames after which VOST's J_tr begins."""


def main_score(j: float, f: float) -> float:
    """Return J&F; J where F is not measured (VOST), which is NaN then."""
    return j if math.isnan(f) else (j + f) / 2


@dataclass(frozen=True, eq=False)
class ObjectScores:
    """One object's scores over time.

    Attributes:
        object_id: its id in the truth; 1 where objects are merged.
        frames: names of the T scored frames.
        j: float64 (T,), J in each.
        f: float64 (T,), F in each.
        proposal_id: the predicted id that was matched to it; None where ids name the objects, or
            where nothing was left to match.
        label: the number in the official tables (``SEQUENCE_1``).
        official: the decay is the official tool's.
        present: bool (T,), frames in which the truth holds the object; empty where proposals are matched.
        f_adaptive: float64 (T,), F with MOSEv2's tolerance; None where it is not measured.
        boundary: int64 (T, 2), pixels that the boundary regions share, and those of either; None where not measured.
    """

    object_id: int
    frames: tuple[str, ...]
    j: Series
    f: Series
    proposal_id: int | None = None
    label: int = 0
    official: bool = False
    present: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    f_adaptive: Series | None = None
    boundary: npt.NDArray[np.int64] | None = None

    @cached_property
    def j_statistics(self) -> Statistics:
        """Mean, recall and decay of J."""
        return statistics(self.j, official=self.official)

    @cached_property
    def f_statistics(self) -> Statistics:
        """Mean, recall and decay of F."""
        return statistics(self.f, official=self.official)

    @cached_property
    def j_last(self) -> Statistics:
        """Statistics of J over the last quarter of the frames, VOST's J_tr (``evaluation.py:58`` at fe27457)."""
        return statistics(self.j[math.floor(LAST_QUARTER * len(self.j)) :])

    @cached_property
    def instability(self) -> float:
        """LVOS's V: the standard deviation of J&F over the frames.

        The mean square is rounded to four digits before its root (lvos/utils.py:39-48 at 25cb02d).
        """
        both = (self.j + self.f) / 2
        return math.sqrt(round(float(np.mean((both - both.mean()) ** 2)), 4)) if len(both) else math.nan

    @cached_property
    def b(self) -> Series | None:
        """float64 (T,), the boundary IoU in each frame, 1 where the object is neither there nor predicted; or None."""
        if self.boundary is None:
            return None
        shared, joined = self.boundary.T
        return np.where(joined > 0, shared / np.maximum(joined, 1), 1.0)

    @property
    def b_tube(self) -> float:
        """The boundary IoU with intersection and union summed over the frames, as in Tube-Boundary AP.

        Source: Ke et al., Video Mask Transfiner, ECCV 2022, arXiv:2207.14012, section 4.
        """
        if self.boundary is None:
            return math.nan
        shared, joined = (int(count) for count in self.boundary.sum(axis=0))
        return shared / joined if joined else 1.0

    @property
    def j_and_f(self) -> float:
        """Mean of mean J and mean F."""
        return (self.j_statistics.mean + self.f_statistics.mean) / 2

    @property
    def main(self) -> float:
        """J&F, by which objects are compared; J where F is not measured."""
        return main_score(self.j_statistics.mean, self.f_statistics.mean)


@dataclass(frozen=True, eq=False)
class SequenceScores:
    """The scores of one sequence.

    Attributes:
        name: the sequence.
        objects: its objects, ascending by id (with ``official``: by matched proposal).
        notes: what a reader should know, such as objects that the protocol leaves out.
    """

    name: str
    objects: tuple[ObjectScores, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def j(self) -> Statistics:
        """Mean over the objects of J's statistics."""
        return mean_of([o.j_statistics for o in self.objects if len(o.j)])

    @cached_property
    def f(self) -> Statistics:
        """Mean over the objects of F's statistics."""
        return mean_of([o.f_statistics for o in self.objects if len(o.f)])

    @property
    def j_and_f(self) -> float:
        """Mean of mean J and mean F."""
        return (self.j.mean + self.f.mean) / 2

    @property
    def main(self) -> float:
        """J&F, by which sequences are compared; J where F is not measured."""
        return main_score(self.j.mean, self.f.mean)
