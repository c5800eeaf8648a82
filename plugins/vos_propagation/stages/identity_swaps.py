"""Stage ``identity_swaps``: reassign connected components that an object took from one that looks like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, FloatArray
from vos_propagation.config import IdentitySwapConfig
from vos_propagation.stages.distractors import DistractorPair
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState
    from vos_propagation.stages.detached_fragments import DetachedFragments
    from vos_propagation.stages.redetection import Redetection


def resolve_identity_swaps(
    logits: Tensor,
    warped: Tensor,
    usual_areas: Sequence[float],
    annotated: Sequence[AnyArray],
    pairs: Sequence[DistractorPair],
    config: IdentitySwapConfig,
) -> Tensor:
    """Reassign components to the object that looks alike and whose place they are in, or that is missing.

    Args:
        logits: float32 (K, h, w).
        warped: float32 (K, h, w), each object's last mask, warped to this frame.
        usual_areas: each object's usual area, cells.
        annotated: for each object uint8 (h, w), 255 where the cell stems from the object's annotation.
        pairs: objects that look alike.
        config: which components are reassigned.
    Returns:
        float32 (K, h, w); in a reassigned component the new owner has the old owner's logits, the old owner their
        negatives.
    """
    masks = ((logits > 0) & (logits >= logits.amax(0))).cpu().numpy()
    warped_masks = warped.cpu().numpy()
    changed = logits.clone()
    for group in _groups(pairs, config.min_pair_similarity):
        components = cv2.connectedComponents(np.any(masks[group], axis=0).astype(np.uint8), connectivity=8)[1]
        owners = [
            ComponentOwnership(row, components, masks[row], warped_masks[row], usual_areas[row], config)
            for row in group
        ]
        for own in owners:
            for component in own.components_beside_home():
                cells = masks[own.row] & (components == component)
                new_owner = _new_owner(own, component, owners, config)
                if new_owner is None or annotated[own.row][cells].mean() > config.annotated_share * 255:
                    continue
                where = torch.from_numpy(cells).to(logits.device)
                changed[own.row][where] = -logits[own.row][where]
                changed[new_owner.row][where] = logits[own.row][where]
                new_owner.cells[component] += own.cells[component]
                own.cells[component] = 0
    return changed


class ComponentOwnership:
    """The connected components in which an object has cells.

    Attributes:
        row: row of the object, from 0.
        cells: int64 (R,), the object's number of cells in each component.
        weights: float64 (R,), those cells weighted by the object's warped mask.
        home: index of the component with the largest weight.
        usual_area: the object's usual number of cells.
    """

    def __init__(
        self,
        row: int,
        components: AnyArray,
        mask: AnyArray,
        warped: FloatArray,
        usual_area: float,
        config: IdentitySwapConfig,
    ) -> None:
        where, count = components[mask], int(components.max()) + 1
        self.row = row
        self.cells = np.bincount(where, minlength=count)
        self.weights = np.bincount(where, warped[mask] + config.unwarped_weight, minlength=count)
        self.home = int(self.weights.argmax())
        self.usual_area = usual_area
        self._min_home_share = config.min_home_share

    def components_beside_home(self) -> list[int]:
        """List the other components with cells of the object; none while too little of it lies in its home."""
        if self.cells[self.home] < self._min_home_share * self.usual_area:
            return []
        return [component for component in np.flatnonzero(self.cells).tolist() if component != self.home]


def _new_owner(
    own: ComponentOwnership, component: int, owners: Sequence[ComponentOwnership], config: IdentitySwapConfig
) -> ComponentOwnership | None:
    """Return the object to which a component is reassigned; None if ``own`` keeps it."""
    others = [other for other in owners if other is not own]
    at_home = [
        other
        for other in others
        if other.home == component and other.cells[component] >= config.min_owner_share * other.usual_area
    ]
    if at_home:
        return max(at_home, key=lambda other: float(other.weights[component]))
    if own.cells.sum() < config.min_surplus_share * own.usual_area:
        return None
    area = own.cells[component]
    missing = [
        other
        for other in others
        if other.cells.sum() < config.max_missing_share * other.usual_area
        and config.min_found_share * other.usual_area <= area <= config.max_found_share * other.usual_area
    ]
    return min(missing, key=lambda other: abs(other.usual_area - area), default=None)


def _groups(pairs: Sequence[DistractorPair], min_similarity: float) -> list[list[int]]:
    """Group the rows of objects that look alike, directly or through a third object."""
    groups: list[set[int]] = []
    for pair in pairs:
        if pair.appearance_similarity >= min_similarity:
            rows = {pair.first, pair.second}
            rows.update(*(group for group in groups if group & rows))
            groups = [group for group in groups if not group & rows] + [rows]
    return [sorted(group) for group in groups]


class IdentitySwaps(Stage):
    """Changes ``logits_s4``: a component in the place of an object that looks alike is reassigned to that object."""

    name = "identity_swaps"

    def __init__(self, config: IdentitySwapConfig, redetection: Redetection, fragments: DetachedFragments) -> None:
        """Make the stage; ``redetection`` measures usual areas, ``fragments`` tracks the annotated cells."""
        self._config, self._redetection, self._fragments = config, redetection, fragments

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Reassign components of objects that look alike."""
        if not sequence.distractors:
            return
        ids = sequence.object_ids
        # The redetector measures areas in 8-px cells; four 4-px cells lie in one.
        usual_areas = [4 * self._redetection.redetector.states[object_id].area for object_id in ids]
        annotated = [self._fragments.filter.annotated(object_id) for object_id in ids]
        frame.logits_s4 = resolve_identity_swaps(
            frame.logits_s4, frame.warped_s4, usual_areas, annotated, sequence.distractors, self._config
        )
