"""The decoder's network: the cues of one object and the image's features become the object's logits, 4 px a cell.

It decodes from 32 px a cell to 4 px, as U-Net (Ronneberger et al., arXiv:1505.04597), so its receptive field is several
hundred pixels. It is trained on real video (``training/train_decoder.py``) and learns which cells form one object, also
those that no cue supports. It is class-agnostic.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
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
# Channels, by stride: of the reduced image features, and the layers of the decoder.
IMAGE_WIDTH = {4: 24, 8: 32, 16: 64, 32: 64}
WIDTH = {4: 40, 8: 48, 16: 96, 32: 96}


class DecoderNetwork(nn.Module):
    """A network of 0.78 million weights.

    Attributes:
        readout: makes the keys and values of the memory, and reads it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readout = ReadoutNetwork()
        self.reduce = nn.ModuleDict(
            {
                str(stride): nn.Sequential(nn.BatchNorm2d(CHANNELS[stride]), convolution(CHANNELS[stride], width, 1))
                for stride, width in IMAGE_WIDTH.items()
            }
        )
        self.direction = nn.Linear(2 * IMAGE_WIDTH[16], IMAGE_WIDTH[16])
        self.at_32 = nn.Sequential(
            convolution(IMAGE_WIDTH[32] + COARSE_CUES + VALUE, WIDTH[32]), convolution(WIDTH[32], WIDTH[32], dilation=2)
        )
        self.at_16 = nn.Sequential(
            convolution(IMAGE_WIDTH[16] + 1 + COARSE_CUES + WIDTH[32] + VALUE, WIDTH[16]),
            convolution(WIDTH[16], WIDTH[16]),
        )
        self.up_16 = convolution(WIDTH[16], WIDTH[8], 1)
        self.at_8 = nn.Sequential(
            convolution(WIDTH[8] + IMAGE_WIDTH[8] + COARSE_CUES, WIDTH[8]), convolution(WIDTH[8], WIDTH[8])
        )
        self.up_8 = convolution(WIDTH[8], WIDTH[4], 1)
        self.at_4 = nn.Sequential(
            convolution(WIDTH[4] + IMAGE_WIDTH[4] + FINE_CUES, WIDTH[4]), convolution(WIDTH[4], WIDTH[4])
        )
        self.out_16 = nn.Conv2d(WIDTH[16], 1, 1)
        self.out_4 = nn.Conv2d(WIDTH[4] + FINE_CUES, 1, 1)

    def image_features(self, levels: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Reduce the backbone's levels to the channels that the decoder uses, once for all objects.

        Args:
            levels: by stride 4, 8, 16, 32: (B, CHANNELS[stride], H / stride, W / stride).
        Returns:
            By the same strides: (B, IMAGE_WIDTH[stride], H / stride, W / stride).
        """
        return {stride: self.reduce[str(stride)](levels[stride]) for stride in IMAGE_WIDTH}

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


def load_decoder(path: Path = WEIGHTS) -> DecoderNetwork:
    """Read a trained network.

    Args:
        path: a state dict of ``train_decoder.py``.
    Returns:
        A network on the CPU in float32, in evaluation mode, without gradients.
    Raises:
        WeightsError: the file is missing or belongs to another network.
    """
    network = DecoderNetwork()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
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
