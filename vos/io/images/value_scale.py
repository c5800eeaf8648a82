"""From images of more than 8 bits a channel to 8: by the values that are used, the same for all frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vos.types.arrays import AnyArray, Image

SAMPLES = 8
"""Images of a sequence from which its range of values is learnt."""

_BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Depths of cameras, whose values are stored in 16 bits."""


@dataclass(frozen=True)
class ValueScale:
    """Maps values linearly to 0..255.

    Attributes:
        low: the value that becomes 0.
        high: the value that becomes 255 (floats), or the first one above the range (integers).
        text: message for the user: the values found and their conversion.
    """

    low: float
    high: float
    text: str

    def apply(self, values: AnyArray) -> Image:
        """Map values; those outside the range become 0 or 255.

        Args:
            values: any real dtype, any shape.
        Returns:
            uint8 of the same shape.
        """
        if values.dtype.kind == "u" and self.low == 0:
            shift = int(np.log2(self.high)) - 8
            shifted: Image = np.minimum(values >> shift, 255).astype(np.uint8)
            return shifted
        share = (np.nan_to_num(values.astype(np.float32), nan=self.low) - self.low) / (self.high - self.low)
        scaled: Image = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
        return scaled


def find_value_scale(samples: Sequence[AnyArray]) -> ValueScale | None:
    """Estimate the range of values from a few images of a sequence.

    Args:
        samples: pixels of any real dtype; at least one.
    Returns:
        The scale: integers by the bits that are used (8, 10, 12, 14 or 16); floats by 0..1, else 0..255, else by the
        least and the greatest value. None where all are of 8 bits, which need none.
    """
    if all(sample.dtype == np.uint8 for sample in samples):
        return None
    low = min(float(np.nanmin(_finite(sample))) for sample in samples)
    high = max(float(np.nanmax(_finite(sample))) for sample in samples)
    if all(sample.dtype.kind in "ui" for sample in samples) and low >= 0 and high < 1 << 16:
        bits = next(depth for depth in _BIT_DEPTHS if high < 1 << depth)
        text = (
            f"16 bits a channel, {bits} of them used (values to {high:.0f}): divided by {1 << bits - 8} to fit 8 bits"
        )
        return ValueScale(0, 1 << bits, text)
    if low >= 0 and high <= 255 and samples[0].dtype.kind == "f":
        top = 1.0 if high <= 1 else 255.0
        return ValueScale(0, top, f"floating-point values from {low:g} to {high:g}: read as 0 to {top:g}")
    if low == high:
        high = low + 1
    return ValueScale(low, high, f"values from {low:g} to {high:g}: scaled from that range to 8 bits")


def evenly_spaced(count: int) -> list[int]:
    """At most ``SAMPLES`` indices of ``count``, the first and the last among them."""
    return sorted({round(at * (count - 1) / (SAMPLES - 1)) for at in range(SAMPLES)})


def _finite(values: AnyArray) -> AnyArray:
    if values.dtype.kind != "f":
        return values
    finite = values[np.isfinite(values)]
    return finite if finite.size else np.zeros(1, values.dtype)
