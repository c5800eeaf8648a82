"""Stage ``vote_area``: a mask has at least the area that its votes give it, within a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState

# The decoder under-segments objects that hardly differ from their ground. Raise an object's logits by up to GIVEN until
# its area equals the area of its votes; objects with fewer votes than FEWEST, in cells of 4 px, stay as they are.
GIVEN, FEWEST = 0.5, 24


def match_vote_area(logits: Tensor, votes: Tensor) -> Tensor:
    """Raise each object's logits (K, h, w), by at most ``GIVEN``, until its area equals that of its votes (K, h, w)."""
    voted, held = ((planes > level).flatten(1).sum(1).tolist() for planes, level in ((votes, 0.5), (logits, 0)))
    given = [
        _missing(row, count) if count >= FEWEST and count > own else row.new_zeros(())
        for row, count, own in zip(logits, voted, held, strict=True)
    ]
    return logits + torch.stack(given)[:, None, None]


def _missing(logits: Tensor, count: int) -> Tensor:
    """Compute how far below 0 the ``count``-th highest of the logits is: at most ``GIVEN``."""
    near = logits[logits > -GIVEN]
    if len(near) < count:
        return logits.new_tensor(GIVEN)
    return -near.kthvalue(len(near) - count + 1).values


class VoteArea(Stage):
    """Changes ``logits_s4``."""

    name = "vote_area"

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Raise the logits of objects that the decoder under-segments."""
        frame.logits_s4 = match_vote_area(frame.logits_s4, frame.votes.fine[1:])
