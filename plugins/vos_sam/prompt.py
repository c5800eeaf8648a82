"""The prompt of one object: points, a box, a mask, or any subset of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vos.plugin import AnyArray


@dataclass(frozen=True, eq=False)
class Prompt:
    """The prompts of one object, in pixels of the frame.

    Attributes:
        points_xy: (P, 2), x first, or None.
        point_labels: (P,), 1 on the object, 0 beside it; None means all 1.
        box_xyxy: (4,): x0, y0, x1, y1; x1 and y1 are the last object pixel. Or None.
        low_res_logits: float (S, S) as an earlier decoding gave them, or None.
    Raises:
        ValueError: shapes that do not fit, or an empty prompt.
    """

    points_xy: AnyArray | None = None
    point_labels: AnyArray | None = None
    box_xyxy: AnyArray | None = None
    low_res_logits: torch.Tensor | None = None

    def __post_init__(self) -> None:
        points = self.points_xy
        if points is not None:
            points = np.asarray(points)
            if points.ndim != 2 or points.shape[1] != 2 or not len(points):
                raise ValueError(f"points are {points.shape}, expected (P, 2) with P > 0")
            labels = np.ones(len(points), np.int64) if self.point_labels is None else np.asarray(self.point_labels)
            if labels.shape != (len(points),):
                raise ValueError(f"point labels are {labels.shape} for {len(points)} points")
            object.__setattr__(self, "points_xy", points)
            object.__setattr__(self, "point_labels", labels)
        if self.box_xyxy is not None:
            box = np.asarray(self.box_xyxy)
            if box.shape != (4,):
                raise ValueError(f"box is {box.shape}, expected (4,)")
            object.__setattr__(self, "box_xyxy", box)
        if points is None and self.box_xyxy is None and self.low_res_logits is None:
            raise ValueError("a prompt needs points, a box or a mask")
