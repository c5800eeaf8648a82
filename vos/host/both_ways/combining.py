"""One label map, and one prediction, out of a frame's forward and backward pass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vos.types.arrays import AnyArray, LabelMap
from vos.types.prediction import Prediction

_NONE = 255


def combine_label_maps(
    forward: LabelMap, backward: LabelMap, ahead: Mapping[int, int], behind: Mapping[int, int]
) -> LabelMap:
    """Combine two passes' label maps: each object from its own pass, overlaps to the one with the nearer annotation.

    Args:
        forward: uint8 (H, W), of the forward pass.
        backward: uint8 (H, W), of the backward pass.
        ahead: objects of the forward pass: how many frames away the annotation is, by id. It wins a tie.
        behind: objects of the backward pass, likewise.
    Returns:
        uint8 (H, W) of 0 and the ids of both.
    """
    order = sorted(
        [(distance, 0, object_id) for object_id, distance in ahead.items()]
        + [(distance, 1, object_id) for object_id, distance in behind.items()]
    )
    ranks = np.full((2, 256), _NONE, np.uint8)
    for rank, (_, side, object_id) in enumerate(order):
        ranks[side, object_id] = rank
    ahead_ranks, behind_ranks = ranks[0][forward], ranks[1][backward]
    combined = np.where(ahead_ranks < _NONE, forward, np.uint8(0))
    np.copyto(combined, backward, where=behind_ranks < ahead_ranks)
    return combined


def combine_predictions(
    forward: Prediction, backward: Prediction, label_map: LabelMap, ahead: Mapping[int, int], behind: Mapping[int, int]
) -> Prediction:
    """Combine two passes' predictions: each object's row from its own pass.

    Args:
        forward: of the forward pass.
        backward: of the backward pass; it may have the rows of ``behind`` alone.
        label_map: of the frame, as ``combine_label_maps`` gives it.
        ahead: objects of the forward pass, by id.
        behind: objects of the backward pass, by id.
    Returns:
        Logits of both where both have logits of one size; else the label map's.
    """
    rows = [
        (prediction, row)
        for prediction, wanted in ((forward, ahead), (backward, behind))
        for row, object_id in enumerate(prediction.object_ids)
        if object_id in wanted
    ]
    ids = [prediction.object_ids[row] for prediction, row in rows]
    scores = None if all(p.scores is None for p, _ in rows) else [_at(p.scores, row, 1.0) for p, row in rows]
    present = None if all(p.present is None for p, _ in rows) else [_at(p.present, row, True) for p, row in rows]
    drawn = any(prediction.label_map is not None for prediction, _ in rows)
    if not rows or drawn or forward.logits.shape[1:] != backward.logits.shape[1:]:
        return Prediction.from_label_map(label_map, ids, scores, present)
    return Prediction(ids, np.stack([prediction.logits[row] for prediction, row in rows]), scores, present)


def _at(values: AnyArray | None, row: int, default: float) -> float:
    return default if values is None else float(values[row])
