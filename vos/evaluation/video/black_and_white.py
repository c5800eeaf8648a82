"""The meaning of 255 in masks: void, or the one object of a sequence in black and white."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vos.errors import InputError
from vos.evaluation.video.protocol import Protocol
from vos.io.masks.grey_masks import equal_steps
from vos.io.masks.mask_file import read_stored_label_map
from vos.io.masks.sequence_masks import grey_values
from vos.types.arrays import LabelMap
from vos.types.label_map import VOID, only_void

MANY_VALUES = 64
"""More different grey values than this are no ids."""


def annotated_in_black_and_white(annotations: Iterable[Path]) -> bool:
    """Decide whether 255 is the object of a sequence, and not void, by the first annotation that is not empty.

    Args:
        annotations: files of the sequence, in order; one that cannot be read is passed over.
    Returns:
        True if that annotation holds only 0 and 255; False if there is none.
    """
    for path in annotations:
        try:
            mask = read_stored_label_map(path)
        except InputError:  # a fault where it is scored
            continue
        if mask.label_map.any():
            return mask.binary
    return False


def refuse_equal_steps(annotations: Iterable[Path]) -> None:
    """Refuse grey annotations in which 255 is void or the last of several objects.

    Args:
        annotations: files of the sequence.
    Raises:
        InputError: their grey values are equal steps, such as 85, 170 and 255; text as in ``one_object``.
    """
    values = sorted(grey_values(annotations))
    if equal_steps(values):
        raise InputError(
            f"the sequence's annotations hold the grey values {', '.join(map(str, values[:12]))}: 255 may be void, or "
            f"the last of {len(values)} objects in equal steps. Write ids into palette PNG files"
        )


def one_object(truth: LabelMap) -> LabelMap:
    """Make 255 the object 1, in a sequence annotated in black and white.

    Args:
        truth: uint8 (H, W), an annotation of the sequence.
    Returns:
        uint8 (H, W) of 0 and 1.
    Raises:
        InputError: it holds other values; the text has neither a subject nor a full stop.
    """
    if truth.any() and not only_void(truth):
        raise InputError("values besides 0 and 255, though the first annotation that is not empty has only these")
    only: LabelMap = (truth == VOID).astype(np.uint8)
    return only


def unclear_object(object_ids: Sequence[int]) -> str:
    """Say that a prediction of 0 and 255 does not tell which object it shows; without a subject or a full stop."""
    shown = ", ".join(map(str, object_ids)) or "none in the first annotation"
    return f"only 0 and 255, where the objects are {shown}. Write ids"


def predicted_ids(prediction: LabelMap, object_ids: Sequence[int], protocol: Protocol) -> LabelMap:
    """Read a prediction as ids: black and white is the sequence's one object.

    Args:
        prediction: uint8 (H, W).
        object_ids: the sequence's objects, as far as its first annotation shows them.
        protocol: the rules.
    Returns:
        uint8 (H, W) of 0 and ids, which need not be those of the sequence.
    Raises:
        InputError: black and white where there are several objects, or values that are no ids; text as above.
    """
    if int(prediction.max(initial=0)) <= max(object_ids, default=0):
        return prediction
    if only_void(prediction):
        if len(object_ids) != 1 and protocol.max_proposals is None:
            raise InputError(unclear_object(object_ids))
        return np.where(prediction == VOID, object_ids[0], 0).astype(np.uint8)
    values = int(np.count_nonzero(np.bincount(prediction.ravel())))
    if values > MANY_VALUES:
        raise InputError(f"{values} different values, as of an anti-aliased mask or a photo; expected ids")
    if (prediction == VOID).any():
        raise InputError("255 among other values, as of void or of a mask with soft edges; expected ids")
    return prediction
