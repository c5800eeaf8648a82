"""Mapping between a frame and the model's square input, for points, boxes and masks.

Segment Anything scales the longer side of a frame to its input side (1024 for the published models) and
pads the right and the bottom with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage

from vos.plugin import AnyArray, FloatArray, Image, LabelMap, Size

OBJECTS_AT_ONCE = 8
"""Objects brought to the frame's size together: a float32 plane of 1920 x 1080 is 8 MiB, and there may be 254."""


@dataclass(frozen=True)
class View:
    """The place of one frame in the model's input.

    Attributes:
        size: (H, W) of the frame, pixels.
        side: side of the model's square input, pixels.
    """

    size: Size
    side: int

    @property
    def input_size(self) -> Size:
        """(H, W) of the scaled frame, without the padding; a side of a narrow strip is at least 1.

        Source: segment_anything/utils/transforms.py:93-102 at dca509f.
        """
        height, width = self.size
        scale = self.side * 1.0 / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    def to_input(self, points_xy: AnyArray) -> FloatArray:
        """Move points from the frame to the model's input.

        Args:
            points_xy: (..., 2) pixels of the frame, x first.
        Returns:
            float32 (..., 2), pixels of the scaled frame.
        """
        height, width = self.size
        input_height, input_width = self.input_size
        scale = np.array([input_width / width, input_height / height])
        return np.asarray(np.asarray(points_xy, dtype=np.float64) * scale, dtype=np.float32)

    def upsample(self, low_res: torch.Tensor, *, at_most_input: bool = False) -> torch.Tensor:
        """Resize maps of the model's square input to the frame: scale up, crop the padding, scale to the frame.

        Args:
            low_res: float (..., h, w) over the whole square input.
            at_most_input: stop at the input's size where the frame is larger; a bilinear resize finishes it.
        Returns:
            float (..., H, W).
        Source: segment_anything/modeling/sam.py:127-155 at dca509f.
        """
        planes = low_res.flatten(0, -3)[None]
        square = F.interpolate(planes, (self.side, self.side), mode="bilinear", align_corners=False)
        height, width = self.input_size
        view = square[..., :height, :width]
        if not (at_most_input and height * width < self.size[0] * self.size[1]):
            view = F.interpolate(view, self.size, mode="bilinear", align_corners=False)
        return view.view(*low_res.shape[:-2], *view.shape[-2:])

    def crop(self, low_res: torch.Tensor) -> torch.Tensor:
        """Cut the padding off maps of the model's input, without scaling.

        Args:
            low_res: (..., h, w) over the whole square input.
        Returns:
            (..., h', w'): the rows and columns that the frame touches.
        """
        height, width = self.input_size
        rows, columns = low_res.shape[-2:]
        return low_res[..., : -(-height * rows // self.side), : -(-width * columns // self.side)]


def scaled_image(image: Image, size: Size) -> Image:
    """Scale an image as Segment Anything does: bilinear, with antialiasing when it shrinks.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        size: (H, W) wanted.
    Returns:
        uint8 of that size.
    """
    if image.shape[:2] == size:
        return image
    return np.asarray(PillowImage.fromarray(image).resize((size[1], size[0]), PillowImage.Resampling.BILINEAR))


@torch.inference_mode()
def merge_objects(view: View, ids: Sequence[int], low_res_logits: torch.Tensor) -> LabelMap:
    """Assign each pixel to the object with the highest logit above 0.

    Args:
        view: the frame's place in the model's input.
        ids: of K objects; the earlier one wins a tie.
        low_res_logits: float32 (K, S, S), over the model's square input.
    Returns:
        uint8 (H, W), the frame's size. An object that others hide is not in it.
    """
    highest = torch.zeros(view.size, device=low_res_logits.device)
    owner = torch.zeros(view.size, dtype=torch.uint8, device=low_res_logits.device)
    by_row = torch.as_tensor(np.array(ids, np.uint8), device=low_res_logits.device)
    for first in range(0, len(ids), OBJECTS_AT_ONCE):
        best, row = view.upsample(low_res_logits[first : first + OBJECTS_AT_ONCE]).max(dim=0)
        higher = best > highest
        owner = torch.where(higher, by_row[first:][row], owner)
        highest = torch.where(higher, best, highest)
    label_map: LabelMap = owner.cpu().numpy()
    return label_map
