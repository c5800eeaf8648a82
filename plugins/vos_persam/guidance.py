"""PerSAM's help for the decoder: target-guided attention and target-semantic prompting."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_persam.target import at_frame_size
from vos_sam.decoder import Guidance
from vos_sam.view import View


def guidance_for(maps: Tensor, view: View, embeddings: Tensor) -> Guidance:
    """Make the guidance of the first decoding, aligned with the image tokens.

    Args:
        maps: float32 (K, h, w), similarity on the embedding's grid.
        view: the frame's place in the model's input.
        embeddings: float32 (K, C), target embeddings, not normalised.
    Returns:
        Attention is the sigmoid of the similarity, standardised over the frame's own cells; 0 in the padding.
    Source: arXiv:2305.03048, section 3.2. The release standardises at frame size and stretches the frame over the
        whole grid, padding included (persam.py:141-143 at a7e8724); ``release_guidance`` does so.
    """
    own = view.crop(maps)
    mean, deviation = own.mean(dim=(1, 2), keepdim=True), own.std(dim=(1, 2), keepdim=True)
    attention = torch.zeros_like(maps)
    attention[:, : own.shape[1], : own.shape[2]] = torch.sigmoid((own - mean) / deviation.clamp(min=1e-6))
    return Guidance(attention.flatten(1), embeddings)


def release_guidance(maps: Tensor, view: View, embeddings: Tensor) -> Guidance:
    """Make the guidance of the first decoding as the release does; arguments as in ``guidance_for``."""
    full = at_frame_size(maps, view)
    standard = (full - full.mean(dim=(1, 2), keepdim=True)) / full.std(dim=(1, 2), keepdim=True)
    stretched = F.interpolate(standard[None], maps.shape[-2:], mode="bilinear")[0]
    return Guidance(torch.sigmoid(stretched).flatten(1), embeddings)
