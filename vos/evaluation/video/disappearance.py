"""Scores of the frames in which an object is gone, and of those after it is back (MOSEv2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vos.evaluation.video.object_scores import ObjectScores

Pair = tuple[float, float]


def disappearance_and_reappearance(scores: ObjectScores) -> tuple[Pair | None, Pair | None]:
    """Average J and F over each disappearance and each reappearance, then over these.

    Args:
        scores: of one object; its adaptive F is used where it was measured.
    Returns:
        J and F while the object is gone, and J and F from its return to its next disappearance; each None
        where that does not happen. An object that is absent from the first scored frame on appears later:
        that counts as a reappearance and not as a disappearance.
    Source: henghuiding/MOSE-api, MOSEv2/sam2_rcms/tools/score.py:133-184 at b9afc7d. Its ends of
        reappearances are those of the disappearance one index later, also where the object is there first.
    """
    f = scores.f if scores.f_adaptive is None else scores.f_adaptive
    gone = ~scores.present
    if not len(gone):
        return None, None
    begins = np.flatnonzero(~gone[:-1] & gone[1:]) + 1
    if gone[0]:
        begins = np.insert(begins, 0, 0)
    returns = np.flatnonzero(gone[:-1] & ~gone[1:]) + 1
    absent = [(int(start), _end(returns, at, len(gone))) for at, start in enumerate(begins) if start > 0]
    back = [(int(start), _end(begins, at + 1, len(gone))) for at, start in enumerate(returns)]
    return _mean(scores.j, f, absent), _mean(scores.j, f, back)


def _end(starts: npt.NDArray[np.int64], at: int, length: int) -> int:
    return int(starts[at]) if at < len(starts) else length


def _mean(j: npt.NDArray[np.float64], f: npt.NDArray[np.float64], spans: list[tuple[int, int]]) -> Pair | None:
    if not spans:
        return None
    j_means = [float(j[start:end].mean()) for start, end in spans]
    f_means = [float(f[start:end].mean()) for start, end in spans]
    return float(np.mean(j_means)), float(np.mean(f_means))
