"""Run-length codes of other tools: COCO's, CVAT's rows of a box, and Label Studio's packed bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from vos.plugin import AnyArray, BoolArray

MAX_PIXELS = 1 << 28
"""Largest picture that a file may name; a larger one is a damaged file."""

_FIRST_CHARACTER = 48
_MAX_CHARACTERS = 7
"""Characters of one compressed count: 35 bits."""

_WORD_BITS = 8
_RUN_BITS = (4, 8, 12, 16)
"""Label Studio: the four lengths of a run's counter, in bits; a file names its own."""


def to_coco(mask: BoolArray) -> dict[str, Any]:
    """Encode a mask as COCO's compressed run-length code: ``{"size": [H, W], "counts": text}``."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(n) for n in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def to_coco_counts(mask: BoolArray) -> dict[str, Any]:
    """Encode a mask as COCO's uncompressed run-length code: ``{"size": [H, W], "counts": [...]}``."""
    return {"size": list(mask.shape), "counts": runs_of(mask.T).tolist()}


def from_coco(code: Any, size: tuple[int, int]) -> BoolArray:
    """Decode COCO's run-length code, compressed (text) or not (a list of counts).

    pycocotools is not used: its decoder writes beyond its memory where the counts do not fit the size.

    Args:
        code: ``{"size": [H, W], "counts": text or list}``.
        size: (H, W) of the picture.
    Returns:
        bool (H, W).
    Raises:
        ValueError: the code is of another size, or its counts are damaged.
    Source: pycocotools, common/maskApi.c (rleFrString, rleDecode).
    """
    height, width = checked_size(size)
    if list(code["size"]) != [height, width]:
        raise ValueError(f"a mask of the size {code['size']!r:.60}, expected {[height, width]}")
    given = code["counts"]
    counts = _counts_of_text(given) if isinstance(given, str) else given
    mask: BoolArray = from_runs(counts, (width, height)).T
    return mask


def checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size (H, W) that a file names, if a picture can have it.

    Raises:
        ValueError: no whole numbers above 0, or more than ``MAX_PIXELS`` pixels.
    """
    height, width = size
    if not (type(height) is int and type(width) is int and height > 0 and width > 0):
        raise ValueError(f"a picture of the size {width!r:.30} x {height!r:.30}")
    if height * width > MAX_PIXELS:
        raise ValueError(f"a picture of {width}x{height} pixels; at most {MAX_PIXELS:,} pixels are read")
    return height, width


def _counts_of_text(text: str) -> AnyArray:
    """Parse COCO's compressed counts: 5 bits a character, lowest first, as differences to the count before the last."""
    characters = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if not len(characters):
        return characters
    ends = np.flatnonzero((characters & 0x20) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if ((characters < 0) | (characters > 0x3F)).any() or ends.size == 0 or ends[-1] != len(characters) - 1:
        raise ValueError("run lengths that end early, or are no COCO run lengths")
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHARACTERS:
        raise ValueError("a run length that is too long")
    places = 5 * (np.arange(len(characters)) - np.repeat(starts, lengths))
    counts: AnyArray = np.add.reduceat((characters & 0x1F) << places, starts)
    counts -= np.where(characters[ends] & 0x10, np.int64(1) << (5 * lengths), 0)  # the sign
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def runs_of(values: BoolArray) -> AnyArray:
    """Count runs of equal values, row by row, beginning with False (a count that may be 0)."""
    flat = np.concatenate([[False], values.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], changes, [values.size]]))


def from_runs(counts: Sequence[int] | AnyArray, size: tuple[int, int]) -> BoolArray:
    """Fill a mask of size (H, W) from counts that ``runs_of`` made.

    Raises:
        ValueError: the counts do not add up to H x W.
    """
    counts, total = np.asarray(counts, dtype=np.int64), size[0] * size[1]
    if counts.ndim != 1 or (counts < 0).any() or (counts > total).any() or counts.sum() != total:
        raise ValueError(f"run lengths that do not add up to {total:,} pixels")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.asarray(flat.reshape(size))


def to_label_studio(mask: BoolArray) -> list[int]:
    """Encode a mask as Label Studio's brush stores it: packed bits of an RGBA picture whose channels are all alike.

    Source: label_studio_sdk/converter/brush.py (encode_rle, decode_rle); the code is thi.ng/rle-pack's.

    Args:
        mask: bool (H, W).
    Returns:
        Bytes as integers: 32 bits for the number of values, 5 for their length less 1, 4 x 4 for the counters' lengths
        less 1, and then for each run: 1, which counter, the length less 1, and the value.
    """
    counts = runs_of(mask) * 4
    values = np.where(np.arange(len(counts)) % 2 == 1, 255, 0)
    counts, values = counts[counts > 0], values[counts > 0]
    longest = 1 << _RUN_BITS[-1]
    pieces = -(-counts // longest)  # a long run is several
    lengths = np.full(int(pieces.sum()), longest, dtype=np.int64)
    lengths[np.cumsum(pieces) - 1] = counts - (pieces - 1) * longest
    values = np.repeat(values, pieces)
    kinds = np.searchsorted([1 << bits for bits in _RUN_BITS], lengths)
    counter_bits = np.asarray(_RUN_BITS)[kinds]
    header = _bits(mask.size * 4, 32) + _bits(_WORD_BITS - 1, 5) + [b for n in _RUN_BITS for b in _bits(n - 1, 4)]
    starts = len(header) + np.concatenate([[0], np.cumsum(3 + counter_bits + _WORD_BITS)])
    stream = np.zeros(int(starts[-1]), dtype=np.uint8)
    stream[: len(header)] = header
    starts = starts[:-1]
    stream[starts] = 1
    stream[starts + 1], stream[starts + 2] = kinds >> 1, kinds & 1
    for bit in range(_RUN_BITS[-1]):
        has = bit < counter_bits
        stream[starts[has] + 3 + bit] = (lengths[has] - 1) >> (counter_bits[has] - 1 - bit) & 1
    for bit in range(_WORD_BITS):
        stream[starts + 3 + counter_bits + bit] = values >> (_WORD_BITS - 1 - bit) & 1
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def from_label_studio(packed: Sequence[int], size: tuple[int, int]) -> BoolArray:
    """Decode what ``to_label_studio`` or Label Studio itself encoded.

    Args:
        packed: bytes as integers.
        size: (H, W).
    Returns:
        bool (H, W): where the alpha channel is not 0.
    Raises:
        ValueError: the code is damaged, or of another size.
    """
    checked_size(size)
    bits = "".join(map("{:08b}".format, packed))
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        if at > len(bits):
            raise ValueError("a brush mask ends early")
        return int(bits[at - count : at], 2)

    total, word = take(32), take(5) + 1
    counters = [take(4) + 1 for _ in range(4)]
    if total != size[0] * size[1] * 4:
        raise ValueError(f"a brush mask of {total} values, expected {size[0] * size[1] * 4}")
    values: AnyArray = np.empty(total, dtype=np.uint32)
    done = 0
    while done < total:
        same = take(1)
        length = take(counters[take(2)]) + 1
        if same:
            values[done : done + length] = take(word)
        else:
            values[done : done + length] = [take(word) for _ in range(length)]
        done += length
    return np.asarray(values[3::4].reshape(size) > 0)


def _bits(value: int, count: int) -> list[int]:
    return [value >> (count - 1 - bit) & 1 for bit in range(count)]
