"""Masks as rows of bits, 64 pixels a word: the form in which masks are counted, compared and dilated.

A packed mask is uint64 (..., H, ceil(W / 64)); pixel x of a row is bit ``x % 64`` of word ``x // 64``,
and bits past the last pixel are 0. One operation on a 480 x 854 mask touches 54 KB, eight times less
than bytes would, and a disk of radius r costs O(r) such operations.

J and F of a 480 x 854 frame by NumPy and OpenCV 5 take 16 to 36 times as long, packing included
(tests/benchmarks/bench_packed_masks.py, one thread).
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vos.types.arrays import AnyArray

Bits: TypeAlias = npt.NDArray[np.uint64]

WORD = 64
_ONE = np.uint64(1)
_COUNTS_OF_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.uint8)


def pack(masks: AnyArray) -> Bits:
    """Pack masks into bits.

    Args:
        masks: bool or uint8 (..., H, W); every nonzero pixel is in the mask.
    Returns:
        uint64 (..., H, ceil(W / 64)).
    """
    *outer, width = masks.shape
    packed = np.packbits(masks, axis=-1, bitorder="little")
    words = -(-width // WORD)
    padded = np.zeros((*outer, words * 8), dtype=np.uint8)
    padded[..., : packed.shape[-1]] = packed
    bits = padded.view(np.uint64)
    return bits if sys.byteorder == "little" else bits.byteswap()


def count(bits: Bits) -> int:
    """Count the pixels of a packed mask.

    Args:
        bits: packed masks of any shape.
    Returns:
        The number of set bits.
    """
    if hasattr(np, "bitwise_count"):
        return int(np.bitwise_count(bits).sum(dtype=np.int64))
    return int(_COUNTS_OF_BYTES[np.ascontiguousarray(bits).view(np.uint8)].sum(dtype=np.int64))


def spread(bits: Bits, distance: int) -> Bits:
    """Join packed masks with themselves moved left and right.

    All words are taken as one line of bits: what leaves a row enters the next one, or the one before. Rows therefore
    end with spare words, at least as many pixels as all moves together, and an empty row is the first. One line takes a
    fifth of the time of rows of a few words.

    Args:
        bits: packed masks (..., H, words), C-contiguous.
        distance: pixels, 1 to 63.
    Returns:
        Packed masks of the same shape: the mask, moved left, and moved right, in one.
    """
    near, far = np.uint64(distance), np.uint64(WORD - distance)
    line = bits.reshape(-1)
    joined: Bits = line | (line << near)
    joined |= line >> near
    joined[1:] |= line[:-1] >> far
    joined[:-1] |= line[1:] << far
    return joined.reshape(bits.shape)


def dilate(bits: Bits, radius: int) -> Bits:
    """Dilate packed masks by a disk: all pixels at a Euclidean distance of at most ``radius``.

    The disk is a stack of horizontal runs, shorter the farther they are from its middle; so the
    mask is spread sideways step by step, and each step is laid down at its rows above and below.

    Args:
        bits: packed masks (..., H, words).
        radius: pixels, 0 or more.
    Returns:
        Packed masks of the same shape. Bits past the last pixel of a row may be set.
    """
    *outer, height, words = bits.shape
    radius = min(radius, height + words * WORD)  # no two pixels are farther apart
    # A row before the first one: what leaves a row to the left goes into the spare words of the row before.
    rows_of_all = np.zeros((1 + bits.size // words, words + -(-radius // WORD)), dtype=np.uint64)
    rows_of_all[1:, :words] = bits.reshape(-1, words)
    run = rows_of_all[1:].reshape(*outer, height, -1)
    dilated = np.zeros_like(run)
    reach = 0
    for rows in range(radius, -1, -1):
        wanted = math.isqrt(radius * radius - rows * rows)
        while reach < wanted:
            step = min(wanted - reach, 2 * reach + 1, WORD - 1)
            rows_of_all, reach = spread(rows_of_all, step), reach + step
            run = rows_of_all[1:].reshape(*outer, height, -1)
        if rows >= height:
            continue
        dilated[..., rows:, :] |= run[..., : height - rows, :]
        if rows:
            dilated[..., : height - rows, :] |= run[..., rows:, :]
    return dilated[..., :words]


def boundaries(bits: Bits, last_bit: int) -> Bits:
    """Mark the pixels whose 2 x 2 block (to the right and down) is neither all mask nor all outside.

    The last row and column are repeated beyond the frame, so the frame's edge is no boundary.

    Args:
        bits: packed masks (..., H, words).
        last_bit: bit of the last pixel in the last word, 0 to 63.
    Returns:
        Packed masks of the same shape.
    Source: ``_seg2bmap`` of davis2017-evaluation, davis2017/metrics.py:120-170 at ac7c43f (D. Martin's
        seg2bmap), where edges are written as three exclusive ors and two special cases.
    """
    bits = np.ascontiguousarray(bits)
    right = bits >> _ONE
    ends = right[..., -1] | (bits[..., -1] & (_ONE << np.uint64(last_bit)))
    # As one line of bits, which is faster than rows of a few words; it joins rows at their ends, which are set anew.
    right.reshape(-1)[:-1] |= bits.reshape(-1)[1:] << np.uint64(WORD - 1)
    right[..., -1] = ends
    some, every = bits | right, bits & right
    mixed: Bits = some.copy()
    mixed[..., :-1, :] |= some[..., 1:, :]
    every[..., :-1, :] &= every[..., 1:, :]
    mixed &= ~every
    return mixed


def bounding_slices(bits: Bits) -> tuple[slice, slice] | None:
    """Find the rows and words that hold a packed mask, with a pixel to spare on every side.

    Args:
        bits: a packed mask (H, words).
    Returns:
        Slices of rows and of words, inside the frame; None for an empty mask.
    """
    columns = np.bitwise_or.reduce(bits, axis=0)
    words = np.flatnonzero(columns)
    if not len(words):
        return None
    rows = np.flatnonzero(bits.any(axis=1))
    first, last = int(words[0]), int(words[-1])
    first -= first > 0 and bool(columns[first] & _ONE)
    last += last < bits.shape[1] - 1 and bool(columns[last] >> np.uint64(WORD - 1))
    return slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2), slice(first, last + 1)


def crop(masks: Sequence[Bits], width: int) -> tuple[Bits, int] | None:
    """Cut packed masks to the box that holds them all.

    Args:
        masks: N packed masks (H, words).
        width: pixels in a row.
    Returns:
        Packed masks (N, rows, words), and the bit of the last pixel in a row's last word, for ``boundaries``;
        None where all masks are empty.
    """
    box = bounding_slices(functools.reduce(np.bitwise_or, masks)) if masks else None
    if box is None:
        return None
    rows, words = box
    # A crop that ends inside the frame ends with a column of background, so that its right border is no frame border.
    last_bit = (width - 1) % WORD if words.stop * WORD >= width else WORD - 1
    return np.array([mask[rows, words] for mask in masks]), last_bit


def unpack(bits: Bits, width: int) -> npt.NDArray[np.bool_]:
    """Turn packed masks back into pixels.

    Args:
        bits: packed masks (..., H, words).
        width: pixels in a row.
    Returns:
        bool (..., H, W).
    """
    words = np.ascontiguousarray(bits if sys.byteorder == "little" else bits.byteswap())
    return np.unpackbits(words.view(np.uint8), axis=-1, count=width, bitorder="little").view(np.bool_)
