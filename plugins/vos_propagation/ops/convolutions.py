"""Convolutions with a batch norm and a ReLU, and batch norms folded into them for inference."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def convolution(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Make a convolution that keeps the size, a batch norm and a ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def fold_all_batch_norms(network: nn.Module) -> None:
    """Make the batch norms of all parts, in evaluation mode and float32, part of their convolutions, in place.

    A batch norm follows its convolution, or comes before a 1x1 convolution that may have one of its own.
    """
    parts = [part for part in network.modules() if isinstance(part, nn.Sequential)]
    for part in parts:
        first, norm = part[0], part[1]
        if isinstance(first, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            part[0], part[1] = fuse_conv_bn_eval(first, norm), nn.Identity()
    for part in parts:
        norm, following = part[0], part[1]
        if isinstance(norm, nn.BatchNorm2d):
            _fold_before(norm, following[0] if isinstance(following, nn.Sequential) else following)
            part[0] = nn.Identity()


def _fold_before(norm: nn.BatchNorm2d, following: nn.Module) -> None:
    """Fold a batch norm into the 1x1 convolution after it, in place; there is no padding that would meet its shift."""
    assert isinstance(following, nn.Conv2d)
    assert following.kernel_size == (1, 1)
    assert following.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    following.bias.data += following.weight.data[:, :, 0, 0] @ shift
    following.weight.data *= scale[None, :, None, None]
