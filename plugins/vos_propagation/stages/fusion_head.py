"""The learned last step: votes, other cues and the image's features become one object's logits, 4 px a cell.

The network is class-agnostic: it is told where an object was, what votes for it now and what the
image's features are, and learns which edges the mask should end at. It was trained on clips drawn by
``synthetic_clips.py``, on no real video: a larger one to give their masks, and the one that is used to give what
that one gives (Hinton et al., Distilling the Knowledge in a Neural Network, arXiv:1503.02531). MODEL_CARD.md says
more. It corrects the votes' own margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vos.plugin import WeightsError
from vos_propagation.ops.activations import relu_
from vos_propagation.ops.resampling import concat_channels_last, upsample2x

WEIGHTS = Path(__file__).parent / "head.pt"
COARSE_CUES, FINE_CUES = 11, 2
OWN_VOTES, OTHER_VOTES = 9, 10
COARSE_CHANNELS, FINE_CHANNELS = 152, 24
# Features are of unit length; these make their channels about 1.
COARSE_GAIN, FINE_GAIN = 8.0, 5.0
MARGIN_GAIN = 6.0
# Logits lie within this of 0.
LOGIT_LIMIT = 8.0
# How much of the margin is that of votes at 4 px: they know thin parts, but are off by up to half a cell of 8 px.
FINE_SHARE = 0.5


@dataclass(frozen=True)
class HeadSize:
    """How large a head is.

    Attributes:
        width: channels of the coarse layers.
        fine_width: of the fine layers.
        coarse_look: of what is used of the coarse features. With the cues they make 32: any less takes as long.
        fine_look: of what is used of the fine ones. With the votes, the carried mask and ``fine_width`` they make 32.
        separable: whether the layers after the first are separable, and those that end a stage look at single cells:
            a sixth of the products.
    """

    width: int = 32
    fine_width: int = 16
    coarse_look: int = 21
    fine_look: int = 13
    separable: bool = True

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> HeadSize:
        """Read the size off a head's weights; a key that is missing is a ``KeyError``."""
        width, fine, coarse_look, fine_look = (
            len(state[f"{name}.bias"]) for name in ("enter", "narrow", "look_coarse", "look_fine")
        )
        return cls(width, fine, coarse_look, fine_look, separable="merge.bias" not in state)


class Separable(nn.Sequential):
    """A convolution in two: each channel by itself, then all channels of a cell.

    Source: Chollet, Xception: Deep Learning with Depthwise Separable Convolutions (arXiv:1610.02357).
    """

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1),
        )


class FusionHead(nn.Module):
    """A small convolutional network: coarse layers at 8 px a cell, fine ones at 4 px."""

    def __init__(self, size: HeadSize | None = None) -> None:
        super().__init__()
        size = size or HeadSize()
        width, fine_width = size.width, size.fine_width
        self.look_coarse = nn.Conv2d(COARSE_CHANNELS, size.coarse_look, 1)
        self.look_fine = nn.Conv2d(FINE_CHANNELS, size.fine_look, 1)
        self.enter = nn.Conv2d(COARSE_CUES + size.coarse_look, width, 3, padding=1)
        self.near = _around(size, width, width, dilation=2)
        self.far = _around(size, width, width, dilation=4)
        self.settle = _around(size, width, width)
        self.narrow = _last(size, width, fine_width)
        self.merge = _around(size, fine_width + FINE_CUES + 1 + size.fine_look, fine_width)
        self.refine = _around(size, fine_width, fine_width)
        self.refine_far = _around(size, fine_width, fine_width, dilation=2)
        self.leave = _last(size, fine_width, 1)
        # Untrained, the head gives the votes' margin as it is.
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def look(self, coarse_features: Tensor, fine_features: Tensor) -> tuple[Tensor, Tensor]:
        """Reduce the image's features to what the head uses of them, once for all objects.

        Args:
            coarse_features: (B, 152, h, w), unit length over the channels.
            fine_features: (B, 24, 2 h, 2 w), likewise.
        Returns:
            (B, 21, h, w) and (B, 13, 2 h, 2 w), or as ``HeadSize`` says.
        """
        coarse = relu_(self.look_coarse(coarse_features * COARSE_GAIN))
        return coarse, relu_(self.look_fine(fine_features * FINE_GAIN))

    def forward(
        self,
        coarse_cues: Tensor,
        fine_cues: Tensor,
        coarse_image: Tensor,
        fine_image: Tensor,
        margin: Tensor | None = None,
    ) -> Tensor:
        """Give an object's logits.

        Args:
            coarse_cues: (B, 11, h, w), own and best other value of the carried mask and of the target
                model; the highest similarity and what the target model says beyond it; own and best
                other votes of the annotated frames alone and their highest similarity; own and best
                other votes.
            fine_cues: (B, 2, 2 h, 2 w), own and best other value of the carried mask.
            coarse_image: (B, 21, h, w), from ``look``.
            fine_image: (B, 13, 2 h, 2 w), from ``look``.
            margin: (B, 1, 2 h, 2 w), the margin of votes at 4 px a cell, half of what is corrected; None takes that of
                the coarse votes alone, as in training.
        Returns:
            float32 (B, 2 h, 2 w) logits.
        """
        x = relu_(self.enter(concat_channels_last([coarse_cues * 2 - 1, coarse_image])))
        x = x + relu_(self.near(x))
        x = x + relu_(self.far(x))
        x = x + relu_(self.settle(x))
        smooth = upsample2x(votes_margin(coarse_cues))
        margin = MARGIN_GAIN * (smooth if margin is None else torch.lerp(smooth, margin, FINE_SHARE))
        y = concat_channels_last([upsample2x(relu_(self.narrow(x))), fine_cues * 2 - 1, margin / 4, fine_image])
        y = relu_(self.merge(y))
        y = y + relu_(self.refine(y))
        y = y + relu_(self.refine_far(y))
        logits: Tensor = self.leave(y).float() + margin.float()
        return logits[:, 0]


def _around(size: HeadSize, inputs: int, outputs: int, dilation: int = 1) -> nn.Module:
    """Make a layer that looks at a cell and its eight neighbours, ``dilation`` cells away."""
    if size.separable:
        return Separable(inputs, outputs, dilation)
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)


def _last(size: HeadSize, inputs: int, outputs: int) -> nn.Conv2d:
    """Make the layer that ends a stage: where layers are separable, it looks at single cells."""
    return nn.Conv2d(inputs, outputs, 1) if size.separable else nn.Conv2d(inputs, outputs, 3, padding=1)


def votes_margin(coarse_cues: Tensor) -> Tensor:
    """Give (B, 1, h, w), how far an object's votes are above the best of the others and the background."""
    return vote_margin(coarse_cues[:, OWN_VOTES : OWN_VOTES + 1], coarse_cues[:, OTHER_VOTES : OTHER_VOTES + 1])


def vote_margin(own: Tensor, other: Tensor) -> Tensor:
    """Give how far an object's share is above the best other's and the background's; all of one shape."""
    return own - torch.maximum(other, 1 - own - other)


def load_head(path: Path = WEIGHTS) -> FusionHead:
    """Read a trained head.

    Args:
        path: a state dict, of a head of any size.
    Returns:
        A head on the CPU in float32, without gradients.
    Raises:
        WeightsError: the file is missing or belongs to another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        head = FusionHead(HeadSize.of(state))
        head.load_state_dict(state)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file. Reinstall vos, or train one with teach_head.py.") from None
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: is not a head for this version ({reason}). Train it with teach_head.py.") from None
    return head.eval().requires_grad_(False)
