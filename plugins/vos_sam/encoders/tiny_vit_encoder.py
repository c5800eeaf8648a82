"""MobileSAM's image encoder for processors: in strips that stay in the cache, and without work on the padding.

TinyViT has no position embedding and no global attention. In its first two stages a cell that lies farther from the
frame than the layers reach has the value that it has in an image of zeros, so that value is computed once. The output
equals ``TinyViT.forward``'s but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import Size
from vos_sam.tiny_vit import TinyViT, for_inference

ROWS_PER_STRIP = 16
"""Rows of the first stage's output in a strip: its widest activation is then 10 MB; whole it is 67 MB."""
CELLS_PER_CHUNK = 2048
"""Cells of a window block that pass together; a chunk holds whole windows."""


@dataclass(frozen=True)
class _Strip:
    """Some rows of an activation, or some columns.

    Attributes:
        values: (B, C, h, w).
        axis: 2 for rows, 3 for columns.
        first: index of the first one in the whole activation.
        size: how many the whole activation has.
    """

    values: Tensor
    axis: int
    first: int
    size: int

    @property
    def end(self) -> int:
        """One past the index of the last one."""
        return self.first + self.values.shape[self.axis]

    def part(self, first: int, end: int) -> Tensor:
        """Values from one index of the whole activation to another."""
        return self.values.narrow(self.axis, first - self.first, end - first)


class TinyVitEncoder:
    """Runs a ``TinyViT`` with its own weights; any thread may call it."""

    def __init__(self, encoder: TinyViT) -> None:
        """Prepare the weights.

        Args:
            encoder: in eval mode, on the CPU.
        """
        self._model: Any = for_inference(encoder)
        self._blank: list[Tensor] | None = None

    def __call__(self, images: Tensor, size: Size) -> Tensor:
        """Encode images.

        Args:
            images: float32 (B, 3, S, S), normalised and padded with zeros.
            size: (H, W) that holds what is not padding; one of the two is S.
        Returns:
            (B, C, S / 16, S / 16).
        """
        images = images.to(memory_format=torch.channels_last)
        side = images.shape[-1]
        axis = 2 if size[1] == side else 3
        x = self._first_stages(images, axis, size[axis - 2])[-1]
        _, _, third, fourth = self._model.layers
        for block in third.blocks:
            x, _ = _window_block(block, x, 2, x.shape[2])
        x = third.downsample(x)
        for block in fourth.blocks:
            x, _ = _window_block(block, x, 2, x.shape[2])
        features: Tensor = self._model.neck(x)
        return features

    def _first_stages(self, images: Tensor, axis: int, reach: int) -> list[Tensor]:
        """Run the layers up to the second merge: the output of each step.

        Args:
            images: (B, 3, S, S).
            axis: 2 or 3.
            reach: rows (or columns) from here on are zeros.
        """
        blank: list[Tensor | None] = [None] * 4
        if reach < images.shape[axis]:
            if self._blank is None:
                self._blank = self._first_stages(torch.zeros_like(images[:1]), 2, images.shape[2])
            blank = list(self._blank)
        second = self._model.layers[1]
        x, reach = self._first_stage(images, axis, reach, blank[0])
        outputs = [x]
        for block, unchanged in zip(second.blocks, blank[1:3], strict=True):
            x, reach = _window_block(block, x, axis, reach, unchanged)
            outputs.append(x)
        size = x.shape[axis]
        end = min((reach + 2) // 2, size // 2)
        merged = _merge(second.downsample, _Strip(x.narrow(axis, 0, min(2 * end, size)), axis, 0, size))
        return [*outputs, _join([merged.part(0, end)], axis, blank[3])]

    def _first_stage(self, images: Tensor, axis: int, reach: int, blank: Tensor | None) -> tuple[Tensor, int]:
        """Run the patch embedding and the first stage: (B, C, S / 8, S / 8), and how far it depends on the frame."""
        side = images.shape[axis]
        first, activation, second = self._model.patch_embed.seq
        stage = self._model.layers[0]
        reach = min((reach + 22) // 8, side // 8)
        parts = []
        for begin in range(0, reach, ROWS_PER_STRIP):
            end = min(begin + ROWS_PER_STRIP, reach)
            # Row r depends on the rows of the image from 8r - 15 to 8r + 15.
            top, bottom = max(8 * begin - 15, 0), min(8 * end + 8, side)
            strip = _Strip(images.narrow(axis, top, bottom - top), axis, top, side)
            strip = _convolve(first, strip)
            strip = _convolve(second, _Strip(activation(strip.values), axis, strip.first, strip.size))
            for block in stage.blocks:
                strip = _mobile_block(block, strip)
            parts.append(_merge(stage.downsample, strip).part(begin, end))
        return _join(parts, axis, blank), reach


def _join(parts: list[Tensor], axis: int, blank: Tensor | None) -> Tensor:
    """Put strips side by side, and behind them what is the same for every frame."""
    held = sum(part.shape[axis] for part in parts)
    if blank is not None:
        rest = blank.narrow(axis, held, blank.shape[axis] - held)
        parts = [*parts, rest.expand(len(parts[0]), -1, -1, -1)]
    return torch.cat(parts, dim=axis).contiguous(memory_format=torch.channels_last)


def _convolve(convolution: Any, strip: _Strip) -> _Strip:
    """Run a 3 x 3 convolution with padding 1: the rows whose neighbours are all in the strip."""
    axis, stride = strip.axis, convolution.stride[0]
    size = (strip.size - 1) // stride + 1
    begin = 0 if strip.first == 0 else -(-(strip.first + 1) // stride)
    end = size if strip.end == strip.size else (strip.end - 2) // stride + 1
    first, last = stride * begin - 1, stride * (end - 1) + 2
    values = strip.part(max(first, 0), min(last, strip.size))
    beyond = (max(-first, 0), max(last - strip.size, 0))
    if any(beyond):
        values = F.pad(values, (0, 0, *beyond) if axis == 2 else beyond)
    padding = (0, 1) if axis == 2 else (1, 0)
    values = F.conv2d(
        values, convolution.weight, convolution.bias, convolution.stride, padding, groups=convolution.groups
    )
    return _Strip(values, axis, begin, size)


def _mobile_block(block: Any, strip: _Strip) -> _Strip:
    """Run a block of the first stage."""
    hidden = _convolve(block.conv2, _Strip(F.gelu(block.conv1(strip.values)), strip.axis, strip.first, strip.size))
    values = block.conv3(F.gelu(hidden.values)) + strip.part(hidden.first, hidden.end)
    return _Strip(F.gelu(values), strip.axis, hidden.first, hidden.size)


def _merge(merge: Any, strip: _Strip) -> _Strip:
    """Run the merge of patches into the next stage."""
    wide = _Strip(F.gelu(merge.conv1(strip.values)), strip.axis, strip.first, strip.size)
    small = _convolve(merge.conv2, wide)
    return _Strip(merge.conv3(F.gelu(small.values)), small.axis, small.first, small.size)


def _window_block(block: Any, x: Tensor, axis: int, reach: int, blank: Tensor | None = None) -> tuple[Tensor, int]:
    """Run a window block in chunks of whole windows.

    Args:
        block: a block of a stage after the first.
        x: (B, C, h, w).
        axis: 2 or 3, along which ``x`` is cut.
        reach: rows (or columns) from here on do not depend on the frame.
        blank: (1, C, h, w), the output for an image of zeros; None if ``reach`` is the size.
    Returns:
        The output, and how far that depends on the frame.
    """
    size, window = x.shape[axis], block.window
    reach = min(-(-reach // window) * window + 1, size)
    attended_end = min(-(-(reach + 1) // window) * window, size)
    step = max(CELLS_PER_CHUNK // (x.shape[0] * x.shape[5 - axis]) // window, 1) * window
    chunks = [(first, min(first + step, attended_end)) for first in range(0, attended_end, step)]
    attended = torch.cat([block.attend(x.narrow(axis, first, end - first)) for first, end in chunks], dim=axis)
    parts = []
    for first, end in chunks:
        if first < reach:
            above, below = max(first - 1, 0), min(end + 1, attended_end)
            strip = _convolve(block.local_conv, _Strip(attended.narrow(axis, above, below - above), axis, above, size))
            parts.append(block.mix(strip.part(first, min(end, reach))))
    return _join(parts, axis, blank), reach
