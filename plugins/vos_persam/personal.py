"""Personalised segmentation: segment the objects of one reference image in other images (PerSAM and PerSAM-F)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, BoolArray, EmptyMaskError, Image, LabelMap, TrackerError, object_ids
from vos_persam import cascade
from vos_persam.cascade import Stage
from vos_persam.guidance import guidance_for, official_guidance
from vos_persam.mask_weights import FitHistory, fit_mask_weights
from vos_persam.target import (
    at_frame_size,
    cell_weights,
    coverage,
    extreme_points,
    mean_embedding,
    official_cells,
    peak_embedding,
    similarity,
    unit,
)
from vos_sam.model import Embedding, SegmentAnything
from vos_sam.prompt import Prompt

OnStages = Callable[[Sequence[Stage]], None]


@dataclass(frozen=True)
class PersonalOptions:
    """Settings of personalised segmentation.

    Attributes:
        learnt: learn two mask weights from the reference (PerSAM-F).
        epochs: steps of the optimisation.
        rate: initial learning rate.
        reference_mask_value: the red value (1 to 255) of the object in the official code's annotation. Cells and
            guidance are then chosen as in that code; None chooses them without its faults.
    """

    learnt: bool = False
    epochs: int = 1000
    rate: float = 1e-3
    reference_mask_value: int | None = None


class PersonalSegmenter:
    """Segments the objects of a reference image in other images.

    Attributes:
        object_ids: the reference's ids.
        pooled: float32 (K, C), mean embeddings, not normalised.
        targets: float32 (K, C), the target features that similarity is measured with, unit length.
        mask_weights: float32 (K, 3) for PerSAM-F, else None.
    """

    def __init__(
        self, sam: SegmentAnything, image: Image, label_map: LabelMap, options: PersonalOptions | None = None
    ) -> None:
        """Compute the reference objects' embeddings, and fit mask weights if the options ask for them.

        Args:
            sam: the model.
            image: uint8 (H, W, 3), RGB.
            label_map: uint8 (H, W): 0, and one or more ids.
            options: by default training-free PerSAM, without the official code's faults.
        Raises:
            EmptyMaskError: an object without a pixel; with ``reference_mask_value`` also one without a cell.
        """
        self._sam = sam
        self._options = options or PersonalOptions()
        self.on_stages: OnStages | None = None
        self.histories: list[FitHistory] = []
        self.object_ids = object_ids(label_map)
        (embedding,) = sam.encode([image])
        masks: list[BoolArray] = [label_map == i for i in self.object_ids]
        weights = [self._cells(i, mask, embedding) for i, mask in zip(self.object_ids, masks, strict=True)]
        self.pooled = torch.stack([mean_embedding(embedding.features, w) for w in weights])
        peaks = torch.stack([peak_embedding(embedding.features, w) for w in weights])
        self.targets = unit(peaks if self._options.learnt else self.pooled)
        self.mask_weights = self._fit(embedding, masks) if self._options.learnt else None

    def _cells(self, object_id: int, mask: BoolArray, embedding: Embedding) -> Tensor:
        value = self._options.reference_mask_value
        if value is None:
            return cell_weights(coverage(mask, embedding.view, self._sam.grid))
        cells = official_cells(mask, embedding.view, self._sam.grid, value) > 0
        if not cells.any():
            raise EmptyMaskError(
                f"object {object_id} of the reference holds no cell of the feature map, and the official code gives "
                "NaN for it. Leave out --compat."
            )
        return cells.float()

    def _fit(self, embedding: Embedding, masks: Sequence[BoolArray]) -> Tensor:
        maps = similarity(embedding.features, self.targets)
        stage = cascade.decode(self._sam, embedding, self._prompts(embedding, maps))
        weights = []
        for mask, low_res in zip(masks, stage.decoded.low_res_logits, strict=True):
            self.histories.append(history := FitHistory())
            logits = embedding.view.upsample(low_res)
            weights.append(
                fit_mask_weights(logits, mask, epochs=self._options.epochs, rate=self._options.rate, history=history)
            )
        return torch.tensor(weights, device=self._sam.device)

    @torch.inference_mode()
    def segment(self, image: Image) -> LabelMap:
        """Segment the reference's objects in an image.

        Args:
            image: uint8 (H, W, 3), RGB, of any size.
        Returns:
            uint8 (H, W): 0 and the reference's ids; each object gets the pixels where its logit is the highest.
        """
        (embedding,) = self._sam.encode([image])
        maps = similarity(embedding.features, self.targets)
        prompts = self._prompts(embedding, maps)
        stages = (
            self._plain(embedding, maps, prompts) if self.mask_weights is None else self._learnt(embedding, prompts)
        )
        if self.on_stages is not None:
            self.on_stages(stages)
        best, owner = embedding.view.upsample(stages[-1].low_res_logits).max(dim=0)
        ids = np.array(self.object_ids, dtype=np.uint8)
        label_map: LabelMap = np.where((best > 0).cpu().numpy(), ids[owner.cpu().numpy()], np.uint8(0))
        return label_map

    def _prompts(self, embedding: Embedding, maps: Tensor) -> list[Prompt]:
        """Prompt with the most similar point, for training-free PerSAM also with the least similar one as negative."""
        full = at_frame_size(maps, embedding.view)
        points = extreme_points(full, 1)
        if self._options.learnt:
            return [Prompt(own) for own in points]
        against = extreme_points(full, 1, largest=False)
        return [Prompt(np.concatenate(both), np.array([1, 0])) for both in zip(points, against, strict=True)]

    def _plain(self, embedding: Embedding, maps: Tensor, prompts: Sequence[Prompt]) -> list[Stage]:
        """Decode three times without learnt weights; source: persam.py:145-186 at a7e8724."""
        guide = guidance_for if self._options.reference_mask_value is None else official_guidance
        guidance = guide(maps, embedding.view, self.pooled)
        first = cascade.decode(self._sam, embedding, prompts, multimask=False, hooks=guidance)
        second = cascade.refine_with_mask(self._sam, embedding, first)
        third = cascade.refine_with_box(self._sam, embedding, prompts, second.low_res_logits, self._no_box)
        return [first, second, third]

    def _learnt(self, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Stage]:
        """Decode three times with learnt mask weights; source: persam_f.py:195-246 at a7e8724."""
        assert self.mask_weights is not None
        first = cascade.decode(self._sam, embedding, prompts)
        weighted = (first.decoded.low_res_logits * self.mask_weights[..., None, None]).sum(dim=1)
        second = cascade.refine_with_box(self._sam, embedding, prompts, weighted, self._no_box)
        third = cascade.refine_with_box(self._sam, embedding, prompts, second.low_res_logits, self._no_box)
        return [first, second, third]

    def _no_box(self, row: int) -> AnyArray | None:
        """Return no box for an empty mask; with the official code's choices raise an error where that code crashes."""
        if self._options.reference_mask_value is None:
            return None
        raise TrackerError(
            f"object {self.object_ids[row]}: a mask is empty before its box is taken, where the official code crashes. "
            "Leave out --compat."
        )
