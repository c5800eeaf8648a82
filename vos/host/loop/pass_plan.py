"""Plan the passes of a run: the frames to track, their direction, and the frames kept from an earlier run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from vos.errors import InputError
from vos.host.both_ways.origins import Origins, backward_passes
from vos.host.continuing import Continuation
from vos.types.annotation import Annotation


@dataclass(frozen=True)
class PassPlan:
    """The frame indices of a run's passes.

    Attributes:
        before: frames before the first annotation, descending; empty unless the run is tracked both ways.
        backward: each pass backward, descending, the latest one first; each begins at an annotated frame.
        kept: frames whose masks come from an earlier run, ascending.
        forward: the frames of the pass forward, ascending; the first one is annotated.
    """

    before: range
    backward: tuple[range, ...]
    kept: range
    forward: range

    @classmethod
    def make(
        cls,
        indices: range,
        annotations: Mapping[int, Annotation],
        origins: Origins,
        *,
        both_ways: bool,
        continuation: Continuation | None,
    ) -> PassPlan:
        """Plan the passes.

        Args:
            indices: the frames wanted, ascending.
            annotations: by frame index.
            origins: of these annotations.
            both_ways: also track backward.
            continuation: of an earlier run, if this run continues one.
        Raises:
            InputError: the continued frame has no annotation.
        """
        first = indices.index(min(annotations))
        backward = tuple(backward_passes(annotations, origins, indices)) if both_ways else ()
        if continuation is None:
            before = indices[:first][::-1] if both_ways else range(0)
            return cls(before, backward, range(0), indices[first:])
        index = continuation.index
        if index not in annotations:
            raise InputError(f"--from {index}: no mask is given for frame {index}. Give one with --mask {index}:FILE.")
        backward = tuple(one for one in backward if one.start >= index)
        at = indices.index(index)
        plan = cls(range(0), backward, indices[:at], indices[at:])
        if continuation.replay:
            return plan
        return dataclasses.replace(plan, kept=indices[indices.index(plan.first_tracked) : at])

    @property
    def first_tracked(self) -> int:
        """The lowest index of a frame that is tracked: the first one forward, or where a pass backward ends."""
        return min([self.forward.start, *(one[-1] for one in self.backward)])

    @property
    def output_order(self) -> tuple[range, range]:
        """The frames in the order in which the loop gives them: those before the first annotation, then the others."""
        return self.before, range((self.kept or self.forward).start, self.forward.stop, self.forward.step)

    @property
    def goes_back(self) -> bool:
        """True if the source must seek to an earlier frame."""
        return bool(self.backward or self.kept)

    @property
    def forward_alone(self) -> bool:
        """True if no frame of the forward pass needs a backward pass too."""
        return all(indices.start == self.forward.start for indices in self.backward)
