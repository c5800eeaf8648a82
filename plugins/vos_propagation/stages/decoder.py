"""Stage ``decoder``: the learned network that turns the cues of each object into its logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vos.plugin import FloatArray
from vos_propagation.backbone.features import FrameFeatures
from vos_propagation.config import DecoderConfig
from vos_propagation.memory.readout_memory import MemoryPart, ReadoutMemory, centre_of, places_from
from vos_propagation.memory.readout_network import VALUE
from vos_propagation.ops.boxes import Box, at_stride, batches_of, boxes_around, within
from vos_propagation.ops.resampling import max_of_others, stack_channels_last, upsample2x
from vos_propagation.stages.decoder_network import LOGIT_LIMIT, fold_batch_norms, load_decoder
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Decoder(Stage):
    """Fills ``boxes_s8`` and ``logits_s4``.

    Attributes:
        network: the learned part.
        readout_memory: what its memory readout reads.
    """

    name = "decoder"
    saved = ("readout_memory",)

    def __init__(self, config: DecoderConfig, device: torch.device, dtype: torch.dtype) -> None:
        self._config, self._dtype = config, dtype
        self.network = fold_batch_norms(load_decoder())
        self.readout_memory = ReadoutMemory()
        self._parts: Sequence[MemoryPart | None] = ()
        self.network.to(device, dtype).to(memory_format=torch.channels_last)

    def encode(self, features: FrameFeatures) -> FrameFeatures:
        """Add what the network sees of the image, once for all objects."""
        levels = features.levels
        readout = self.network.readout.keys(levels[16], levels[8])
        return replace(features, decoder_features=self.network.image_features(levels), readout=readout)

    def reset(self) -> None:
        """Begin a new sequence."""
        self.readout_memory.reset()

    def annotate(self, sequence: SequenceState, object_id: int, share: FloatArray) -> None:
        """Drop the tracked frames, as the memory of labels does."""
        self.readout_memory.reset()

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.readout_memory.forget(object_id)

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Decode each object in a box around where it may be."""
        likely = torch.maximum(frame.votes.labels[1:], frame.warped_s8) > self._config.likely_share
        frame.boxes_s8 = boxes_around(likely)
        self._parts = self.readout_memory.advance(sequence, self.network.readout)
        frame.logits_s4 = self.decode(frame, *self.cues(frame))

    def cues(self, frame: FrameState) -> tuple[Tensor, Tensor]:
        """Stack each object's input planes: (K, 11, h8, w8) and (K, 3, h4, w4), as ``DecoderNetwork`` lists them."""
        own, anchor = frame.votes.labels[1:], frame.anchor_votes.labels[1:]
        warped, score, similarity = frame.warped_s8, frame.target_score_s8, frame.votes.similarity
        coarse = [
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
        votes_s4 = upsample2x(own[None])[0]
        margin = vote_margin(votes_s4, max_of_others(votes_s4))
        fine = [frame.warped_s4, max_of_others(frame.warped_s4), (margin + 1) / 2]
        return torch.stack(coarse, dim=1).to(self._dtype), torch.stack(fine, dim=1).to(self._dtype)

    def decode(self, frame: FrameState, coarse: Tensor, fine: Tensor) -> Tensor:
        """Run the network in each object's box: float32 (K, h4, w4), the lowest logit outside the boxes."""
        logits = fine.new_full((len(fine), *fine.shape[2:]), -LOGIT_LIMIT, dtype=torch.float32)
        image = frame.features.decoder_features
        assert image is not None
        for batch in batches_of(frame.boxes_s8, (coarse.shape[2], coarse.shape[3])):
            seen = [(k, box) for k, _, box in batch]
            parts = self.network(
                {stride: _cut(plane, [(0, box) for _, box in seen], stride) for stride, plane in image.items()},
                _cut(coarse, seen, 8),
                _cut(fine, seen, 4),
                torch.cat([self._read(frame, row, box) for row, box in seen]),
            )
            for (k, own, box), part in zip(batch, parts.clamp_(-LOGIT_LIMIT, LOGIT_LIMIT), strict=True):
                (y, x), (top, left) = at_stride(own, 4), at_stride(box, 4)
                logits[k, y, x] = part[within(y, top), within(x, left)]
        return logits

    def _read(self, frame: FrameState, row: int, box: Box) -> Tensor:
        """Read an object's memory in a box of cells of 8 px: (1, 64, h16, w16), 0 for an object without memory."""
        assert frame.features.readout is not None
        keys, _ = frame.features.readout
        y, x = at_stride(box, 16)
        asked, part = keys[:, :, y, x], self._parts[row]
        if part is None:
            return asked.new_zeros(1, VALUE, *asked.shape[2:])
        places = places_from(centre_of(frame.warped_s4[row]), (y, x))
        memory = (part.keys[None], part.places[None], part.values[None])
        return self.network.readout.read(asked.flatten(2), places[None], *memory).view(1, VALUE, *asked.shape[2:])


def _cut(planes: Tensor, parts: Sequence[tuple[int, Box]], stride: int) -> Tensor:
    """Cut parts, each a row and a box of cells of 8 px, out of planes (K, C, H / stride, W / stride)."""
    places = [(row, *at_stride(box, stride)) for row, box in parts]
    return stack_channels_last(planes[row, :, y, x] for row, y, x in places)


def vote_margin(own: Tensor, other: Tensor) -> Tensor:
    """Compute how far an object's share is above the best other's and the background's; all of one shape."""
    return own - torch.maximum(other, 1 - own - other)


class VotesAsLogits(Stage):
    """In place of the decoder: the margin of the votes, for plain label propagation."""

    name = "votes_as_logits"

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Fill ``boxes_s8`` and ``logits_s4``."""
        frame.boxes_s8 = boxes_around(frame.votes.labels[1:] > 0)
        labels = upsample2x(frame.votes.labels[None])[0]
        frame.logits_s4 = LOGIT_LIMIT * (labels[1:] - max_of_others(labels)[1:])
