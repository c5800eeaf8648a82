"""Grey values of a mask file to object ids: ids as stored, black and white, or equal steps of grey."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from vos.errors import AnnotationError
from vos.io.masks.mask_edges import MAX_RAMP_SHARE, edge_values, is_dithered, ramp_share
from vos.types.arrays import AnyArray, LabelMap
from vos.types.label_map import MAX_OBJECT_ID, VOID

FIT_IT = "or fit it to the image with `vos init VIDEO --mask FILE -o mask.png`"
ONE_OBJECT = "read as one object with id 1"
"""End of the note on a mask that does not say which object it shows."""

HOW_TO_SAVE = "Save it as PNG without smoothing or anti-aliasing (nearest neighbour, hard brush)"

_MAX_SHADES = 51  # equal steps of 5 or more; finer ones cannot be told from ids


def grey_to_ids(grey: AnyArray, sequence_values: Collection[int] = ()) -> tuple[LabelMap, str | None]:
    """Read grey values as ids.

    Args:
        grey: uint8 (H, W).
        sequence_values: grey values of all masks of the sequence, which decide whether values are equal steps; empty
            for a mask on its own.
    Returns:
        uint8 (H, W) of 0, ids 1..254 and void 255; and a note for the user where more than the values decided.
    Raises:
        AnnotationError: values that smoothing, anti-aliasing or lossy compression left, or equal steps that other masks
            of the sequence do not keep to.
    """
    counts = np.bincount(grey.ravel(), minlength=256)
    own = [int(value) for value in np.flatnonzero(counts) if value]
    values = sorted({*own, *sequence_values})
    in_steps = equal_steps(values)
    if own == [VOID] and not in_steps:
        if is_dithered(grey, 0):
            raise AnnotationError(
                "a dithered black and white picture: objects are mixed of black and white pixels. "
                "Convert it with a threshold and without dithering"
            )
        return (grey == VOID).astype(np.uint8), f"a black and white mask, {ONE_OBJECT}"
    if len(own) > 1:
        _refuse_smoothed(grey, counts, own, in_steps or equal_steps(own))
    shown = ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
    if in_steps:
        ids = np.zeros(256, dtype=np.uint8)
        ids[values] = np.arange(1, len(values) + 1)
        return ids[grey], f"grey values {shown} in equal steps, read as objects 1 to {len(values)}"
    if equal_steps(own):
        raise AnnotationError(
            f"grey values in equal steps, as of {len(own)} objects, but the masks of its sequence hold {shown} in all. "
            "Write the ids 1, 2, 3 into all of them"
        )
    if VOID not in own:
        return grey, None
    return grey, f"255 is void beside ids, so {int(counts[VOID]):,} pixels belong to no object"


def wide_to_ids(values: AnyArray) -> tuple[LabelMap, str | None]:
    """Read pixels of more than 8 bits as ids.

    Args:
        values: (H, W), integer or float, as stored.
    Returns:
        As ``grey_to_ids``.
    Raises:
        AnnotationError: values that are no ids: fractions, negative ones, or above 254.
    """
    low, high = values.min(), values.max()
    if low == 0 and high in (2**16 - 1, 2**32 - 1) and bool(((values == low) | (values == high)).all()):
        return (values == high).astype(np.uint8), f"a black and white mask, {ONE_OBJECT}"
    if not 0 <= low <= high <= MAX_OBJECT_ID or bool((values != np.floor(values)).any()):
        raise AnnotationError(
            f"mask has 16 or more bits a pixel (values {low} to {high}), a label map has 8. "
            "Save it as an 8-bit palette or greyscale PNG with ids 1 to 254"
        )
    return values.astype(np.uint8), None


def equal_steps(values: Sequence[int]) -> bool:
    """Test whether values are 255/n, 2*255/n, ... 255, rounded in any way: shades that a person can tell apart.

    Args:
        values: from 1 to 255, ascending.
    """
    count = len(values)
    steps = (255 * step / count for step in range(1, count + 1))
    return 2 <= count <= _MAX_SHADES and all(abs(value - step) < 1 for value, step in zip(values, steps, strict=True))


def _refuse_smoothed(grey: AnyArray, counts: AnyArray, values: list[int], in_steps: bool) -> None:
    soft = [value for value in edge_values(grey, ordered=True) if value]
    white_with_greys = counts[VOID] > counts[1:].sum() / 2 and not in_steps
    if ramp_share(grey) > MAX_RAMP_SHARE or len(soft) > len(values) / 2 or white_with_greys:
        at_edges = f", {len(soft)} of them only at edges" if soft else ""
        raise AnnotationError(
            f"{len(values) + bool(counts[0])} different grey values{at_edges}, as anti-aliased edges or lossy "
            f"compression leave them; expected ids, or only 0 and 255. {HOW_TO_SAVE}, "
            f"{FIT_IT}; objects one pixel wide go into a palette PNG"
        )


def as_grey(pixels: AnyArray) -> AnyArray | None:
    """Return the grey values of a picture without colour, or None where it has some.

    Args:
        pixels: uint8 (H, W) or (H, W, 3).
    """
    if pixels.ndim == 2:
        return pixels
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    equal = np.array_equal(red, green) and np.array_equal(red, blue)
    return np.ascontiguousarray(red) if equal else None
