"""PerSAM's guidance of the decoder: target-guided attention and target-semantic prompting (section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_persam.target import at_frame_size
from vos_sam.decoder import DecoderHooks
from vos_sam.view import View


@dataclass(frozen=True)
class Guidance(DecoderHooks):
    """Guides each object's decoding by where its target probably is, and by what it looks like.

    The official code adds the target embedding in place in the first layer, so the sum also reaches the tokens'
    positional part and stays there; later layers add it to the queries alone, and the last attention to its query
    once more (per_segment_anything/modeling/transformer.py:87-107 at a7e8724).

    Attributes:
        attention: float32 (K, h * w), added to token-to-image attention before a second softmax.
        target_embedding: float32 (K, C), added to every token.
    """

    attention: Tensor
    target_embedding: Tensor

    def select(self, rows: slice) -> Guidance:
        """See ``DecoderHooks``."""
        return Guidance(self.attention[rows], self.target_embedding[rows])

    def token_position(self, tokens: Tensor) -> Tensor:
        """Add the target embedding."""
        return tokens + self.target_embedding[:, None]

    def layer_query(self, queries: Tensor, layer: int) -> Tensor:
        """Add the target embedding."""
        return queries + self.target_embedding[:, None]

    def final_query(self, query: Tensor) -> Tensor:
        """Add the target embedding."""
        return query + self.target_embedding[:, None]

    def image_attention(self, scores: Tensor) -> Tensor:
        """Add the attention map to the attention, and normalise by a second softmax."""
        return torch.softmax(torch.softmax(scores, dim=-1) + self.attention[:, None, None], dim=-1)


def guidance_for(maps: Tensor, view: View, embeddings: Tensor) -> Guidance:
    """Make the guidance of the first decoding, aligned with the image tokens.

    Args:
        maps: float32 (K, h, w), similarity on the embedding's grid.
        view: the frame's place in the model's input.
        embeddings: float32 (K, C), target embeddings, not normalised.
    Returns:
        Its attention is the sigmoid of the similarity, standardised over the frame's own cells; 0 in the padding.
    Source: arXiv:2305.03048, section 3.2. The official code standardises at frame size and stretches the frame over the
        whole grid, padding included (persam.py:141-143 at a7e8724); ``official_guidance`` does so.
    """
    own = view.crop(maps)
    mean, deviation = own.mean(dim=(1, 2), keepdim=True), own.std(dim=(1, 2), keepdim=True)
    attention = torch.zeros_like(maps)
    attention[:, : own.shape[1], : own.shape[2]] = torch.sigmoid((own - mean) / deviation.clamp(min=1e-6))
    return Guidance(attention.flatten(1), embeddings)


def official_guidance(maps: Tensor, view: View, embeddings: Tensor) -> Guidance:
    """Make the guidance of the first decoding as the official code does; arguments as in ``guidance_for``."""
    full = at_frame_size(maps, view)
    standard = (full - full.mean(dim=(1, 2), keepdim=True)) / full.std(dim=(1, 2), keepdim=True)
    stretched = F.interpolate(standard[None], maps.shape[-2:], mode="bilinear")[0]
    return Guidance(torch.sigmoid(stretched).flatten(1), embeddings)
