"""Decisions for all masks of a sequence together: the meaning of grey values, and of palettes other than DAVIS's."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from vos.errors import AnnotationError
from vos.io.images.png_file import SIGNATURE, parse_png
from vos.io.masks.grey_masks import as_grey
from vos.io.masks.mask_decoding import StoredMask, decode_mask, read_content
from vos.io.masks.palette_masks import BY_INDEX, is_foreign, is_grey_ramp, palette_to_ids
from vos.types.arrays import AnyArray

_ONE_PALETTE = "Save all masks with DAVIS's palette, or as RGB pictures in its colours."


def grey_values(paths: Iterable[Path | str]) -> frozenset[int]:
    """Gather the grey values of the masks of a sequence: together they decide what 255 is.

    In equal steps such as 85, 170, 255 they are objects 1 to 3, also in a mask that lacks one of them.

    Args:
        paths: the mask files; those in colour or that cannot be read are passed over.
    Returns:
        Values from 1 to 255.
    """
    found: set[int] = set()
    for path in paths:
        with suppress(AnnotationError):
            content = read_content(path)
            palette = parse_png(content).palette if content.startswith(SIGNATURE) else None
            if palette is not None and not is_grey_ramp(palette):
                continue  # not decompressed: a folder may hold thousands
            grey = _opaque_grey(decode_mask(content))
            if grey is not None:
                found.update(np.flatnonzero(np.bincount(grey.ravel(), minlength=256)).tolist())
    return frozenset(found - {0})


def refuse_mixed_palettes(paths: Iterable[Path | str]) -> None:
    """Refuse masks of a sequence that the palette of each gives other ids, as where each file was optimised on its own.

    The index of an object has one colour in all of them, and either the indices or the colours are the ids. Palettes of
    DAVIS's colours may differ, since the colours give the ids.

    Args:
        paths: the mask files; those that cannot be read are passed over.
    Raises:
        AnnotationError: two masks differ; it names both.
    """
    colours: dict[int, tuple[str, Path | str]] = {}
    readings: dict[bool, Path | str] = {}  # by colour: True, by index: False
    compared: set[tuple[bytes, bytes]] = set()
    for path in paths:
        try:
            content = read_content(path)
            palette = parse_png(content).palette if content.startswith(SIGNATURE) else None
            if palette is None or not is_foreign(palette):
                continue
            indices = decode_mask(content).pixels
            used = np.flatnonzero(np.bincount(indices.ravel()))
            if (palette.tobytes(), used.tobytes()) in compared:
                continue  # it tells nothing new, and reading ids takes longer than decoding
            label_map, note = palette_to_ids(indices, palette)
        except AnnotationError:
            continue
        compared.add((palette.tobytes(), used.tobytes()))
        by_colour = not np.array_equal(label_map, indices)
        if by_colour or BY_INDEX in (note or ""):
            readings.setdefault(by_colour, path)
        if len(readings) > 1:
            raise AnnotationError(
                f"{readings[True]}: the colours in use give its ids, and in {readings[False]} the indices, since there "
                f"are other colours in use. {_ONE_PALETTE}"
            )
        if by_colour:
            continue
        for index in used[used < len(palette)].tolist():
            colour = palette[index].tobytes().hex()
            before, other = colours.setdefault(index, (colour, path))
            if index and before != colour:  # whatever colour the background has
                raise AnnotationError(
                    f"{path}: index {index} of its palette is #{colour}, and #{before} in {other}, so that an index is "
                    f"not one object. {_ONE_PALETTE}"
                )


def _opaque_grey(stored: StoredMask) -> AnyArray | None:
    """The grey values of a mask, 0 where it is transparent; None where it has colours or more than 8 bits."""
    if stored.pixels.dtype != np.uint8 or (stored.palette is not None and not is_grey_ramp(stored.palette)):
        return None
    grey = as_grey(stored.pixels)
    return grey if grey is None or stored.alpha is None else np.where(stored.alpha > 0, grey, 0)
