"""Checkpoints whose tensors are as large in memory as in the file.

A tensor can claim any shape at no cost: by stride 0, on the device ``meta``, or as sparse. A network built to fit it
then takes all memory. Such files are refused before anything is built.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vos.errors import WeightsError

MOST_SHARED = 4
"""Tied weights share memory; all tensors together have at most this many times the bytes of their storages."""
MOST_EXPANDED = 1.5
"""torch stores without compression: a zip file that unpacks to more than this many times its size is none of its."""


def refuse_expanding(path: Path) -> None:
    """Refuse a zip file that unpacks to much more than its size, before torch reads it.

    Args:
        path: a file of ``torch.save``; the older format, which is no zip file, passes.
    Raises:
        WeightsError: it is compressed, or its entries overlap.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return  # torch says what is wrong with it
    size = path.stat().st_size
    if unpacked > MOST_EXPANDED * size:
        raise WeightsError(
            f"{path}: {size} bytes that unpack to {unpacked}, expected tensors that are not compressed. "
            "The file is foreign: fetch it again."
        )


def refuse_unstored(state: Mapping[str, Any], where: str) -> None:
    """Refuse tensors with more elements than their storage holds (expanded views), or with NaN.

    Args:
        state: tensors by name; values of other types are not checked.
        where: the file, for messages.
    Raises:
        WeightsError: a tensor without storage, larger than its storage, sparse, quantized or with NaN; or all together
            are much larger than their storages.
    """
    import torch

    claimed, storages = 0, dict[int, int]()
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "quantized" if tensor.is_quantized else "without data" if tensor.is_meta else "sparse"
            raise WeightsError(f'{where}: tensor "{name[:80]}" is {kind}, expected plain numbers.')
        size, storage = tensor.numel() * tensor.element_size(), tensor.untyped_storage()
        if size > storage.nbytes():
            raise WeightsError(
                f'{where}: tensor "{name[:80]}" claims {size} bytes, but {storage.nbytes()} are stored. '
                "The file is damaged or foreign: fetch it again."
            )
        claimed += size
        storages[storage.data_ptr()] = storage.nbytes()
    stored = sum(storages.values())
    if claimed > MOST_SHARED * stored:
        raise WeightsError(f"{where}: its tensors claim {claimed} bytes, but {stored} are stored.")
    refuse_nan(state, where)


def refuse_nan(state: Mapping[str, Any], where: str) -> None:
    """Refuse weights that hold NaN: a network with one gives NaN for every image, which reads as empty masks.

    Args:
        state: tensors by name; values of other types are not checked.
        where: the file, for messages.
    Raises:
        WeightsError: a tensor holds NaN; the message names the first.
    """
    import torch

    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.is_meta:
            continue
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            continue
        if tensor.sum().isnan() and tensor.isnan().any():  # a sum takes a fifth of the time; infinities fool it
            raise WeightsError(
                f'{where}: tensor "{name[:80]}" holds NaN. The file is damaged, or its training failed: fetch it again.'
            )
