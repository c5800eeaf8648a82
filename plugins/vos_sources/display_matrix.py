"""Turn and mirror frames as a player does."""

from __future__ import annotations

from typing import Any

import numpy as np

from vos.plugin import Image


def upright(pixels: Image, frame: Any) -> Image:
    """Apply the display matrix of a frame to its pixels.

    Args:
        pixels: uint8 (H, W, 3), as coded.
        frame: the PyAV frame that they are of.
    Returns:
        A view of them; as it is where the matrix is no multiple of 90 degrees.
    Source: FFmpeg, libavutil/display.h (the matrix), fftools/ffmpeg_filter.c (what ffmpeg makes of it).
    """
    matrix = display_matrix(frame)
    if matrix is None:
        return pixels
    a, b, _, c, d = (int(value) for value in matrix[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        mirrored: Image = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return mirrored
    turned: Image = pixels.transpose(1, 0, 2)
    return turned[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]


def swaps_axes(frame: Any) -> bool:
    """True if the display matrix rotates a frame by 90 or 270 degrees."""
    matrix = display_matrix(frame)
    if matrix is None:
        return False
    a, b, _, c, d = (abs(int(value)) for value in matrix[:5])
    return bool(a + d < b + c)


def display_matrix(frame: Any) -> np.ndarray[Any, np.dtype[np.int32]] | None:
    """The display matrix of a PyAV frame: int32 (9,), 16.16 fixed point; None if it has none."""
    data = frame.side_data.get("DISPLAYMATRIX")  # iterating gives values up to PyAV 18, keys from 19 on
    return None if data is None else np.frombuffer(bytes(data), dtype=np.int32)
