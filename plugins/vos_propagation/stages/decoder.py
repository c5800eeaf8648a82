"""Stage ``decoder``: the learned network that turns the cues of each object into its logits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vos_propagation.backbone.features import FrameFeatures
from vos_propagation.config import DecoderConfig
from vos_propagation.ops.boxes import batches_of, boxes_around, scale2x, within
from vos_propagation.ops.resampling import max_of_others, stack_channels_last, upsample2x
from vos_propagation.stages.fusion_head import LOGIT_LIMIT, load_head, vote_margin
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Decoder(Stage):
    """Fills ``boxes_s8`` and ``logits_s4``.

    Attributes:
        network: the learned part.
    """

    name = "decoder"

    def __init__(self, config: DecoderConfig, device: torch.device, dtype: torch.dtype) -> None:
        self._config, self._dtype = config, dtype
        self.network = load_head()
        self.network.to(device, dtype).to(memory_format=torch.channels_last)

    def encode(self, features: FrameFeatures) -> FrameFeatures:
        """Add what the network sees of the image, once for all objects."""
        return replace(features, head_features=self.network.look(features.cells[None], features.fine[None]))

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Decode each object in a box around where it may be."""
        likely = torch.maximum(frame.votes.labels[1:], frame.warped_s8) > self._config.likely_share
        frame.boxes_s8 = boxes_around(likely)
        frame.logits_s4 = self.decode(frame, *self.cues(frame))

    def cues(self, frame: FrameState) -> tuple[Tensor, Tensor, Tensor]:
        """Stack what is known of each object.

        Returns:
            (K, 11, h8, w8) and (K, 2, h4, w4), the cues that ``FusionHead.forward`` lists, and (K, 1, h4, w4), the
            margin of the fine votes.
        """
        own, anchor = frame.votes.labels[1:], frame.anchor_votes.labels[1:]
        warped, score, similarity = frame.warped_s8, frame.target_score_s8, frame.votes.similarity
        cues = [
            warped,
            max_of_others(warped),
            score,
            max_of_others(score),
            similarity.expand_as(own),
            (score.amax(0) - similarity).expand_as(own),
            anchor,
            max_of_others(anchor),
            frame.anchor_votes.similarity.expand_as(own),
            own,
            max_of_others(own),
        ]
        coarse = torch.stack(cues, dim=1).to(self._dtype)
        fine = torch.stack([frame.warped_s4, max_of_others(frame.warped_s4)], dim=1).to(self._dtype)
        own_fine = frame.votes.fine[1:]
        margin = vote_margin(own_fine, max_of_others(own_fine))[:, None].to(self._dtype)
        return coarse, fine, margin

    def decode(self, frame: FrameState, coarse: Tensor, fine: Tensor, margin: Tensor) -> Tensor:
        """Run the network in each object's box: float32 (K, h4, w4), the lowest logit outside the boxes."""
        logits = fine.new_full((len(fine), *fine.shape[2:]), -LOGIT_LIMIT, dtype=torch.float32)
        assert frame.features.head_features is not None
        coarse_image, fine_image = frame.features.head_features
        for batch in batches_of(frame.boxes_s8, (coarse.shape[2], coarse.shape[3])):
            small = [(k, y, x) for k, _, (y, x) in batch]
            large = [(k, scale2x(y), scale2x(x)) for k, y, x in small]
            parts = self.network(
                stack_channels_last(coarse[k, :, y, x] for k, y, x in small),
                stack_channels_last(fine[k, :, y, x] for k, y, x in large),
                stack_channels_last(coarse_image[0, :, y, x] for _, y, x in small),
                stack_channels_last(fine_image[0, :, y, x] for _, y, x in large),
                stack_channels_last(margin[k, :, y, x] for k, y, x in large),
            )
            for (k, own, seen), part in zip(batch, parts.clamp_(-LOGIT_LIMIT, LOGIT_LIMIT), strict=True):
                y, x = (scale2x(span) for span in own)
                top, left = (scale2x(span) for span in seen)
                logits[k, y, x] = part[within(y, top), within(x, left)]
        return logits


class VotesAsLogits(Stage):
    """In place of the decoder: the margin of the votes, for plain label propagation."""

    name = "votes_as_logits"

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Fill ``boxes_s8`` and ``logits_s4``."""
        labels = upsample2x(frame.votes.labels[None])[0]
        frame.boxes_s8 = boxes_around(frame.votes.labels[1:] > 0)
        frame.logits_s4 = LOGIT_LIMIT * (labels[1:] - max_of_others(labels)[1:])
