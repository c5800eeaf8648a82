"""Label propagation on the features of a Vision Transformer, by the published protocol of DINO.

480 px on the short side, the annotated frame and the last 7, a window of 12 cells, the 5 most similar
cells of all of them, temperature 0.1; no learned head. Source: Caron et al., arXiv:2104.14294;
facebookresearch/dino ``eval_video_segmentation.py`` at 04c0ad9, lines 36-186. Where it writes its label
map at the working size and enlarges it by nearest neighbour, the host here resizes the logits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos import ExtraMissingError, Frame, LabelMap, OptionError, Prediction, Runtime, Size, object_ids

SIDE, MULTIPLE = 480, 64
CONTEXT, WINDOW, VOTERS, TEMPERATURE = 7, 12, 5, 0.1
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)


class DinoTracker:
    """Any transformers ViT from a local folder, with DINO's protocol; objects are those of the first frame."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        self._device = runtime.torch_device()
        self._dtype = runtime.torch_dtype("fp32")
        self._model = load_vit(folder).to(device=self._device, dtype=self._dtype)
        self._patch = int(self._model.config.patch_size)
        self._reset()

    def _reset(self) -> None:
        self._ids: tuple[int, ...] = ()
        self._first: tuple[Tensor, Tensor] | None = None
        self._recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=CONTEXT)

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[Tensor]:
        """Extract unit-length patch features (C, h, w) of each frame."""
        return [self._encode(frame) for frame in frames]

    def _encode(self, frame: Frame) -> Tensor:
        height, width = protocol_size(frame.size, self._patch)
        pixels = cv2.resize(frame.image, (width, height)).astype(np.float32) / 255
        pixels = (pixels - np.array(IMAGE_MEAN, np.float32)) / np.array(IMAGE_STD, np.float32)
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self._device, self._dtype)
        more = {"interpolate_pos_encoding": True} if self._model.config.model_type == "vit" else {}
        tokens = self._model(pixel_values=batch, **more).last_hidden_state[0]
        grid = height // self._patch, width // self._patch
        patches = tokens[-grid[0] * grid[1] :].float()
        return F.normalize(patches, dim=1).T.reshape(-1, *grid)

    @torch.inference_mode()
    def start(self, frame: Frame, label_map: LabelMap, encoding: Tensor) -> None:
        """Begin a new sequence; everything before it is forgotten."""
        self._reset()
        self._ids = object_ids(label_map)
        height, width = encoding.shape[1:]
        small = cv2.resize(label_map, (width, height), interpolation=cv2.INTER_NEAREST)
        planes = np.stack([small == 0, *(small == i for i in self._ids)]).astype(np.float32)
        self._first = (encoding, torch.from_numpy(planes).to(self._device))

    @torch.inference_mode()
    def step(self, frame: Frame, encoding: Tensor) -> Prediction:
        """Segment the next frame."""
        assert self._first is not None, "the host starts before it steps"
        labels = propagate(encoding, [self._first, *self._recent], WINDOW, VOTERS, TEMPERATURE)
        self._recent.append((encoding, labels))
        large = F.interpolate(labels[None], scale_factor=self._patch, mode="bilinear", align_corners=False)[0]
        low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
        scaled = torch.where(high > 0, (large - low) / (high - low).clamp_min(1e-12), large)
        top = scaled.topk(2, dim=0).values
        rival = torch.where(scaled == top[:1], top[1:], top[:1])
        return Prediction(self._ids, (scaled - rival)[1:].cpu().numpy())


def propagate(
    query: Tensor, context: Sequence[tuple[Tensor, Tensor]], window: int, voters: int, temperature: float
) -> Tensor:
    """Let the most similar cells of all context frames within a window vote, a row of cells at a time.

    Args:
        query: float32 (C, h, w), unit length over C.
        context: T pairs of features (C, h, w) and labels (V, h, w).
        window: it reaches this many cells up, down, left and right.
        voters: how many cells vote.
        temperature: of the votes' softmax.
    Returns:
        float32 (V, h, w).
    """
    height, width = query.shape[1:]
    keys = torch.stack([cells for cells, _ in context])
    values = torch.stack([labels for _, labels in context])
    column = torch.arange(width, device=query.device)
    far = (column[:, None] - column).abs() > window
    rows = []
    for y in range(height):
        near = slice(max(0, y - window), y + window + 1)
        part = keys[:, :, near]
        similarity = torch.einsum("cx,tcyu->xtyu", query[:, y], part)
        similarity = similarity.masked_fill(far[:, None, None, :], -torch.inf).flatten(1)
        top, index = similarity.topk(min(voters, similarity.shape[1]), dim=1)
        weight = torch.softmax(top / temperature, dim=1)
        labels = values[:, :, near].transpose(0, 1).flatten(1)[:, index]
        rows.append((labels * weight).sum(-1))
    return torch.stack(rows, dim=1)


def protocol_size(size: Size, patch: int) -> Size:
    """Give the protocol's working size.

    Args:
        size: (H, W) of the frame.
        patch: of the transformer, pixels.
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


def load_vit(folder: Path) -> Any:
    """Read a transformers Vision Transformer (ViT, DINO, DINOv2, DINOv3) from a local folder.

    Args:
        folder: with ``config.json`` and weights.
    Returns:
        The model in evaluation mode, float32, on the CPU.
    Raises:
        OptionError: there is no such model.
        ExtraMissingError: transformers is not installed.
    """
    if not (folder / "config.json").is_file():
        raise OptionError(
            f'backbone "{folder}": no config.json there. Give "efficientnet-lite0" or the folder of a transformers ViT.'
        )
    try:
        from transformers import AutoModel
    except ImportError:
        raise ExtraMissingError('a ViT backbone needs transformers. Install it: pip install "vos[groupvit]"') from None
    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise OptionError(f'backbone "{folder}": cannot be read ({str(error).splitlines()[0]}).') from None
    if not hasattr(model.config, "patch_size"):
        raise OptionError(f'backbone "{folder}": is a {model.config.model_type}, expected a Vision Transformer.')
    return model.eval().requires_grad_(False)
