"""MobileSAM's image encoder: TinyViT-5M with the last downsampling left out, so that its grid is 64 x 64.

Written from the paper (TinyViT, arXiv:2207.10666; MobileSAM, arXiv:2306.14289) and the published checkpoint's
layout (mobile_sam/modeling/tiny_vit_sam.py, build_sam.py:47-61 at d6c9073); names and shapes are those of the
checkpoint, so that loading is strict.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
CLASSES = 1000


class TinyViT(nn.Module):
    """An image encoder with the interface of Segment Anything's.

    Attributes:
        img_size: side of the square input, pixels; the embedding's grid is a sixteenth of it.
    """

    def __init__(self, img_size: int = 1024, out_chans: int = 256) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_embed = _PatchEmbed(WIDTHS[0])
        self.layers = nn.ModuleList(_Stage(stage) for stage in range(len(WIDTHS)))
        # The checkpoint carries the classifier that TinyViT was distilled with; no mask depends on it.
        self.norm_head = nn.LayerNorm(WIDTHS[-1])
        self.head = nn.Linear(WIDTHS[-1], CLASSES)
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], out_chans, 1, bias=False),
            LayerNorm2d(out_chans),
            nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False),
            LayerNorm2d(out_chans),
        )

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, 3, S, S) to (B, C, S / 16, S / 16)."""
        x = self.patch_embed(images)
        for stage in self.layers:
            x = stage(x)
        embedding: Tensor = self.neck(x)
        return embedding


def for_inference(encoder: TinyViT) -> TinyViT:
    """Copy an encoder with each batch norm folded into its convolution, and channels last in memory.

    The output is the same but for rounding.
    """
    copied = copy.deepcopy(encoder).eval()
    for module in list(copied.modules()):
        for name, child in module.named_children():
            parts: Any = child
            if isinstance(child, nn.Sequential) and hasattr(child, "bn"):
                setattr(module, name, fuse_conv_bn_eval(parts.c, parts.bn))
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
    return copied.to(memory_format=torch.channels_last)


def _conv_norm(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(c=convolution, bn=nn.BatchNorm2d(outputs)))


class _PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(_conv_norm(3, width // 2, 3, 2, 1), nn.GELU(), _conv_norm(width // 2, width, 3, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.seq(x)
        return result


class _Stage(nn.Module):
    """Blocks of one width, then a merge of patches into the next width (the last stage has none)."""

    def __init__(self, stage: int) -> None:
        super().__init__()
        width, depth = WIDTHS[stage], DEPTHS[stage]
        self.blocks = nn.ModuleList(
            _MobileBlock(width) if stage == 0 else _WindowBlock(width, HEADS[stage], WINDOWS[stage])
            for _ in range(depth)
        )
        self.downsample = _Merge(width, WIDTHS[stage + 1], 1 if stage == 2 else 2) if stage < len(WIDTHS) - 1 else None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class _MobileBlock(nn.Module):
    """Inverted bottleneck with expansion 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _conv_norm(width, 4 * width)
        self.conv2 = _conv_norm(4 * width, 4 * width, 3, 1, 1, groups=4 * width)
        self.conv3 = _conv_norm(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class _Merge(nn.Module):
    def __init__(self, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv_norm(width, outputs)
        self.conv2 = _conv_norm(outputs, outputs, 3, stride, 1, groups=outputs)
        self.conv3 = _conv_norm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return result


class _WindowBlock(nn.Module):
    """Window attention, a depthwise convolution, an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _WindowAttention(width, heads, window)
        self.mlp = _Mlp(width)
        self.local_conv = _conv_norm(width, width, 3, 1, 1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.local_conv(self.attend(x)))

    def attend(self, x: Tensor) -> Tensor:
        """Add each window's attention: (B, C, h, w) in and out."""
        # Tokens in rows: where the memory format is channels_last, both permutations are views.
        tokens = x.permute(0, 2, 3, 1)
        batch, height, width, channels = tokens.shape
        size = self.window
        down, across = math.ceil(height / size), math.ceil(width / size)
        # Cells that pad the last windows are zeros and take part in attention, as in training.
        padded = F.pad(tokens, (0, 0, 0, across * size - width, 0, down * size - height))
        windows = padded.reshape(batch, down, size, across, size, channels).transpose(2, 3)
        attended = self.attn(windows.reshape(-1, size * size, channels))
        attended = attended.view(batch, down, across, size, size, channels).transpose(2, 3)
        attended = attended.reshape(batch, down * size, across * size, channels)[:, :height, :width]
        summed: Tensor = (tokens + attended).permute(0, 3, 1, 2)
        return summed

    def mix(self, x: Tensor) -> Tensor:
        """Add the MLP of each cell: (B, C, h, w) in and out."""
        tokens = x.permute(0, 2, 3, 1)
        mixed: Tensor = (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)
        return mixed


class _WindowAttention(nn.Module):
    """Attention within a window; a learnt bias for each distance (rows apart, columns apart)."""

    bias_index: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        # First-come numbering of distances over pairs of cells in row order is the row-major order of distances.
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        cells = torch.arange(window * window)
        rows, columns = cells // window, cells % window
        index = (rows[:, None] - rows).abs() * window + (columns[:, None] - columns).abs()
        self.register_buffer("bias_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x)).view(*x.shape[:2], self.heads, 3, -1)
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(3))
        bias = self.attention_biases[:, self.bias_index].to(query.dtype)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        result: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return result


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return result
