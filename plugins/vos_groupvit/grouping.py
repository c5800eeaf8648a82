"""GroupViT's segmentation rule: patches belong to groups, groups to phrases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TOP_PHRASES = 5
"""How many phrases an image shows: the likeliest for the whole image (group_vit_seg.py:201 at 506ba5f)."""


class Segmentation(NamedTuple):
    """The patch groups of a frame and their scores for each phrase.

    Attributes:
        groups: int64 (H, W), the group of each pixel.
        affinity: (G, P), how much each of G groups shows each of P phrases, in [0, 1].
    """

    groups: Tensor
    affinity: Tensor


def patch_groups(assignments: Sequence[Tensor]) -> Tensor:
    """Follow patches through the grouping stages.

    Args:
        assignments: one (G_s, G_(s-1)) matrix a stage, how much each group of the stage takes of each
            group (in the first stage: patch) of the stage before; columns sum to 1.
    Returns:
        (patches, G), how much each patch belongs to each group of the last stage; rows sum to 1.
    Source: arXiv:2202.11094, section 3.3; group_vit_seg.py:139-171 at 506ba5f.
    """
    belonging = assignments[0].T
    for assignment in assignments[1:]:
        belonging = belonging @ assignment.T
    return belonging


def group_map(belonging: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Assign each pixel to a group.

    Args:
        belonging: (patches, G), from ``patch_groups``, patches row by row.
        grid: (rows, columns) of patches.
        size: (H, W) wanted.
    Returns:
        int64 (H, W): the group that has most of the pixel, patches upsampled bilinearly.
    """
    planes = belonging.T.reshape(1, -1, *grid).float()
    return F.interpolate(planes, size=size, mode="bilinear", align_corners=False)[0].argmax(dim=0)


def group_affinity(groups: Tensor, image: Tensor, phrases: Tensor, scale: float, *, top: int, sure: int = 0) -> Tensor:
    """Compare groups with phrases, those that the whole image does not show left out.

    Args:
        groups: (G, D), unit length.
        image: (D,), the whole image, unit length.
        phrases: (P, D), unit length.
        scale: of the similarities before the softmax.
        top: how many phrases, the likeliest for the whole image, are in.
        sure: how many phrases, from the first on, are in whatever the whole image shows.
    Returns:
        (G, P) in [0, 1]: the softmax over the phrases that are in, times the softmax over all.
    Source: group_vit_seg.py:186-207 at 506ba5f, where ``sure`` is 0.
    """
    similarity = scale * groups @ phrases.T
    shown = torch.zeros(len(phrases), dtype=torch.bool, device=phrases.device)
    shown[(image @ phrases.T).topk(min(top, len(phrases))).indices] = True
    shown[:sure] = True
    return similarity.masked_fill(~shown, float("-inf")).softmax(dim=-1) * similarity.softmax(dim=-1)


def phrase_map(segmentation: Segmentation, wanted: int, threshold: float) -> Tensor:
    """Assign each pixel to a phrase or the background.

    Args:
        segmentation: groups and what they show.
        wanted: how many phrases, from the first on, are to be found; the others are background.
        threshold: groups that show no phrase more than this are background; never more than the best
            group shows, so that one group is left.
    Returns:
        int64 (H, W): 0 background, else the phrase's index + 1.
    Source: group_vit_seg.py:209-216 at 506ba5f.
    """
    best, phrase = segmentation.affinity.max(dim=-1)
    sure = best >= min(threshold, float(best.max()))
    ids = torch.where(sure & (phrase < wanted), phrase + 1, 0)
    return ids[segmentation.groups]
