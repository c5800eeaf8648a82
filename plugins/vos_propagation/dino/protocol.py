"""Label propagation on the features of a Vision Transformer, by the published protocol of DINO.

Source: Caron et al., arXiv:2104.14294; facebookresearch/dino ``eval_video_segmentation.py`` at 04c0ad9, lines 36-186.
The protocol has no learned decoder. Differences: it upsamples its label map by nearest neighbour, while the host here
resizes the logits; and it has one annotated frame, while this tracker takes later annotations, corrections and
``forget``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import Frame, LabelMap, Prediction, Runtime, Size, TrackerError, object_ids
from vos_propagation.dino.vit import ViT
from vos_propagation.memory.labels import add_rows, drop_row

SIDE = 480
"""Short side of the working size, pixels."""
MULTIPLE = 64
"""The long side is a multiple of this, pixels."""
CONTEXT = 7
"""Number of recent frames in memory beside the annotated ones."""
WINDOW = 12
"""A cell is compared with memory cells within this distance, cells in each direction."""
TOP_K = 5
"""Number of most similar memory cells that vote."""
TEMPERATURE = 0.1
"""Temperature of the softmax over the votes' similarities."""
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)
"""Normalisation of RGB values in [0, 1], as in the official code."""


@dataclass
class Anchor:
    """An annotated frame; it stays in memory for as long as one of its objects is tracked.

    Attributes:
        cells: (C, h, w), the frame's features.
        labels: float32 (K + 1, h, w), the annotation; sums to 0 where the label is unknown.
        object_ids: ids of the objects whose latest annotation this is.
    """

    cells: Tensor
    labels: Tensor
    object_ids: set[int]


class DinoTracker:
    """Propagates the labels of all objects at once by DINO's protocol; memory is bounded."""

    def __init__(self, vit: ViT, runtime: Runtime, details: Mapping[str, str] | None = None) -> None:
        self.details = dict(details or {})
        self._device = runtime.torch_device()
        self._dtype = runtime.torch_dtype("fp32")
        self._vit = vit
        self._vit.network.to(self._device, self._dtype)
        self._mean = torch.tensor(IMAGE_MEAN, device=self._device)[:, None, None]
        self._std = torch.tensor(IMAGE_STD, device=self._device)[:, None, None]
        self._reset()

    def _reset(self) -> None:
        self._ids: list[int] = []
        self._anchors: list[Anchor] = []
        self._recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=CONTEXT)
        self._last: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[Tensor]:
        """Extract unit-length patch features (C, h, w) of each frame, in the runtime's precision."""
        return [self._encode(frame) for frame in frames]

    def _encode(self, frame: Frame) -> Tensor:
        height, width = protocol_size(frame.size, self._vit.patch)
        image = torch.from_numpy(cv2.resize(frame.image, (width, height))).to(self._device)
        pixels = (image.permute(2, 0, 1).float() / 255 - self._mean) / self._std
        features = self._vit.features(pixels[None].to(self._dtype))
        if features.isnan().any():
            raise TrackerError(
                f"the backbone gives NaN for this image in {str(self._dtype).removeprefix('torch.')}. "
                "Try --precision fp32; if that gives NaN too, its weights are damaged."
            )
        return F.normalize(features.float(), dim=0).to(self._dtype)

    @torch.inference_mode()
    def start(self, frame: Frame, label_map: LabelMap, encoding: Tensor) -> None:
        """Start a new sequence, and drop the state of the one before."""
        self._reset()
        self._last = encoding, self._background(encoding)
        self._add_annotation(label_map)

    @torch.inference_mode()
    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add the label map's new ids as objects, and correct those already known."""
        self._add_annotation(label_map)

    @torch.inference_mode()
    def forget(self, object_id: int) -> None:
        """Stop tracking an object; its cells become background."""
        row = self._ids.index(object_id) + 1
        self._ids.remove(object_id)
        for anchor in self._anchors:
            anchor.object_ids.discard(object_id)
        self._anchors = [anchor for anchor in self._anchors if anchor.object_ids]
        self._relabel(lambda labels: drop_row(labels, row))

    @torch.inference_mode()
    def step(self, frame: Frame, encoding: Tensor) -> Prediction:
        """Segment the next frame."""
        assert self._last is not None, "the host calls start first"
        if not self._ids:
            self._last = encoding, self._background(encoding)
            return Prediction((), np.zeros((0, 1, 1), np.float32))
        context = [(anchor.cells, anchor.labels) for anchor in self._anchors] + list(self._recent)
        labels = propagate(encoding, context, WINDOW, TOP_K, TEMPERATURE)
        self._last = encoding, labels
        self._recent.append(self._last)
        large = F.interpolate(labels[None], scale_factor=self._vit.patch, mode="bilinear", align_corners=False)[0]
        low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
        scaled = torch.where(high > 0, (large - low) / (high - low).clamp_min(1e-12), large)
        top = scaled.topk(2, dim=0).values
        rival = torch.where(scaled == top[:1], top[1:], top[:1])
        return Prediction(self._ids, (scaled - rival)[1:].cpu().numpy())

    def _background(self, cells: Tensor) -> Tensor:
        """Make the labels of a frame without objects: float32 (1, h, w)."""
        return torch.ones(1, *cells.shape[1:], device=self._device)

    def _add_annotation(self, label_map: LabelMap) -> None:
        """Add an annotation of the last frame; objects that it does not contain keep their predicted labels."""
        assert self._last is not None, "the host calls start first"
        annotated = object_ids(label_map)
        new = [i for i in annotated if i not in self._ids]
        self._ids += new
        self._relabel(lambda labels: add_rows(labels, len(new)))
        cells, labels = self._last
        size_wh = (cells.shape[2], cells.shape[1])
        # INTER_NEAREST_EXACT reads the middle pixel of each cell, as Pillow does for the protocol; INTER_NEAREST reads
        # a corner.
        small = torch.from_numpy(cv2.resize(label_map, size_wh, interpolation=cv2.INTER_NEAREST_EXACT))
        small = small.to(self._device)
        rows = [self._ids.index(i) + 1 for i in annotated]
        labels = labels * (small == 0)
        for row, object_id in zip(rows, annotated, strict=True):
            labels[row] = small == object_id
        labels[0] = (1 - labels[1:].sum(0)).clamp_min(0)
        for anchor in self._anchors:
            anchor.object_ids -= set(annotated)
        self._anchors = [anchor for anchor in self._anchors if anchor.object_ids]
        for anchor in self._anchors:
            self._unlearn(anchor, cells, (small > 0).float(), rows)
        if annotated:
            self._anchors.append(Anchor(cells, labels, set(annotated)))
        self._last = cells, labels
        self._recent.clear()

    def _unlearn(self, anchor: Anchor, cells: Tensor, inside: Tensor, rows: list[int]) -> None:
        """Remove newly annotated objects from an earlier frame's labels, and 'background' where it looks like them."""
        anywhere = max(cells.shape[1:])
        similar = propagate(anchor.cells, [(cells, torch.stack([1 - inside, inside]))], anywhere, TOP_K, TEMPERATURE)
        anchor.labels = anchor.labels.clone()
        for row in rows:
            anchor.labels[row] = 0
        anchor.labels[0] *= similar[1] < 0.5

    def _relabel(self, change: Callable[[Tensor], Tensor]) -> None:
        """Apply a change of rows to the labels of all frames in memory."""
        for anchor in self._anchors:
            anchor.labels = change(anchor.labels)
        self._recent = deque(((cells, change(labels)) for cells, labels in self._recent), maxlen=CONTEXT)
        if self._last is not None:
            self._last = self._last[0], change(self._last[1])


def propagate(
    query: Tensor, context: Sequence[tuple[Tensor, Tensor]], window: int, top_k: int, temperature: float
) -> Tensor:
    """Propagate labels from the most similar cells of all context frames within a window, one row of cells at a time.

    Args:
        query: (C, h, w), unit length over C.
        context: T pairs of features (C, h, w), as the query, and labels float32 (V, h, w); a cell whose labels are all
            0 does not vote.
        window: radius of the window, cells in each direction.
        top_k: number of cells that vote; cells as similar as the last of them vote too.
        temperature: temperature of the softmax over the votes' similarities.
    Returns:
        float32 (V, h, w); 0 where no cell votes.
    """
    height, width = query.shape[1:]
    column = torch.arange(width, device=query.device)
    far = (column[:, None] - column).abs() > window
    rows = []
    for y in range(height):
        near = slice(max(0, y - window), y + window + 1)
        parts = [query[:, y].T @ cells[:, near].flatten(1) for cells, _ in context]
        similarity = torch.cat(parts, dim=1).float().view(width, -1, width)
        similarity = similarity.masked_fill_(far[:, None], -torch.inf).flatten(1)
        values = torch.cat([labels[:, near].flatten(1) for _, labels in context], dim=1)
        similarity = similarity.masked_fill_(values.sum(0) == 0, -torch.inf)
        least = similarity.topk(min(top_k, similarity.shape[1]), dim=1).values[:, -1:]
        weight = torch.softmax(similarity.masked_fill_(similarity < least, -torch.inf) / temperature, dim=1)
        rows.append(values @ weight.T)
    return torch.stack(rows, dim=1).nan_to_num(0)


def protocol_size(size: Size, patch: int) -> Size:
    """Return the protocol's working size.

    Args:
        size: (H, W) of the frame.
        patch: side of the transformer's patches, pixels.
    Returns:
        (H, W): short side 480, long side a multiple of 64; both cut to whole patches.
    """
    height, width = size
    if height > width:
        long, short = SIDE * height / width, SIDE
        height, width = int(long // MULTIPLE * MULTIPLE), short
    else:
        long = SIDE * width / height
        height, width = SIDE, int(long // MULTIPLE * MULTIPLE)
    return height // patch * patch, width // patch * patch
