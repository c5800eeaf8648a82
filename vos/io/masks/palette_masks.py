"""Palette indices of a mask file to object ids: the index is the id, unless the colours say otherwise."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from vos.errors import AnnotationError
from vos.io.masks.grey_masks import HOW_TO_SAVE, ONE_OBJECT, grey_to_ids
from vos.io.masks.mask_edges import edge_values, is_dithered
from vos.io.masks.rgb_masks import BLACK, WHITE, davis_ids
from vos.types.arrays import AnyArray, LabelMap
from vos.types.label_map import object_ids
from vos.types.palette import PALETTE

BY_INDEX = "its palette is not DAVIS's"
"""Beginning of the note on a mask whose indices are the ids under other colours."""

_DAVIS = PALETTE.tobytes()


def palette_to_ids(
    indices: AnyArray, palette: AnyArray, sequence_values: Collection[int] = ()
) -> tuple[LabelMap, str | None]:
    """Read palette indices as ids.

    With the DAVIS palette the index is the id. Programs that optimise or edit a file reorder and shorten its palette:
    where all colours in use are DAVIS colours, the colour gives the id. With any other palette the index is the id.

    Args:
        indices: uint8 (H, W).
        palette: uint8 (P, 3), RGB.
        sequence_values: as for ``grey_to_ids``, where the palette is a grey ramp.
    Returns:
        uint8 (H, W) of 0, ids 1..254 and void 255; and a note for the user where the palette is not DAVIS's.
    Raises:
        AnnotationError: dithered or smoothed colours, or a palette that gives the background an index other than 0.
    """
    if _DAVIS.startswith(palette.tobytes()) and int(indices.max(initial=0)) < len(palette):
        return indices, None
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    known = used[used < len(palette)]
    if len(known) == len(used) and np.array_equal(palette[used], PALETTE[used]):
        return indices, None
    if is_grey_ramp(palette) and len(known) == len(used):
        return grey_to_ids(indices, sequence_values)
    colours = {int(index): _packed(palette[index]) for index in known}
    background = next((index for index, colour in colours.items() if colour == BLACK), 0)
    if is_dithered(indices, background):
        raise AnnotationError(
            f"a dithered palette picture: objects are mixed pixel by pixel of the indices {_shown(used)}. "
            "Convert it to a palette with the nearest colour and without dithering"
        )
    if len(known) == len(used) and set(colours.values()) <= {BLACK, WHITE} and WHITE in colours.values():
        white = [index for index, colour in colours.items() if colour == WHITE]
        return np.isin(indices, white).astype(np.uint8), f"a black and white mask, {ONE_OBJECT}"
    ids = davis_ids(palette)
    if len(known) == len(used) and (ids[used] >= 0).all():
        table = np.zeros(256, dtype=np.uint8)
        table[used] = ids[used]
        label_map = table[indices]
        return label_map, (
            "its palette holds the DAVIS colours in another order, so colours gave the ids "
            f"{_shown(np.array(object_ids(label_map)))}"
        )
    _refuse_foreign(indices, used, colours)
    return indices, f"{BY_INDEX}, so indices are the ids {_shown(used[used > 0])}"


def _refuse_foreign(indices: AnyArray, used: AnyArray, colours: dict[int, int]) -> None:
    """Refuse indices under a palette of other colours that are no ids."""
    soft = edge_values(indices, ordered=False)
    if len(soft) >= 2 and len(soft) > (len(used) - 1) / 2:
        raise AnnotationError(
            f"a palette picture with {len(used)} colours, {len(soft)} of them only at edges, as anti-aliasing leaves "
            f"them. {HOW_TO_SAVE}"
        )
    black = [index for index, colour in colours.items() if colour == BLACK]
    if black and 0 not in black:
        first = f"{colours[0]:06x}" if 0 in colours else None
        has = f"index 0, the background of a mask, is an object in #{first}" if first else "index 0 is not used"
        raise AnnotationError(
            f"its palette has black as index {black[0]}, and {has}. Save it with black as index 0, or as an RGB "
            "picture in the DAVIS colours"
        )


def is_foreign(palette: AnyArray) -> bool:
    """Test whether a palette holds other colours than DAVIS's, black and white alone, or greys by value.

    Args:
        palette: uint8 (P, 3), RGB.
    """
    black_and_white = bool(np.isin(palette, (0, 255)).all()) and bool((palette == palette[:, :1]).all())
    return not black_and_white and not is_grey_ramp(palette) and bool((davis_ids(palette) < 0).any())


def is_grey_ramp(palette: AnyArray) -> bool:
    """Test whether index k has the grey value k, as in a greyscale image saved with a palette.

    Args:
        palette: uint8 (P, 3), RGB.
    """
    ramp = np.arange(len(palette), dtype=np.uint8)
    return len(palette) > 2 and bool((palette == ramp[:, None]).all())


def _packed(colour: AnyArray) -> int:
    return int(colour[0]) << 16 | int(colour[1]) << 8 | int(colour[2])


def _shown(values: AnyArray) -> str:
    shown = ", ".join(str(int(value)) for value in values[:12])
    return shown + (f", ... {int(values[-1])}" if len(values) > 12 else "")
