"""The tracker: features of each frame once, votes for all objects together, a bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos import Frame, LabelMap, Prediction, Runtime, Size, object_ids
from vos_propagation.efficientnet_lite import load_efficientnet_lite0
from vos_propagation.matching import local_votes
from vos_propagation.options import PropagationOptions

CELL = 8
MULTIPLE = 16
RADIUS = 15


@dataclass(frozen=True)
class FrameFeatures:
    """What the tracker keeps of a frame's image.

    Attributes:
        cells: unit-length features (C, h, w) at 8 px a cell of the working size.
    """

    cells: Tensor


class PropagationTracker:
    """Propagates labels by feature matching; see the package's docstring."""

    encode_batch = 1

    def __init__(self, options: PropagationOptions, runtime: Runtime) -> None:
        self._device = runtime.torch_device()
        self._dtype = runtime.torch_dtype("bf16" if _has_fast_bf16(self._device) else "fp32")
        self._options = options
        self._network = load_efficientnet_lite0().to(
            device=self._device, dtype=self._dtype, memory_format=torch.channels_last
        )
        self._forget_all()

    def _forget_all(self) -> None:
        self._ids: tuple[int, ...] = ()
        self._anchor: dict[int, tuple[FrameFeatures, Tensor]] = {}
        self._recent: deque[tuple[FrameFeatures, Tensor]] = deque(maxlen=self._options.context)
        self._last: FrameFeatures | None = None

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[FrameFeatures]:
        """Extract the frames' features."""
        return [self._encode(frame) for frame in frames]

    def _encode(self, frame: Frame) -> FrameFeatures:
        size = working_size(frame.size, self._options.side)
        image = cv2.resize(frame.image, size[::-1], interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None]
        features = self._network(pixels.to(self._dtype))
        deep = F.interpolate(features[16].float(), scale_factor=2, mode="bilinear", align_corners=False)
        cells = torch.cat([F.normalize(features[8].float(), dim=1), F.normalize(deep, dim=1)], dim=1)
        return FrameFeatures(F.normalize(cells, dim=1)[0].to(self._dtype))

    @torch.inference_mode()
    def start(self, frame: Frame, label_map: LabelMap, encoding: FrameFeatures) -> None:
        """Begin a new sequence; everything before it is forgotten."""
        self._forget_all()
        self._last = encoding
        self._annotate(encoding, label_map)

    @torch.inference_mode()
    def step(self, frame: Frame, encoding: FrameFeatures) -> Prediction:
        """Segment the next frame."""
        context = [*self._anchor.values(), *self._recent]
        keys = torch.stack([features.cells for features, _ in context])
        values = torch.stack([labels for _, labels in context])
        votes = local_votes(encoding.cells, keys, values, RADIUS)
        self._recent.append((encoding, _one_hot(votes)))
        self._last = encoding
        rival = torch.stack([torch.cat([votes[:k], votes[k + 1 :]]).amax(0) for k in range(len(votes))])
        margin = (votes - rival)[1:]
        logits = F.interpolate(margin[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
        return Prediction(self._ids, logits.float().cpu().numpy())

    @torch.inference_mode()
    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add the label map's new ids as objects, and correct those already known."""
        assert self._last is not None, "the host starts before it annotates"
        self._annotate(self._last, label_map)

    def forget(self, object_id: int) -> None:
        """Stop tracking an object."""
        row = self._ids.index(object_id) + 1
        self._ids = tuple(i for i in self._ids if i != object_id)
        self._anchor.pop(object_id, None)
        drop = _drop_row(row)
        self._anchor = {i: (features, drop(labels)) for i, (features, labels) in self._anchor.items()}
        self._recent = deque(((f, drop(labels)) for f, labels in self._recent), maxlen=self._recent.maxlen)

    def _annotate(self, encoding: FrameFeatures, label_map: LabelMap) -> None:
        given = object_ids(label_map)
        new = [i for i in given if i not in self._ids]
        self._ids = (*self._ids, *new)
        grow = len(new)
        if grow:
            pad = lambda labels: torch.cat([labels, labels.new_zeros(grow, *labels.shape[1:])])  # noqa: E731
            self._anchor = {i: (features, pad(labels)) for i, (features, labels) in self._anchor.items()}
            self._recent = deque(((f, pad(labels)) for f, labels in self._recent), maxlen=self._recent.maxlen)
        height, width = encoding.cells.shape[1:]
        planes = np.stack([label_map == 0, *(label_map == i for i in self._ids)]).astype(np.float32)
        if self._recent and self._recent[-1][0] is encoding:
            _, before = self._recent.pop()
        else:
            before = None
        labels = F.interpolate(torch.from_numpy(planes)[None], (height, width), mode="area")[0].to(self._device)
        if before is not None:
            known = labels[1:].sum(0, keepdim=True)
            kept = before * (1 - known)
            kept[1:][[i in given for i in self._ids]] = 0
            labels[0] = 0
            labels += kept
            labels[0] += 1 - labels.sum(0)
        for object_id in given:
            self._anchor[object_id] = (encoding, labels)
        self._recent.append((encoding, labels))


def working_size(size: Size, side: int) -> Size:
    """Give the size that a frame is worked on at: short side at most ``side``, multiples of 16.

    Args:
        size: (H, W) of the frame.
        side: the short side wanted, pixels.
    Returns:
        (H, W), at least 16 each.
    """
    scale = min(1.0, side / min(size))
    height, width = (max(MULTIPLE, round(length * scale / MULTIPLE) * MULTIPLE) for length in size)
    return height, width


def _one_hot(votes: Tensor) -> Tensor:
    return votes / votes.sum(0, keepdim=True).clamp_min(1e-6)


def _drop_row(row: int):  # type: ignore[no-untyped-def]
    def drop(labels: Tensor) -> Tensor:
        kept = torch.cat([labels[:row], labels[row + 1 :]])
        kept[0] += labels[row]
        return kept

    return drop


def _has_fast_bf16(device: torch.device) -> bool:
    return device.type == "cpu" and "avx512_bf16" in _cpu_flags()


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:  # noqa: PTH123
            return next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return ""
