"""Convert arrays and tensors that hold masks to label maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from vos.errors import AnnotationError
from vos.types.arrays import AnyArray, LabelMap
from vos.types.label_map import MAX_OBJECT_ID, VOID

EXPECTED = "a label map (H, W) of ids, a bool mask (H, W) or (K, H, W), or a tensor of these"


def as_array(values: Any) -> AnyArray | None:
    """Convert an array or tensor that holds a mask to a numpy array.

    Args:
        values: an array, a tensor of torch or of another library, on any device.
    Returns:
        The array; None where ``values`` is not an array or tensor, such as a number, a text or a list.
    """
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "detach") and hasattr(values, "cpu"):  # a tensor of torch, which need not be installed
        values = values.detach().cpu()
        if str(values.dtype) in ("torch.bfloat16", "torch.float16"):  # numpy has no bfloat16
            values = values.float()
        return np.asarray(values)
    if (hasattr(values, "__array__") or hasattr(values, "__dlpack__")) and not np.isscalar(values):
        return np.asarray(values) if hasattr(values, "__array__") else np.from_dlpack(values)
    return None


def to_label_map(values: Any) -> LabelMap:
    """Make a label map of an array or a tensor.

    Bool is one object with id 1, and bool (K, H, W) is K objects with the ids 1 to K, later ones on top. Values 0 and
    255 alone are one object too. All others are ids, of any integer type or whole floats, and 255 among ids is void.

    Args:
        values: (H, W), also with axes of length 1, such as (1, H, W) and (H, W, 1); or bool (K, H, W).
    Returns:
        uint8 (H, W): 0, ids 1..254, void 255.
    Raises:
        AnnotationError: another shape, fractions, or values that are no ids; a reason that begins with what was found.
    """
    array = as_array(values)
    if array is None:
        raise AnnotationError(f"{type(values).__name__}, expected {EXPECTED}")
    found = f"{array.dtype} {array.shape}"
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.dtype == np.bool_ and array.ndim == 3 and len(array) <= MAX_OBJECT_ID:
        return _stacked(array)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "buif":
        raise AnnotationError(f"label map is {found}, expected {EXPECTED}")
    if array.dtype == np.bool_:
        mask: LabelMap = array.astype(np.uint8)
        return mask
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and not bool((array == np.floor(array)).all()):
        raise AnnotationError(
            f"label map is {found} with fractions ({low:.3g} to {high:.3g}), as probabilities are. "
            "Apply a threshold first, such as mask > 0.5"
        )
    if low < 0 or high > VOID:
        raise AnnotationError(f"label map is {found} with values {low} to {high}, expected ids 1 to {MAX_OBJECT_ID}")
    if high == VOID and not bool(((array > 0) & (array < VOID)).any()):
        array = array == VOID
    ids: LabelMap = array.astype(np.uint8, copy=False)
    return ids


def _stacked(masks: AnyArray) -> LabelMap:
    label_map = np.zeros(masks.shape[1:], dtype=np.uint8)
    for row, mask in enumerate(masks, start=1):
        label_map[mask] = row
    return label_map
