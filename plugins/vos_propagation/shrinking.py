"""Objects do not shrink for what the head takes: it is given back."""

from __future__ import annotations

import torch
from torch import Tensor

# The head takes too much where an object and what is around it hardly differ. It is given at most so much of a logit,
# until an object has as many cells as were voted for it; one of fewer cells of 4 px than the second is left as it is.
GIVEN, FEWEST = 0.5, 24


def as_many_as_voted(logits: Tensor, votes: Tensor) -> Tensor:
    """Raise each object's logits (K, h, w), by at most ``GIVEN``, until it has as many cells as its votes (K, h, w)."""
    voted, held = ((planes > level).flatten(1).sum(1).tolist() for planes, level in ((votes, 0.5), (logits, 0)))
    given = [
        _missing(row, count) if count >= FEWEST and count > own else row.new_zeros(())
        for row, count, own in zip(logits, voted, held, strict=True)
    ]
    return logits + torch.stack(given)[:, None, None]


def _missing(logits: Tensor, count: int) -> Tensor:
    """Say how much the ``count``-th highest of the logits, which is not above 0, is below it: at most ``GIVEN``."""
    near = logits[logits > -GIVEN]
    if len(near) < count:
        return logits.new_tensor(GIVEN)
    return -near.kthvalue(len(near) - count + 1).values
