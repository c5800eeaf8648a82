"""EfficientNet-Lite0 with 8-bit integer convolutions: about half of float32's time on an x86 CPU.

Post-training quantization as in Jacob et al., arXiv:1712.05877: activations are unsigned, with one scale a tensor;
weights are signed, with one scale an output channel. The sums of the residual connections and the levels are float32.
``training/quantize_backbone.py`` chooses weights, biases and scales.

Instructions of AVX2 add two products of an activation and a weight into 16 bits. With activations of 7 bits the sum
cannot overflow, so results are exact integers, the same on all CPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from vos.plugin import WeightsError
from vos_propagation.backbone.efficientnet_lite import ENDS, STEM_CHANNELS, SameConv, block_forms

WEIGHTS = Path(__file__).parent / "lite0_int8.pt"
# Pixels are 8 bits; other activations are 7 bits.
PIXEL_ZERO, PIXEL_STEP = 127, 1 / 128
LARGEST = 127
# The activations of ReLU6 lie in 0..6.
HIDDEN_STEP = 6 / LARGEST
# Channels of the residual stream are scaled and shifted to lie around this.
STREAM_ZERO = 64


class Int8Conv(nn.Module):
    """A convolution of uint8 activations with int8 weights.

    Attributes:
        weight: int8 (outputs, inputs / groups, kernel, kernel).
        weight_scale: float32 (outputs,).
        bias: float32 (outputs,).
    """

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor

    def __init__(self, like: SameConv, *, zero: int, step: float, limit: float | None) -> None:
        """Make a convolution with the form of a float one, and without its weights.

        Args:
            like: the float convolution.
            zero: the input that stands for 0.
            step: the value of an input of ``zero`` + 1.
            limit: outputs are clamped to 0..limit and become uint8, the limit 127; None leaves them float32.
        """
        super().__init__()
        self.register_buffer("weight", torch.zeros(like.weight.shape, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(len(like.weight), dtype=torch.float32))
        self.register_buffer("bias", torch.zeros(len(like.weight), dtype=torch.float32))
        self.zero, self.step, self.limit = zero, step, limit
        self._form = [list(like.stride), list(like.padding), [1, 1], like.groups]
        self._zero_points = torch.zeros(len(like.weight), dtype=torch.int32)
        self._packed: tuple[torch.Size, Tensor] | None = None

    def set_weights(self, weight: Tensor, weight_scale: Tensor, bias: Tensor) -> None:
        """Take over weights, their scales and the bias."""
        self.weight, self.weight_scale, self.bias = weight, weight_scale, bias
        self._packed = None

    def forward(self, x: Tensor) -> Tensor:
        """Map uint8 (B, inputs, H, W), channels last, to uint8 or float32 (B, outputs, H / stride, W / stride)."""
        if self.limit is None:
            return self._convolve(x, 1.0, torch.float32, "none", [])
        return self._convolve(x, self.limit / LARGEST, torch.uint8, "hardtanh", [0.0, self.limit])

    def _convolve(self, x: Tensor, step: float, dtype: torch.dtype, activation: str, bounds: list[float]) -> Tensor:
        ops, weights = torch.ops.onednn, (self._packed_for(x.shape), self.weight_scale, self._zero_points, self.bias)
        out: Tensor = ops.qconv2d_pointwise(
            x, self.step, self.zero, *weights, *self._form, step, 0, dtype, activation, bounds, ""
        )
        return out

    def _packed_for(self, shape: torch.Size) -> Tensor:
        """Return the weights in the layout for inputs of a shape; in another one each call would reorder them."""
        # Read once: other threads may pack for another shape meanwhile.
        packed = self._packed
        if packed is None or packed[0] != shape:
            form = (self.weight_scale, self.step, self.zero, *self._form, list(shape))
            packed = self._packed = (shape, torch.ops.onednn.qconv_prepack(self.weight, *form))
        return packed[1]


class Int8Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise k x k, project 1x1.

    Attributes:
        scale: float32 (1, inputs, 1, 1), quantizes the residual stream that enters; unused in the first two blocks.
        offset: float32 (1, inputs, 1, 1), added after scaling.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, inputs: int, expansion: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        wide = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.expand = None
        if expansion > 1:
            self.expand = Int8Conv(SameConv(inputs, hidden, 1), zero=STREAM_ZERO, step=1.0, limit=6.0)
        self.depthwise = Int8Conv(wide, zero=0, step=HIDDEN_STEP, limit=6.0)
        # The first block's outputs are no level, and many: they are quantized at once.
        limit = None if self.expand else float(LARGEST)
        self.project = Int8Conv(SameConv(hidden, outputs, 1), zero=0, step=HIDDEN_STEP, limit=limit)
        self.residual = stride == 1 and inputs == outputs
        self.register_buffer("scale", torch.ones(1, inputs, 1, 1, dtype=torch.float32))
        self.register_buffer("offset", torch.zeros(1, inputs, 1, 1, dtype=torch.float32))

    def quantize(self, x: Tensor) -> Tensor:
        """Quantize the residual stream, float32, to the expansion's inputs, uint8; after the first block it is that."""
        if x.dtype == torch.uint8:
            return x
        quantized = (x * self.scale).add_(self.offset).round_().clamp_(0, LARGEST)
        # Torch converts float32 to uint8 one by one; by way of int32 it takes a third of the time.
        return quantized.to(torch.int32).to(torch.uint8)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride), float32 but around the first block."""
        hidden = x if self.expand is None else self.expand(self.quantize(x))
        out: Tensor = self.project(self.depthwise(hidden))
        return out.add_(x) if self.residual else out


class Int8EfficientNetLite(nn.Module):
    """The network of ``EfficientNetLite``, for the CPU."""

    def __init__(self) -> None:
        super().__init__()
        stem = SameConv(3, STEM_CHANNELS, 3, 2)
        self.stem = Int8Conv(stem, zero=PIXEL_ZERO, step=PIXEL_STEP, limit=6.0)
        self.blocks = nn.ModuleList(Int8Block(*form) for form in block_forms())

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Extract features.

        Args:
            images: uint8 (B, 3, H, W), RGB; H and W multiples of 32.
        Returns:
            By stride s in 4, 8, 16, 32: float32 (B, CHANNELS[s], H / s, W / s).
        """
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        features: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in ENDS and x.dtype == torch.float32:
                features[ENDS[number]] = x
        return features


@cache
def has_int8_convolutions() -> bool:
    """Test whether this torch has 8-bit convolutions on this CPU and they are exact."""
    conv = Int8Conv(SameConv(16, 16, 3, groups=16), zero=0, step=1.0, limit=None)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, LARGEST + 1, (1, 16, 8, 8), dtype=torch.uint8, generator=generator)
    weight = torch.randint(-127, 128, (16, 1, 3, 3), dtype=torch.int8, generator=generator)
    conv.set_weights(weight, torch.ones(16, dtype=torch.float32), torch.zeros(16, dtype=torch.float32))
    try:
        out = conv(x.contiguous(memory_format=torch.channels_last))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    expected = nn.functional.conv2d(x.double(), weight.double(), padding=1, groups=16)
    return bool(torch.equal(out.double(), expected))


def load_int8_network(path: Path = WEIGHTS) -> Int8EfficientNetLite:
    """Make the network with its quantized weights.

    Args:
        path: a state dict of ``quantize_backbone.py``.
    Returns:
        A network on the CPU.
    Raises:
        WeightsError: the file is missing or belongs to another network.
    """
    network = Int8EfficientNetLite().float()
    try:
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file. Reinstall vos-toolkit.") from None
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: does not fit EfficientNet-Lite0 ({reason}). Reinstall vos-toolkit.") from None
    return network.eval()
