"""The DAVIS / PASCAL VOC palette: 256 colours for display. Ids are pixel values, never colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def davis_palette() -> npt.NDArray[np.uint8]:
    """Make the 256-colour PASCAL VOC colour map that DAVIS annotations carry.

    Returns:
        uint8 (256, 3), RGB; row 0 is black, row 1 (128, 0, 0), row 255 (224, 224, 192).
    Source: the VOC development kit's bit-interleaving rule (VOCdevkit, ``VOClabelcolormap``):
        bits 0, 1, 2 of the index go to the highest free bit of R, G, B, three bits at a time.
    """
    index = np.arange(256, dtype=np.int64)
    palette = np.zeros((256, 3), dtype=np.int64)
    for shift in range(7, -1, -1):
        for channel in range(3):
            palette[:, channel] |= ((index >> channel) & 1) << shift
        index >>= 3
    return palette.astype(np.uint8)


PALETTE: npt.NDArray[np.uint8] = davis_palette()
"""The palette of every mask that is written: uint8 (256, 3), RGB, read-only."""
PALETTE.flags.writeable = False
