"""DiffSeg from attention maps to segments: aggregation, merging, refinement, suppression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vos.plugin import OptionError
from vos_diffseg.aggregation import aggregate
from vos_diffseg.kmeans import cluster_means, kmeans, spread_centres
from vos_diffseg.merging import merge
from vos_diffseg.options import DiffSegOptions
from vos_diffseg.suppression import suppress


def segment(attentions: Sequence[Tensor], size: tuple[int, int], options: DiffSegOptions, seed: int = 0) -> Tensor:
    """Turn self-attention into a segmentation.

    Args:
        attentions: one tensor a resolution, the finest first; as in ``aggregate``.
        size: (H, W) of the result, pixels; the attention's square view is stretched over it.
        options: the method's settings.
        seed: seed of K-means' starting centres, used if ``options.clusters`` is set.
    Returns:
        int64 (H, W), on the attentions' device: segment indices from 0.
    Raises:
        OptionError: ``options.weights`` are not as many as the model's resolutions.
        EmptyMaskError: as in ``merge``.
    """
    weights = options.resolution_weights()
    if weights is not None and len(weights) != len(attentions):
        raise OptionError(
            f'weights is "{options.weights}", for {len(weights)} resolutions; this model has attention of '
            f"{len(attentions)}. Leave it at weights=resolution."
        )
    maps = aggregate(attentions, weights)
    if options.clusters:
        centres = spread_centres(maps, min(options.clusters, len(maps)), torch.Generator().manual_seed(seed))
        proposals = _refined(maps, centres)
    else:
        thresholds = [options.threshold] * options.iterations
        proposals = merge(maps, options.points, thresholds, half_precision=options.half_precision_merge)
        if options.refine:
            proposals = _refined(maps, proposals)
    return suppress(proposals, size)


def _refined(maps: Tensor, centres: Tensor) -> Tensor:
    """The mean map of each cluster that K-means finds from ``centres``; empty ones drop out."""
    labels = kmeans(maps, centres)
    return cluster_means(maps, labels, centres)[torch.bincount(labels, minlength=len(centres)) > 0]
