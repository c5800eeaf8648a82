"""Colours and transparency of a mask file to object ids: DAVIS colours, one colour on black, cut-outs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vos.errors import AnnotationError
from vos.io.masks.grey_masks import FIT_IT, ONE_OBJECT
from vos.types.arrays import AnyArray, BoolArray, LabelMap
from vos.types.label_map import object_ids
from vos.types.palette import PALETTE

BLACK, WHITE = 0x000000, 0xFFFFFF

ONE_COLOUR = "one colour"
"""Beginning of the note on a mask in one colour that is not DAVIS's."""

MAX_FLAT_COLOURS = 16
"""Most colours of painted objects; opaque pixels of more colours are the image of one cut-out object."""

_WEIGHTS = np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
_SOFT_ALPHA = (
    "its transparency has {count} steps, as a soft brush or anti-aliasing leaves them. "
    f"Save it with hard edges: every pixel opaque or transparent, {FIT_IT}"
)


def davis_ids(colours: AnyArray) -> npt.NDArray[np.int16]:
    """Map colours of the DAVIS palette to ids.

    Args:
        colours: uint8 (..., 3), RGB.
    Returns:
        int16 (...): the id of each colour, -1 where it is no DAVIS colour.
    """
    packed = colours.astype(np.uint32) @ _WEIGHTS
    palette = PALETTE.astype(np.uint32) @ _WEIGHTS
    order = np.argsort(palette, kind="stable")
    row = order[np.clip(np.searchsorted(palette[order], packed), 0, 255)]
    return np.where(palette[row] == packed, row, -1).astype(np.int16)


def colours_to_ids(colours: AnyArray) -> tuple[LabelMap, str | None]:
    """Read an RGB picture as ids.

    Args:
        colours: uint8 (H, W, 3), RGB.
    Returns:
        uint8 (H, W) of ids; and a note for the user.
    Raises:
        AnnotationError: several colours that are not in the DAVIS palette.
    """
    ids = davis_ids(colours)
    foreign = ids < 0
    if not foreign.any():
        label_map: LabelMap = ids.astype(np.uint8)
        return label_map, f"an RGB mask in the DAVIS palette's colours, mapped to ids {object_ids(label_map)}"
    packed = colours.astype(np.uint32) @ _WEIGHTS
    values, counts = np.unique(packed, return_counts=True)
    if len(values) <= 2 and set(values.tolist()) - {BLACK} and (len(values) == 1 or values[0] == BLACK):
        shown = _triple(int(values[-1]))
        return (packed != BLACK).astype(np.uint8), f"{ONE_COLOUR}, {shown}, on black, {ONE_OBJECT}"
    raise AnnotationError(_foreign_colours(int(foreign.sum()), values, counts))


def alpha_to_ids(alpha: AnyArray, opaque_colours: AnyArray) -> tuple[BoolArray, bool]:
    """Decide what the transparency of a picture says.

    Args:
        alpha: uint8 (H, W), 0 transparent.
        opaque_colours: uint8 (H, W, 3), RGB, or (H, W), grey.
    Returns:
        bool (H, W) of the pixels that are not transparent; and True if they are one object: the picture is a cut-out or
        a layer painted in one colour that is no id.
    Raises:
        AnnotationError: transparency with soft edges, or nothing that is opaque.
    """
    steps = np.unique(alpha)
    if len(steps) > 2 or (len(steps) == 2 and steps[0] != 0):
        raise AnnotationError(_SOFT_ALPHA.format(count=len(steps)))
    opaque = np.asarray(alpha > 0)
    if not opaque.any():
        raise AnnotationError("all of it is transparent. Paint the objects on it, opaque")
    if opaque.all():
        return opaque, False
    grey = opaque_colours.ndim == 2
    shown = opaque_colours[opaque]
    packed = shown if grey else shown.astype(np.uint32) @ _WEIGHTS
    values = np.unique(packed)
    if len(values) > MAX_FLAT_COLOURS and (grey or (davis_ids(shown) < 0).any()):
        return opaque, True
    # A layer in one colour: black and white are no ids, and neither is a colour outside the DAVIS palette.
    one = int(values[0])
    no_id = one == 0 or (one == 255 if grey else int(davis_ids(shown[:1])[0]) < 0)
    return opaque, len(values) == 1 and no_id


def _foreign_colours(pixels: int, values: AnyArray, counts: AnyArray) -> str:
    """Describe an RGB mask in other colours than DAVIS's, and say how to give it."""
    often = (int(v) for v in values[np.argsort(-counts, kind="stable")] if v != BLACK)
    first = _triple(next(value for value in often if _davis_id(value) < 0))
    if len(values) > 64:
        return (
            f"RGB mask with {pixels} pixels in colours outside the DAVIS palette, {len(values)} colours in all, first "
            f"{first}, as a photo, soft edges or lossy compression have them. Save it as PNG without smoothing, "
            f"{FIT_IT}"
        )
    return (
        f"RGB mask with {pixels} pixels in colours outside the DAVIS palette, first {first}. Paint objects 1, 2, 3 in "
        "(128, 0, 0), (0, 128, 0), (128, 128, 0) on black, give a black and white mask of each: --mask 1=FILE "
        f"--mask 2=FILE, {FIT_IT}"
    )


def _davis_id(packed: int) -> int:
    return int(davis_ids(np.array([_triple(packed)], dtype=np.uint8))[0])


def _triple(packed: int) -> tuple[int, int, int]:
    return packed >> 16, packed >> 8 & 255, packed & 255
