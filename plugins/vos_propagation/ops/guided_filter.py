"""Guided filter: upsample logits from 4-px cells to pixels along the edges of the image.

Around each cell, a linear function of the image's colours is fitted to the logits, and applied to every pixel.
Source: He et al., Guided Image Filtering (TPAMI 2013), in the form of He and Sun's Fast Guided Filter
(arXiv:1505.00996): fitted on the small grid, applied on the large one.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray
from vos_propagation.ops.logit_buffers import LogitBuffer

# Side of a cell, pixels.
CELL = 4
# Regularisation: edges with a smaller variance of colour, of values in [0, 1], are ignored.
EPSILON = 1e-4
# Pixels more than so many cells from every cell with a higher logit than this are background, whatever the colours.
REACH, SURE_BACKGROUND = 3, -4.0


class GuidedFilter:
    """The filter of one image, for all objects in it."""

    def __init__(self, image: Tensor, small: Tensor) -> None:
        """Compute the means and the inverse covariance of the image's colours around each cell.

        Args:
            image: uint8 (3, 4 h, 4 w); fast if each plane is contiguous.
            small: uint8 (3, h, w), the image's mean colour in each cell.
        """
        self._image = image
        self._colours = small.float() / 255
        self._mean = _local_mean(self._colours)
        red, green, blue = self._colours
        products = torch.stack([red * red, red * green, red * blue, green * green, green * blue, blue * blue])
        rr, rg, rb, gg, gb, bb = _local_mean(products)
        spread = torch.stack([rr, rg, rb, rg, gg, gb, rb, gb, bb]).view(3, 3, *red.shape)
        ridge = EPSILON * torch.eye(3, dtype=red.dtype, device=red.device)[..., None, None]
        first, second, third = spread - self._mean[:, None] * self._mean + ridge
        cofactors = torch.stack([_cross(second, third), _cross(third, first), _cross(first, second)])
        self._inverse = cofactors / (first * cofactors[0]).sum(0)

    def __call__(self, logits: Tensor, rows: slice, columns: slice) -> Tensor:
        """Upsample one object's logits in a box.

        Args:
            logits: float32 (rows, columns), the box of the grid of cells.
            rows: rows of the box, cells.
            columns: columns of the box, cells.
        Returns:
            float32 (4 rows, 4 columns).
        """
        colours, mean = self._colours[:, rows, columns], self._mean[:, rows, columns]
        means = _local_mean(torch.cat([logits[None], logits * colours]))
        covariance = means[1:] - mean * means[:1]
        slope = (self._inverse[..., rows, columns] * covariance[:, None]).sum(0)
        offset = means[:1] - (slope * mean).sum(0, keepdim=True)
        large = _upsample(_local_mean(torch.cat([slope, offset])))
        top, left = CELL * rows.start, CELL * columns.start
        height, width = large.shape[1:]
        pixels = self._image[:, top : top + height, left : left + width].float()
        fine = large[3]
        for plane, colour in zip(large[:3], pixels, strict=True):
            fine.addcmul_(plane, colour, value=1 / 255)
        return fine


def refine_edges(logits: Tensor, guided: GuidedFilter, buffer: LogitBuffer) -> None:
    """Upsample each object's logits, (K, h, w), around the object, and write them to a buffer, (K, 4 h, 4 w)."""
    possible = logits > SURE_BACKGROUND
    lines = zip(possible.any(2).cpu().numpy(), possible.any(1).cpu().numpy(), strict=True)
    for k, (in_rows, in_columns) in enumerate(lines):
        if in_rows.any():
            rows, columns = _span(in_rows), _span(in_columns)
            y, x = (slice(CELL * part.start, CELL * part.stop) for part in (rows, columns))
            buffer.draw(k, (y, x), guided(logits[k, rows, columns], rows, columns))


def _span(possible: AnyArray) -> slice:
    """Span the True cells of a line, ``REACH`` cells around."""
    at = np.flatnonzero(possible)
    return slice(max(0, int(at[0]) - REACH), min(len(possible), int(at[-1]) + 1 + REACH))


def _local_mean(planes: Tensor) -> Tensor:
    """Average (C, h, w) over each cell and its eight neighbours; border cells are replicated."""
    planes = F.pad(planes[None], (1, 1, 1, 1), mode="replicate")[0]
    planes = planes[:, :-2] + planes[:, 1:-1] + planes[:, 2:]
    return (planes[..., :-2] + planes[..., 1:-1] + planes[..., 2:]) / 9


def _upsample(planes: Tensor) -> Tensor:
    """Upsample (C, h, w) bilinearly by ``CELL``; OpenCV takes a quarter of the time of torch on a CPU."""
    if planes.device.type != "cpu":
        return F.interpolate(planes[None], scale_factor=CELL, mode="bilinear", align_corners=False)[0]
    height, width = planes.shape[1:]
    large = planes.new_empty(len(planes), CELL * height, CELL * width)
    for plane, out in zip(planes.numpy(), large.numpy(), strict=True):
        cv2.resize(plane, (CELL * width, CELL * height), dst=out, interpolation=cv2.INTER_LINEAR)
    return large


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Return the cross product over the first axis; ``torch.linalg.cross`` takes three times as long on a CPU."""
    return a.roll(-1, 0) * b.roll(-2, 0) - a.roll(-2, 0) * b.roll(-1, 0)
