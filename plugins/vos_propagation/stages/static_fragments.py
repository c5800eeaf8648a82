"""Stage ``static_fragments``: drop small fragments that stay with the ground while their object moves on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, FloatArray, Size
from vos_propagation.config import StaticFragmentConfig
from vos_propagation.ops.components import Cells, several_components
from vos_propagation.stages.decoder_network import LOGIT_LIMIT
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


def static_fragments(masks: AnyArray, score: FloatArray, flow: FloatArray, config: StaticFragmentConfig) -> AnyArray:
    """Find the fragments that stay with the ground.

    Args:
        masks: bool (K, h, w), each object's mask.
        score: float32 (K, h / 2, w / 2), the target model's score.
        flow: float32 (h, w, 2), optical flow, (x, y) cells per frame.
        config: which fragments are static.
    Returns:
        bool (K, h, w), True in static fragments.
    """
    static = np.zeros_like(masks)
    covered: AnyArray | None = None
    for mask, own_score, own_static in zip(masks, score, static, strict=True):
        components = several_components(mask)
        if not components:
            continue
        main = max(components, key=lambda cells: len(cells[0]))
        main_motion: FloatArray | None = None
        for cells in components:
            is_small = config.min_cells <= len(cells[0]) <= config.max_share * len(main[0])
            if not is_small or own_score[cells[0] // 2, cells[1] // 2].mean() > config.max_score:
                continue
            covered = _dilate(np.logical_or.reduce(masks, axis=0), 1) if covered is None else covered
            ground = _ground_around(cells, mask.shape, covered, config.ground_radius)
            if len(ground[0]) < config.min_cells:
                continue
            main_motion = np.median(flow[main], 0) if main_motion is None else main_motion
            ground_motion = np.median(flow[ground], 0)
            is_still = np.hypot(*(np.median(flow[cells], 0) - ground_motion)) < config.max_ground_speed
            if is_still and np.hypot(*(main_motion - ground_motion)) > config.min_object_speed:
                own_static[cells] = True
    return static


def _ground_around(cells: Cells, shape: Size, covered: AnyArray, radius: int) -> Cells:
    """List the cells within ``radius`` of a fragment that no object covers."""
    starts = [max(0, int(at.min()) - radius) for at in cells]
    stops = [min(length, int(at.max()) + 1 + radius) for at, length in zip(cells, shape, strict=True)]
    top, left = starts
    fragment = np.zeros((stops[0] - top, stops[1] - left), bool)
    fragment[cells[0] - top, cells[1] - left] = True
    rows, columns = np.nonzero(_dilate(fragment, radius) & ~covered[top : stops[0], left : stops[1]])
    return rows + top, columns + left


def _dilate(mask: AnyArray, radius: int) -> AnyArray:
    side = 2 * radius + 1
    return np.asarray(cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8)) > 0)


class StaticFragments(Stage):
    """Changes ``logits_s4``: lowers the logits of fragments that stay with the ground."""

    name = "static_fragments"

    def __init__(self, config: StaticFragmentConfig) -> None:
        self._config = config

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Drop fragments that an object left behind when it uncovered the ground."""
        logits: Tensor = frame.logits_s4
        masks = (logits > 0).cpu().numpy()
        static = static_fragments(masks, frame.score_s8.cpu().numpy(), frame.flow_s4, self._config)
        if static.any():
            frame.logits_s4 = logits.masked_fill(torch.from_numpy(static).to(logits.device), -LOGIT_LIMIT)
