"""The decoder's network: the cues of one object and the image's features become the object's logits, 4 px a cell.

It decodes from 32 px a cell to 4 px, as U-Net (Ronneberger et al., arXiv:1505.04597), so its receptive field is several
hundred pixels. It is trained on real video (``training/train_decoder.py``) and learns which cells form one object, also
those that no cue supports. It is class-agnostic.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos.plugin import WeightsError
from vos_propagation.backbone.efficientnet_lite import CHANNELS
from vos_propagation.memory.readout_network import VALUE, ReadoutNetwork
from vos_propagation.ops.convolutions import convolution, fold_all_batch_norms
from vos_propagation.ops.resampling import upsample2x

WEIGHTS = Path(__file__).parent / "decoder.pt"
# Logits lie within this of 0.
LOGIT_LIMIT = 8.0
COARSE_CUES, FINE_CUES = 11, 3
# Rows of the coarse cues: an object's warped mask, and its votes.
WARPED, VOTES = 0, 9


@dataclass(frozen=True)
class Widths:
    """Numbers of channels.

    Attributes:
        image: by stride, of the reduced image features.
        layer: by stride, of the decoder's layers.
        value: of the hidden layer that makes the readout's values.
    """

    image: Mapping[int, int]
    layer: Mapping[int, int]
    value: int


# What the package ships, and the network that it was taught by; see ``training/distill_decoder.py``.
SHIPPED = Widths({4: 13, 8: 24, 16: 48, 32: 48}, {4: 16, 8: 32, 16: 64, 32: 64}, 64)
TEACHER = Widths({4: 24, 8: 32, 16: 64, 32: 64}, {4: 40, 8: 48, 16: 96, 32: 96}, 96)


class DecoderNetwork(nn.Module):
    """A network of 0.42 million weights, or of other widths.

    Attributes:
        readout: makes the keys and values of the memory, and reads it.
    """

    def __init__(self, widths: Widths = SHIPPED) -> None:
        super().__init__()
        image, layer = widths.image, widths.layer
        self.readout = ReadoutNetwork(widths.value)
        self.reduce = nn.ModuleDict(
            {
                str(stride): nn.Sequential(nn.BatchNorm2d(CHANNELS[stride]), convolution(CHANNELS[stride], width, 1))
                for stride, width in image.items()
            }
        )
        self.direction = nn.Linear(2 * image[16], image[16])
        self.at_32 = nn.Sequential(
            convolution(image[32] + COARSE_CUES + VALUE, layer[32]), convolution(layer[32], layer[32], dilation=2)
        )
        self.at_16 = nn.Sequential(
            convolution(image[16] + 1 + COARSE_CUES + layer[32] + VALUE, layer[16]), convolution(layer[16], layer[16])
        )
        self.up_16 = convolution(layer[16], layer[8], 1)
        self.at_8 = nn.Sequential(
            convolution(layer[8] + image[8] + COARSE_CUES, layer[8]), convolution(layer[8], layer[8])
        )
        self.up_8 = convolution(layer[8], layer[4], 1)
        self.at_4 = nn.Sequential(
            convolution(layer[4] + image[4] + FINE_CUES, layer[4]), convolution(layer[4], layer[4])
        )
        self.out_16 = nn.Conv2d(layer[16], 1, 1)
        self.out_4 = nn.Conv2d(layer[4] + FINE_CUES, 1, 1)

    def image_features(self, levels: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Reduce the backbone's levels to the channels that the decoder uses, once for all objects.

        Args:
            levels: by stride 4, 8, 16, 32: (B, CHANNELS[stride], H / stride, W / stride).
        Returns:
            By the same strides: (B, ``Widths.image[stride]``, H / stride, W / stride).
        """
        return {stride: self.reduce[str(stride)](levels[stride]) for stride in (4, 8, 16, 32)}

    def forward(self, image: Mapping[int, Tensor], coarse_cues: Tensor, fine_cues: Tensor, readout: Tensor) -> Tensor:
        """Compute an object's logits.

        Args:
            image: from ``image_features``.
            coarse_cues: (B, 11, h8, w8), h8 and w8 multiples of 4: own and best other value of the warped mask and of
                the target model's score; the highest similarity, and the best score minus it; own and best other
                votes of the annotated frames and their highest similarity; own and best other votes.
            fine_cues: (B, 3, h4, w4): own and best other value of the warped mask; the margin of the votes, in 0..1.
            readout: (B, 64, h16, w16), from ``ReadoutNetwork.read``.
        Returns:
            float32 (B, h4, w4).
        """
        logits, _ = self.both_logits(image, coarse_cues, fine_cues, readout)
        return logits

    def both_logits(
        self, image: Mapping[int, Tensor], coarse_cues: Tensor, fine_cues: Tensor, readout: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the logits, (B, h4, w4), and for deep supervision those of the 16-px level, (B, h16, w16)."""
        cues_8, fine = 2 * coarse_cues - 1, 2 * fine_cues - 1
        cues_16 = F.avg_pool2d(cues_8, 2)
        x = self.at_32(torch.cat([image[32], F.avg_pool2d(cues_16, 2), F.avg_pool2d(readout, 2)], 1))
        x = self.at_16(
            torch.cat([image[16], self._target_similarity(image[16], coarse_cues), cues_16, upsample2x(x), readout], 1)
        )
        logits_16 = self.out_16(x)[:, 0]
        x = self.at_8(torch.cat([upsample2x(self.up_16(x)), image[8], cues_8], 1))
        x = self.at_4(torch.cat([upsample2x(self.up_8(x)), image[4], fine], 1))
        return self.out_4(torch.cat([x, fine], 1))[:, 0].float(), logits_16

    def _target_similarity(self, features: Tensor, coarse_cues: Tensor) -> Tensor:
        """Compare each cell with the mean features of the likely object and of the rest: (B, 1, h16, w16)."""
        likely = F.avg_pool2d(torch.maximum(coarse_cues[:, WARPED], coarse_cues[:, VOTES])[:, None], 2).clamp(0, 1)
        own, rest = ((features * share).sum((2, 3)) / (share.sum((2, 3)) + 1) for share in (likely, 1 - likely))
        direction = self.direction(torch.cat([own, rest], 1))
        similarity: Tensor = torch.einsum("bchw,bc->bhw", features, direction)[:, None] / features.shape[1] ** 0.5
        return similarity


def widths_of(state: Mapping[str, Tensor]) -> Widths:
    """Return the widths of the network whose state dict this is."""
    image, layer = (
        {stride: len(state[name.format(stride)]) for stride in (4, 8, 16, 32)}
        for name in ("reduce.{}.1.0.weight", "at_{}.1.0.weight")
    )
    return Widths(image, layer, len(state["readout.value.0.0.weight"]))


def load_decoder(path: Path = WEIGHTS) -> DecoderNetwork:
    """Read a trained network.

    Args:
        path: a state dict of ``train_decoder.py`` or ``distill_decoder.py``.
    Returns:
        A network on the CPU in float32, in evaluation mode, without gradients.
    Raises:
        WeightsError: the file is missing or belongs to another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = DecoderNetwork(widths_of(state)).float()
        network.load_state_dict(state)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file. Reinstall vos-toolkit, or train it: train_decoder.py.") from None
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{path}: is no decoder of this version ({reason}). Train one with train_decoder.py."
        ) from None
    return network.eval().requires_grad_(False)


def fold_batch_norms(network: DecoderNetwork) -> DecoderNetwork:
    """Make a network for inference alone: the batch norms become part of the convolutions, which takes less time.

    Args:
        network: in evaluation mode, float32; it stays as it is.
    Returns:
        A network whose logits differ by rounding alone; its state dict has other names.
    """
    network = copy.deepcopy(network)
    fold_all_batch_norms(network)
    return network
