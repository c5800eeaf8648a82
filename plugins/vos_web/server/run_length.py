"""Label maps as run lengths: how the page and the server exchange them.

A label map is a sequence of little-endian 32-bit words in row-major order, ``id << 24 | length``: a run of ``length``
pixels of that id. A run is at most 2^24 - 1 pixels long; a longer one is several words.
"""

from __future__ import annotations

import numpy as np

from vos.plugin import InputError, LabelMap, Size

MAX_RUN = (1 << 24) - 1


def encode_runs(label_map: LabelMap) -> bytes:
    """Encode a label map.

    Args:
        label_map: uint8 (H, W).
    Returns:
        The words, as bytes.
    """
    flat = np.ascontiguousarray(label_map).ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    ids = flat[starts].astype(np.uint32)
    if lengths.max() > MAX_RUN:
        pieces = -(-lengths // MAX_RUN)
        last = np.cumsum(pieces) - 1
        rests = lengths - (pieces - 1) * MAX_RUN
        ids = np.repeat(ids, pieces)
        lengths = np.full(int(pieces.sum()), MAX_RUN, dtype=np.int64)
        lengths[last] = rests
    words: bytes = (ids << np.uint32(24) | lengths.astype(np.uint32)).astype("<u4").tobytes()
    return words


def decode_runs(data: bytes, size: Size) -> LabelMap:
    """Decode a label map.

    Args:
        data: words as ``encode_runs`` makes them.
        size: (H, W) of the label map.
    Returns:
        uint8 (H, W).
    Raises:
        InputError: not whole words, or runs that do not fill the frame exactly.
    """
    height, width = size
    if not data or len(data) % 4:
        raise InputError(f"a mask of {len(data)} bytes is not a sequence of 32-bit runs.")
    words = np.frombuffer(data, dtype="<u4")
    lengths = (words & np.uint32(MAX_RUN)).astype(np.int64)
    if int(lengths.sum()) != height * width:
        raise InputError(f"a mask of {int(lengths.sum())} pixels does not fit the frame of {width}x{height}.")
    label_map: LabelMap = np.repeat((words >> np.uint32(24)).astype(np.uint8), lengths).reshape(size)
    return label_map
