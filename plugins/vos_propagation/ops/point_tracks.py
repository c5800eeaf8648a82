"""Points that follow the optical flow, and where it cannot be trusted their own velocity for some frames.

Source: Sundaram, Brox and Keutzer, "Dense point trajectories by GPU-accelerated large displacement optical flow", ECCV
2010: a point is not seen where the flow there and back does not lead to where it was. Here it is not seen either where
its velocity would jump, since the flow takes an object that is being hidden for its look-alike; and it ends only after
some frames, so that it may come out on the other side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vos.plugin import AnyArray, BoolArray, FloatArray
from vos_propagation.config import CrossingConfig


@dataclass
class PointTracks:
    """The points of one object.

    Attributes:
        places: float32 (N, 2), (x, y) cells.
        velocities: float32 (N, 2), (x, y) cells a frame.
        unseen: int (N,), for how many frames it has not been seen.
        started: the number of points at first.
    """

    places: FloatArray
    velocities: FloatArray
    unseen: AnyArray
    started: int

    @classmethod
    def on(cls, mask: BoolArray, backward: FloatArray) -> PointTracks:
        """Put a point on each cell of a mask (h, w); they move by the flow since the frame before, (h, w, 2)."""
        y, x = mask.nonzero()
        return cls(np.stack([x, y], 1).astype(np.float32), -backward[y, x], np.zeros(len(x), np.int64), len(x))

    @property
    def share_left(self) -> float:
        """The share of the points that have not ended."""
        return len(self.places) / max(1, self.started)

    def advance(self, forward: FloatArray, backward: FloatArray, mask: BoolArray, config: CrossingConfig) -> None:
        """Move the points to the next frame, and drop those that end.

        Args:
            forward: float32 (h, w, 2), the flow from the last frame to this one, (x, y) cells.
            backward: float32 (h, w, 2), the flow from this frame to the last one.
            mask: bool (h, w), the cells that seen points may be in.
            config: how far flow and velocity may be off.
        """
        step = _sample(forward, self.places)
        error = np.linalg.norm(step + _sample(backward, self.places + step), axis=1)
        change = step - self.velocities
        allowed = config.velocity_change + config.velocity_change_share * np.linalg.norm(self.velocities, axis=1)
        seen = (error < config.flow_error) & (np.linalg.norm(change, axis=1) < allowed)
        places = self.places + np.where(seen[:, None], step, self.velocities)
        velocities = self.velocities + np.where(seen[:, None], change / 2, 0)
        unseen = np.where(seen, 0, self.unseen + 1)
        size = np.array(mask.shape[::-1])
        kept = ((places > -0.5) & (places < size - 0.5)).all(1) & (unseen <= config.frames_unseen)
        places, velocities, unseen = places[kept], velocities[kept], unseen[kept]
        x, y = places.round().astype(np.intp).T
        kept = mask[y, x] | (unseen > 0)
        self.places, self.velocities, self.unseen = places[kept], velocities[kept], unseen[kept]

    def cells(self) -> tuple[AnyArray, AnyArray]:
        """Return the rows and the columns of the cells that the M points in sight are in, int (M,) each."""
        x, y = self.places[self.unseen == 0].round().astype(np.intp).T
        return y, x


def _sample(plane: FloatArray, places: FloatArray) -> FloatArray:
    """Read a plane (h, w, 2) at the cells nearest to places (N, 2): (N, 2)."""
    x, y = places.round().astype(np.intp).clip(0, np.array(plane.shape[1::-1]) - 1).T
    return np.asarray(plane[y, x])
