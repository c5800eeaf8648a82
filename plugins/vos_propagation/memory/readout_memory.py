"""The memory of the readout: keys and values of the cells around each object in a few past frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.backbone.features import FrameFeatures
from vos_propagation.memory.readout_network import ReadoutNetwork
from vos_propagation.ops.boxes import Box, within

if TYPE_CHECKING:
    from vos_propagation.frame_state import SequenceState

# Cells of 16 px around an object that are remembered with it, and those beyond that its values see.
ROOM, SEEN = 3, 1
# A cell of 16 px with a larger share of an object is the object's.
CLAIMED_SHARE = 0.05
# Boxes lie on a grid of so many cells, since oneDNN keeps code and buffers for each shape that it has seen.
GRID = 4
# A part of more cells is thinned.
LARGE = 300
# How many frames further back are kept, and how often one is.
SPREAD, SPREAD_EVERY = 1, 10


@dataclass(frozen=True)
class MemoryPart:
    """The cells around an object in one or several memory frames.

    Attributes:
        keys: (64, N).
        places: float32 (2, N), (y, x) from the object's centre in that frame, cells of 16 px.
        values: (N, 64).
    """

    keys: Tensor
    places: Tensor
    values: Tensor


class ReadoutMemory:
    """Keeps parts of memory frames for each object; its size does not grow with the length of the video.

    Attributes:
        annotated: by object id, the parts of its annotated frames.
        spread: by object id, parts of frames further back.
        steps: the number of frames tracked.
    """

    def __init__(self) -> None:
        self.annotated: dict[int, list[MemoryPart]] = {}
        self.spread: dict[int, deque[MemoryPart]] = {}
        self.steps = 0

    def reset(self) -> None:
        """Drop everything: after an annotation the objects are remembered anew."""
        self.annotated.clear()
        self.spread.clear()
        self.steps = 0

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.annotated.pop(object_id, None)
        self.spread.pop(object_id, None)

    def advance(self, sequence: SequenceState, network: ReadoutNetwork) -> list[MemoryPart | None]:
        """Remember the last frame, and return each object's parts joined; None for an object that no frame shows."""
        self.steps += 1
        joined = []
        for row, object_id in enumerate(sequence.object_ids, start=1):
            if object_id not in self.annotated:
                anchors = [anchor for anchor in sequence.memory.anchors if object_id in anchor.object_ids]
                shown = [part_around(network, anchor.features, anchor.prob, row) for anchor in anchors]
                self.annotated[object_id] = [part for part in shown if part is not None]
                self.spread[object_id] = deque(maxlen=SPREAD)
            last = part_around(network, sequence.features, sequence.prob, row)
            parts = [*self.annotated[object_id], *([] if last is None else [last]), *self.spread[object_id]]
            joined.append(join(parts) if parts else None)
            if last is not None and self.steps % SPREAD_EVERY == 0:
                self.spread[object_id].append(last)
        return joined


def part_around(network: ReadoutNetwork, features: FrameFeatures, prob: Tensor, row: int) -> MemoryPart | None:
    """Make the keys and values around an object; None where it is not seen.

    Args:
        network: makes the values.
        features: of the memory frame.
        prob: float32 (K + 1, h4, w4), its label probabilities.
        row: the object's, from 1.
    """
    assert features.readout is not None
    keys, image = features.readout
    own = prob[row : row + 1]
    claimed = F.avg_pool2d(own, 4)[0] > CLAIMED_SHARE
    inner, seen = box_around(claimed, ROOM), box_around(claimed, ROOM + SEEN)
    if inner is None or seen is None:
        return None
    y, x = seen
    others = (1 - prob[:1] - own).clamp(0, 1)
    fine = slice(4 * y.start, 4 * y.stop), slice(4 * x.start, 4 * x.stop)
    own_seen, others_seen = (plane[None, :, fine[0], fine[1]].to(keys.dtype) for plane in (own.clamp(0, 1), others))
    values = network.values(image[:, :, y, x], own_seen, others_seen)
    y, x = (within(part, whole) for part, whole in zip(inner, seen, strict=True))
    part = MemoryPart(
        keys[0, :, inner[0], inner[1]].flatten(1),
        places_from(centre_of(own[0]), inner),
        values[0, :, y, x].flatten(1).t().contiguous(),
    )
    return thinned(part, inner)


def thinned(part: MemoryPart, box: Box) -> MemoryPart:
    """Keep every second cell of a large part, as on a chessboard; its neighbours are much alike."""
    rows, columns = (torch.arange(side.start, side.stop) for side in box)
    if len(rows) * len(columns) <= LARGE:
        return part
    kept = ((rows[:, None] + columns) % 2 == 0).flatten().to(part.keys.device)
    return MemoryPart(part.keys[:, kept], part.places[:, kept], part.values[kept])


def box_around(claimed: Tensor, room: int) -> Box | None:
    """Box the True cells of (h, w), with ``room`` cells around, on a grid of ``GRID`` cells; None if there are none."""
    rows, columns = claimed.any(1).cpu().numpy().nonzero()[0], claimed.any(0).cpu().numpy().nonzero()[0]
    if not len(rows):
        return None
    y, x = (
        slice(
            max(0, int(at[0]) - room) // GRID * GRID,
            min(length, -(-(int(at[-1]) + 1 + room) // GRID) * GRID),
        )
        for at, length in zip((rows, columns), claimed.shape, strict=True)
    )
    return y, x


def join(parts: Sequence[MemoryPart]) -> MemoryPart:
    """Join parts of one object into one."""
    keys, places, values = zip(*((part.keys, part.places, part.values) for part in parts), strict=True)
    return MemoryPart(torch.cat(keys, 1), torch.cat(places, 1), torch.cat(values))


def places_from(centre: Tensor, box: Box) -> Tensor:
    """Return the places of a box of N cells of 16 px from a centre: float32 (2, N)."""
    rows, columns = (
        torch.arange(part.start, part.stop, dtype=torch.float32, device=centre.device) + 0.5 for part in box
    )
    return (torch.stack(torch.meshgrid(rows, columns, indexing="ij")) - centre[:, None, None]).flatten(1)


def centre_of(mask: Tensor) -> Tensor:
    """Return the centre of a mask, (h4, w4): float32 (y, x), cells of 16 px; that of the frame if it is empty."""
    weight = mask.sum()
    if weight < 1:
        return torch.tensor(mask.shape, dtype=torch.float32, device=mask.device) / 8
    rows, columns = (torch.arange(length, dtype=torch.float32, device=mask.device) + 0.5 for length in mask.shape)
    return torch.stack([mask.sum(1) @ rows, mask.sum(0) @ columns]) / (4 * weight)
