"""The objects that a pass tracks: those whose annotation has come and whose end has not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping

from vos.host.both_ways.origins import Origins
from vos.types.annotation import Annotation


class KnownObjects:
    """The objects of a pass.

    Attributes:
        annotated: by object id, index of the latest annotated frame with the object.
        ended: ids of ended objects; a tracker that cannot forget objects still predicts them.
    """

    def __init__(self, origins: Origins) -> None:
        self.annotated: dict[int, int] = {}
        self.ended: set[int] = set()
        self._origins = origins

    def start(self, annotation: Annotation, index: int) -> None:
        """Start a pass with an annotation of a frame."""
        self.annotated = dict.fromkeys(annotation.object_ids, index)
        self.ended = set()

    def add(self, annotation: Annotation, index: int) -> None:
        """Add the objects of a later annotation."""
        self.annotated |= dict.fromkeys(annotation.object_ids, index)
        self.ended -= set(annotation.object_ids)

    def end(self, index: int, forget: Callable[[int], bool]) -> None:
        """End the objects whose end lies between their latest annotation and a frame.

        Args:
            index: of the frame.
            forget: called with each object's id; returns True if the tracker forgets it.
        """
        for object_id, annotated in list(self.annotated.items()):
            if object_id not in self.ended and self._origins.has_ended(object_id, annotated, index):
                self.ended.add(object_id)
                if forget(object_id):
                    del self.annotated[object_id]

    def catch_up(
        self, annotations: Mapping[int, Annotation], indices: range, index: int, forget: Callable[[int], bool]
    ) -> None:
        """Set the state to that of a pass after a frame, as a resumed run needs it.

        Args:
            annotations: by frame index.
            indices: of the pass, ascending.
            index: of the frame.
            forget: as for ``end``.
        """
        self.annotated, self.ended = {}, set()
        ends = [bisect_left(indices, end) for end in self._origins.ends.values()]
        turning = {*annotations, *(indices[at] for at in ends if at < len(indices))}
        for at in sorted(one for one in turning if indices[0] <= one <= index):
            self.end(at, forget)
            if at in annotations:
                self.add(annotations[at], at)
