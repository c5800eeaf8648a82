"""Run-length codes of other tools: COCO's, CVAT's rows of a box, and Label Studio's packed bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from vos.plugin import AnyArray, BoolArray

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


def from_coco(code: Any) -> BoolArray:
    """Decode COCO's run-length code, compressed (text) or not (a list of counts)."""
    if isinstance(code["counts"], list):
        code = coco_mask.frPyObjects(code, *code["size"])
    return np.asarray(coco_mask.decode(code), dtype=np.bool_)


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
    counts = np.asarray(counts, dtype=np.int64)
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
