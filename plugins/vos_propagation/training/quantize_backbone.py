"""Quantize the backbone's weights, layer by layer, on frames of training sequences.

    python -m vos_propagation.training.quantize_backbone --davis DAVIS --out FOLDER

FOLDER/lite0_int8.pt is what the package ships in ``backbone/``. Weights are rounded one input
after the other, and what rounding changed is made up for by the inputs that follow (GPTQ, Frantar et al.,
arXiv:2210.17323). The weights are first fitted to the inputs as the quantized layers before give them, so that errors
do not add up from layer to layer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import InputError
from vos_propagation.backbone.efficientnet_lite import (
    IMAGE_MEAN,
    IMAGE_STD,
    Block,
    EfficientNetLite,
    SameConv,
    load_efficientnet_lite,
)
from vos_propagation.backbone.int8_network import (
    LARGEST,
    STREAM_ZERO,
    WEIGHTS,
    Int8Block,
    Int8Conv,
    Int8EfficientNetLite,
)
from vos_propagation.training.clips import VideoFolder

# Positions of each frame whose inputs are fitted to, in each layer; fewer in depthwise ones, which have few inputs.
POSITIONS, DEPTHWISE_POSITIONS = 2048, 256
# Shares of the inputs' mean variance that are added to each one's, for the rounding, and for the fit of the weights:
# with less, the fit follows the frames that it is made on.
DAMPING, FIT_DAMPING = 1e-2, 1e-1
# A channel is made larger by no more than this, so that a rare higher value is not cut off.
LARGEST_GAIN = 4.0
# Largest weights of the stem: its inputs have 8 bits, and two products have to fit into 16.
STEM_LARGEST = 63
SHRINKAGES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
SIZE = (544, 960)


@dataclass
class Activations:
    """One tensor's values in each frame, as the float network and as the quantized one have them.

    Attributes:
        exact: float32 (1, C, H, W) of each frame.
        quantized: uint8 or float32 (1, C, H, W) of each frame.
        gains: float32 (C,), how many times larger the quantized values are.
    """

    exact: list[Tensor]
    quantized: list[Tensor]
    gains: Tensor


@torch.inference_mode()
def quantize(network: EfficientNetLite, images: Sequence[Tensor]) -> Int8EfficientNetLite:
    """Choose the quantized weights of a network.

    Args:
        network: the float network, in float32.
        images: uint8 (1, 3, H, W), the frames to calibrate on.
    Returns:
        The quantized network.
    """
    quantized = Int8EfficientNetLite()
    pixels = [image.contiguous(memory_format=torch.channels_last) for image in images]
    frames = Activations([(image.float() - IMAGE_MEAN) / IMAGE_STD for image in pixels], pixels, torch.ones(3))
    values = _fit_clamped(quantized.stem, network.stem, frames, STEM_LARGEST)
    for target, block in zip(quantized.blocks, network.blocks, strict=True):
        values = _fit_block(cast(Int8Block, target), cast(Block, block), values)
    return quantized


def _fit_block(target: Int8Block, block: Block, entering: Activations) -> Activations:
    """Fit a block to the residual stream that enters, or to the stem's outputs; return the stream that leaves."""
    hidden = entering
    if target.expand is not None:
        assert block.expand is not None
        hidden = _fit_clamped(target.expand, block.expand, _scale_stream(target, entering), LARGEST)
    hidden = _fit_clamped(target.depthwise, block.depthwise, hidden, LARGEST)
    exact = [block.project(x) for x in hidden.exact]
    if target.expand is None:
        gains, middle = _stream_gains(exact)
    else:
        gains, middle = torch.ones(block.project.out_channels), torch.zeros(block.project.out_channels)
    _fit(target.project, block.project, hidden, gains, LARGEST)
    if target.expand is None:
        target.project.set_weights(
            target.project.weight, target.project.weight_scale, target.project.bias + STREAM_ZERO - middle * gains
        )
    quantized = [target.project(x) for x in hidden.quantized]
    if target.residual:
        exact = [out + x for out, x in zip(exact, entering.exact, strict=True)]
        quantized = [out + x for out, x in zip(quantized, entering.quantized, strict=True)]
    return Activations(exact, quantized, gains)


def _stream_gains(stream: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Find each channel's gain and middle with which nearly all of its values fit into 7 bits."""
    values = torch.cat([x.flatten(2)[0, :, ::7] for x in stream], dim=1)
    low, high = values.quantile(0.0005, dim=1), values.quantile(0.9995, dim=1)
    return (LARGEST - 1) / (high - low).clamp_min(1e-3), (low + high) / 2


def _scale_stream(target: Int8Block, stream: Activations) -> Activations:
    """Set how the residual stream is quantized for an expansion."""
    if stream.quantized[0].dtype == torch.uint8:
        return stream
    gains, middle = _stream_gains(stream.exact)
    target.scale = gains[None, :, None, None]
    target.offset = (STREAM_ZERO - middle * gains)[None, :, None, None]
    return Activations(stream.exact, [target.quantize(x) for x in stream.quantized], gains)


def _fit_clamped(target: Int8Conv, conv: SameConv, inputs: Activations, largest: int) -> Activations:
    """Fit a convolution before a ReLU6, whose channels are made larger to use all bits."""
    exact = [conv(x).clamp_(0, 6) for x in inputs.exact]
    highest = torch.stack([x.amax((0, 2, 3)) for x in exact]).amax(0)
    gains = (6 / (1.1 * highest).clamp_min(1e-3)).clamp(1, LARGEST_GAIN)
    gains[highest < 1e-3] = 1
    _fit(target, conv, inputs, gains, largest)
    return Activations(exact, [target(x) for x in inputs.quantized], gains)


def _fit(target: Int8Conv, conv: SameConv, inputs: Activations, gains: Tensor, largest: int) -> None:
    """Set a quantized convolution's weights so that its outputs are ``gains`` times the float one's.

    Args:
        target: what is set.
        conv: the float convolution.
        inputs: what enters both.
        gains: (outputs,).
        largest: the largest weight.
    """
    groups, outputs = conv.groups, conv.out_channels
    exact, given = _columns(inputs.exact, conv), _columns(inputs.quantized, conv)
    given = (given - target.zero) * target.step
    skipped = conv.stride[0] - 1
    weight = conv.weight[:, :, skipped:, skipped:].reshape(groups, -1, given.shape[1]) * gains.view(groups, -1, 1)
    mean_exact, mean_given = exact.mean(2, keepdim=True), given.mean(2, keepdim=True)
    centred = given - mean_given
    covariance = (centred @ centred.mT / given.shape[2]).double()
    # Start from the weights that undo the gains, and fit what remains of the exact outputs.
    taps = given.shape[1] * groups // conv.in_channels
    start = weight / inputs.gains.repeat_interleave(taps).view(groups, 1, -1)
    missing = weight @ (exact - mean_exact) - start @ centred
    cross = (missing @ centred.mT / given.shape[2]).double()
    fitted = start + torch.linalg.solve(_damped(covariance, FIT_DAMPING), cross.mT).mT.float()
    scale, rounded = _round_weights(fitted, _damped(covariance, DAMPING), largest)
    assert conv.bias is not None
    error = weight @ mean_exact - (scale * rounded) @ mean_given
    side = conv.kernel_size[0] - skipped
    taps_of = rounded.to(torch.int8).view(outputs, -1, side, side)
    target.set_weights(
        F.pad(taps_of, (skipped, 0, skipped, 0)), scale.flatten().contiguous(), conv.bias * gains + error.flatten()
    )


def _damped(covariance: Tensor, share: float) -> Tensor:
    """Add a share of the mean variance, at least a little, to each variance."""
    variance = covariance.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    return covariance + (share * variance + 1e-6) * torch.eye(covariance.shape[1], dtype=covariance.dtype)


def _columns(frames: Sequence[Tensor], conv: SameConv) -> Tensor:
    """Gather the inputs of some positions of each frame: float32 (groups, inputs / groups * kernel area, N).

    The kernel is without the rows and columns of zeros that ``SameConv`` puts before it.
    """
    kernel, stride, padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
    taps_at = range(stride - 1, kernel)
    count = POSITIONS if conv.groups == 1 else DEPTHWISE_POSITIONS
    columns = []
    for number, frame in enumerate(frames):
        generator = torch.Generator().manual_seed(number)
        # Positions at the border are left out: part of their inputs is padding.
        y, x = (
            stride
            * torch.randint(
                -(-padding // stride), (side - kernel + padding) // stride + 1, (count,), generator=generator
            )
            - padding
            for side in frame.shape[2:]
        )
        taps = [frame[0, :, y + dy, x + dx].float() for dy in taps_at for dx in taps_at]
        columns.append(torch.stack(taps, dim=1).reshape(conv.groups, -1, count))
    return torch.cat(columns, dim=2)


def _round_weights(weight: Tensor, covariance: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    """Round weights (groups, outputs, inputs) by GPTQ; return the scales (groups, outputs, 1) and the integers."""
    importance = covariance.diagonal(dim1=1, dim2=2)[:, None].float()
    whole = weight.abs().amax(2, keepdim=True).clamp_min(1e-8) / largest
    scale, least = whole, torch.full_like(whole, torch.inf)
    for shrinkage in SHRINKAGES:
        rounded = (weight / (shrinkage * whole)).round().clamp(-largest, largest) * (shrinkage * whole)
        error = (importance * (rounded - weight) ** 2).sum(2, keepdim=True)
        scale = torch.where(error < least, shrinkage * whole, scale)
        least = torch.minimum(error, least)
    inverse = torch.linalg.inv(covariance)
    inverse = torch.linalg.cholesky((inverse + inverse.mT) / 2, upper=True).float()
    left = weight.clone()
    out = torch.zeros_like(weight)
    for at in range(weight.shape[2]):
        out[..., at] = (left[..., at] / scale[..., 0]).round().clamp(-largest, largest)
        error = (left[..., at] - out[..., at] * scale[..., 0]) / inverse[:, at, at, None]
        left[..., at:] -= error[..., None] * inverse[:, at, None, at:]
    return scale, out


def relative_errors(network: EfficientNetLite, quantized: Int8EfficientNetLite, image: Tensor) -> dict[int, float]:
    """Compute the error of each level, by stride, as a share of its length, for an image uint8 (1, 3, H, W)."""
    with torch.inference_mode():
        exact, found = network(image.float()), quantized(image)
        return {stride: float((level - exact[stride]).norm() / exact[stride].norm()) for stride, level in found.items()}


def calibration_frames(davis: Path, split: str, each: int) -> list[Tensor]:
    """Read frames, evenly spread, of each sequence of a split: uint8 (1, 3, 544, 960) each."""
    videos = VideoFolder(davis, split)
    frames = []
    for name, stems in videos.stems.items():
        for number in range(each):
            image, _ = videos.read(name, (2 * number + 1) * len(stems) // (2 * each))
            frames.append(torch.from_numpy(cv2.resize(image, SIZE[::-1])).permute(2, 0, 1)[None])
    return frames


def main(argv: Sequence[str] | None = None) -> None:
    """Quantize, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True, help="a DAVIS tree; its frames are calibrated on")
    parser.add_argument("--split", default="2016/train")
    parser.add_argument("--unseen", default="2016/tune", help="the errors are measured on frames of this split")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=2, help="of each sequence")
    arguments = parser.parse_args(argv)
    try:
        frames = calibration_frames(arguments.davis, arguments.split, arguments.frames)
        unseen = calibration_frames(arguments.davis, arguments.unseen, 2)
    except InputError as error:
        parser.error(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    network = load_efficientnet_lite().to(memory_format=torch.channels_last)
    quantized = quantize(network, frames)
    torch.save(quantized.state_dict(), arguments.out / WEIGHTS.name)
    errors = [relative_errors(network, quantized, image) for image in unseen]
    means = {stride: sum(error[stride] for error in errors) / len(errors) for stride in errors[0]}
    print("relative errors:", ", ".join(f"{mean:.3f} at {stride} px" for stride, mean in means.items()))


if __name__ == "__main__":
    main()
