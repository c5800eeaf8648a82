"""A given label map at a frame: where objects begin, or where one is corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vos.errors import AnnotationError, EmptyMaskError
from vos.types.arrays import LabelMap, Size
from vos.types.label_map import VOID, object_ids


@dataclass(frozen=True, eq=False)
class Annotation:
    """A label map that a person or an initializer gives for one frame.

    An id that no earlier annotation holds adds an object; an id that one holds corrects it. Ids
    that the label map leaves out go on as tracked. Void pixels (255) say nothing.

    Attributes:
        label_map: uint8 (H, W) at the frame's own size: 0, ids 1..254, 255 void; read-only.
        frame_index: index of the frame in its source, from 0.
    Raises:
        AnnotationError: not uint8 (H, W), or a negative frame index.
        EmptyMaskError: no object in it.
    """

    label_map: LabelMap
    frame_index: int = 0

    def __post_init__(self) -> None:
        label_map = np.asarray(self.label_map)
        if label_map.dtype != np.uint8 or label_map.ndim != 2:
            raise AnnotationError(
                f"annotation of frame {self.frame_index}: label map is {label_map.dtype} "
                f"{label_map.shape}, expected uint8 (H, W) with ids 1..254"
            )
        if self.frame_index < 0:
            raise AnnotationError(f"annotation's frame index is {self.frame_index}, expected 0 or more")
        view = np.ascontiguousarray(label_map).view()
        view.flags.writeable = False
        object.__setattr__(self, "label_map", view)
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
