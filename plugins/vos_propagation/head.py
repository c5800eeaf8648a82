"""The learned last step: votes and other cues of one object become its logits at 4 px a cell.

The network is class-agnostic by construction: it sees what the other modules say of one object and
never the image or its features, so it cannot learn what a dog looks like. It corrects the votes' own
margin. It was trained by ``train_head.py``; MODEL_CARD.md says on what, and how it does on
sequences that it was not trained on.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos import WeightsError

WEIGHTS = Path(__file__).parent / "head.pt"
COARSE_CUES, FINE_CUES = 8, 2
OWN_VOTES, OTHER_VOTES = 6, 7
MARGIN_GAIN = 6.0


class FusionHead(nn.Module):
    """A small convolutional network: coarse layers at 8 px a cell, fine ones at 4 px."""

    def __init__(self, width: int = 32, fine_width: int = 16) -> None:
        super().__init__()
        self.enter = nn.Conv2d(COARSE_CUES, width, 3, padding=1)
        self.near = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.far = nn.Conv2d(width, width, 3, padding=4, dilation=4)
        self.narrow = nn.Conv2d(width, fine_width, 3, padding=1)
        self.merge = nn.Conv2d(fine_width + FINE_CUES + 1, fine_width, 3, padding=1)
        self.refine = nn.Conv2d(fine_width, fine_width, 3, padding=1)
        self.leave = nn.Conv2d(fine_width, 1, 3, padding=1)
        # Untrained, the head gives the votes' margin as it is.
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, coarse_cues: Tensor, fine_cues: Tensor) -> Tensor:
        """Give an object's logits.

        Args:
            coarse_cues: (B, 8, h, w), own and best other value of the carried mask and of the target
                model, then the highest similarity and what the target model says beyond it, then own
                and best other votes.
            fine_cues: (B, 2, 2 h, 2 w), own and best other value of the carried mask.
        Returns:
            float32 (B, 2 h, 2 w) logits.
        """
        x = F.relu(self.enter(coarse_cues * 2 - 1))
        x = x + F.relu(self.near(x))
        x = x + F.relu(self.far(x))
        margin = _twice(MARGIN_GAIN * votes_margin(coarse_cues))
        y = torch.cat([_twice(F.relu(self.narrow(x))), fine_cues * 2 - 1, margin / 4], dim=1)
        y = F.relu(self.merge(y))
        y = y + F.relu(self.refine(y))
        logits: Tensor = self.leave(y).float() + margin.float()
        return logits[:, 0]


def votes_margin(coarse_cues: Tensor) -> Tensor:
    """Give (B, 1, h, w), how far an object's votes are above the best of the others and the background."""
    own = coarse_cues[:, OWN_VOTES : OWN_VOTES + 1]
    other = coarse_cues[:, OTHER_VOTES : OTHER_VOTES + 1]
    return own - torch.maximum(other, 1 - own - other)


def load_head(path: Path = WEIGHTS) -> FusionHead:
    """Read the trained head.

    Args:
        path: a state dict.
    Returns:
        A head on the CPU in float32, without gradients.
    Raises:
        WeightsError: the file is missing or belongs to another network.
    """
    head = FusionHead()
    try:
        head.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file. Reinstall vos, or train one with train_head.py.") from None
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: is not a head for this version ({reason}). Train it with train_head.py.") from None
    return head.eval().requires_grad_(False)


def _twice(planes: Tensor) -> Tensor:
    return F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)
