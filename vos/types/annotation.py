"""An annotation: a label map for one frame that starts objects or corrects them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vos.errors import AnnotationError, EmptyMaskError
from vos.types.arrays import LabelMap, Size
from vos.types.label_map import VOID, object_ids
from vos.types.mask_values import to_label_map
from vos.types.whole_numbers import whole_number


@dataclass(frozen=True, eq=False)
class Annotation:
    """A label map that a person or an initializer gives for one frame.

    An id that no earlier annotation holds adds an object; an id that one holds corrects it. Ids
    that the label map leaves out are tracked on unchanged. Void pixels (255) are ignored.

    Attributes:
        label_map: uint8 (H, W) at the frame's own size: 0, ids 1..254, 255 void; read-only. It may be given as
            ``to_label_map`` takes it: a bool mask, 0 and 255, ids of any integer type, a tensor.
        frame_index: index of the frame in its source, from 0.
    Raises:
        AnnotationError: no label map, or a frame index that is negative or no whole number.
        EmptyMaskError: no object in it.
    """

    label_map: LabelMap
    frame_index: int = 0

    def __post_init__(self) -> None:
        try:
            label_map = to_label_map(self.label_map)
        except AnnotationError as error:
            raise AnnotationError(f"annotation of frame {self.frame_index}: {error}.") from None
        object.__setattr__(
            self, "frame_index", whole_number(self.frame_index, "annotation's frame index", AnnotationError)
        )
        if self.frame_index < 0:
            raise AnnotationError(f"annotation's frame index is {self.frame_index}, expected 0 or more")
        own = np.array(label_map, order="C")  # a copy: it is read when its frame is tracked
        own.flags.writeable = False
        object.__setattr__(self, "label_map", own)
        if not self.object_ids:
            raise EmptyMaskError(
                f"annotation of frame {self.frame_index}: no object in it (all pixels are 0 or {VOID}). "
                "Mark at least one object with an id from 1 to 254."
            )

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids in the label map, ascending."""
        return object_ids(self.label_map)

    @property
    def size(self) -> Size:
        """(H, W) of the label map, in pixels."""
        height, width = self.label_map.shape
        return int(height), int(width)
