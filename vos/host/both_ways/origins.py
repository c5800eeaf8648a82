"""Choose the annotation from which each object's mask is tracked in each frame, forward or backward.

The rule of ``--both-ways``: in each frame, an object's mask comes from the pass that began at its nearer annotation,
and from the forward pass where both are equally near. An object has no annotation before its first one, so there its
mask comes from the backward pass.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping

import numpy as np

from vos.types.annotation import Annotation


class Origins:
    """The annotations of a run by object.

    Attributes:
        ends: by object id, the index of the first frame without the object; a later annotation starts it again.
    """

    def __init__(self, annotations: Mapping[int, Annotation], ends: Mapping[int, int]) -> None:
        """Note where each object is annotated.

        Args:
            annotations: by frame index.
            ends: by object id.
        """
        self.ends = ends
        self._annotated: dict[int, list[int]] = {}
        for index in sorted(annotations):
            for object_id in annotations[index].object_ids:
                self._annotated.setdefault(object_id, []).append(index)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The ids of all objects."""
        return tuple(self._annotated)

    def annotated(self, index: int) -> tuple[int, ...]:
        """Return the ids of the objects that are annotated in a frame."""
        return tuple(object_id for object_id, indices in self._annotated.items() if index in indices)

    def forward(self, object_id: int, index: int) -> int | None:
        """Return the annotated frame from which a forward pass has the object in a frame; None if it has none."""
        annotated = self._annotated.get(object_id, [])
        position = bisect_right(annotated, index)
        return self._reaching(object_id, annotated[position - 1] if position else None, index)

    def backward(self, object_id: int, index: int) -> int | None:
        """Return the annotated frame from which a backward pass has the object in a frame; None if it has none."""
        annotated = self._annotated.get(object_id, [])
        position = bisect_left(annotated, index)
        return self._reaching(object_id, annotated[position] if position < len(annotated) else None, index)

    def distances(self, index: int) -> tuple[dict[int, int], dict[int, int]]:
        """Divide a frame's objects between the passes.

        Args:
            index: of the frame.
        Returns:
            How many frames away the annotation is, by object id: of the objects whose masks come from the forward
            pass, and of those whose masks come from the backward pass.
        """
        ahead: dict[int, int] = {}
        behind: dict[int, int] = {}
        for object_id in self._annotated:
            earlier, later = self.forward(object_id, index), self.backward(object_id, index)
            if earlier is not None and (later is None or index - earlier <= later - index):
                ahead[object_id] = index - earlier
            elif later is not None:
                behind[object_id] = later - index
        return ahead, behind

    def has_ended(self, object_id: int, annotated: int, index: int) -> bool:
        """Test whether an object's end lies between an annotation of it and a frame, in either direction."""
        end = self.ends.get(object_id)
        return end is not None and (annotated < end) != (index < end)

    def _reaching(self, object_id: int, annotated: int | None, index: int) -> int | None:
        return None if annotated is None or self.has_ended(object_id, annotated, index) else annotated


def earlier_annotations(
    annotations: Mapping[int, Annotation], index: int, object_ids: Collection[int]
) -> list[Annotation]:
    """List what the annotations before a frame say of some objects, ascending.

    Args:
        annotations: by frame index, ascending.
        index: of the frame.
        object_ids: the objects.
    Returns:
        Annotations of these objects alone; those without any of them are left out.
    """
    found = []
    for at, annotation in annotations.items():
        if at < index and set(annotation.object_ids) & set(object_ids):
            wanted = np.isin(annotation.label_map, list(object_ids))
            found.append(Annotation(np.where(wanted, annotation.label_map, 0).astype(np.uint8), at))
    return found


def backward_passes(annotations: Mapping[int, Annotation], origins: Origins, indices: range) -> list[range]:
    """List the backward passes of a run that is tracked both ways.

    Args:
        annotations: by frame index, ascending.
        origins: of these annotations.
        indices: the frames wanted, ascending.
    Returns:
        Frame indices of each pass, descending; each begins at an annotated frame, the latest pass comes first. Frames
        between two annotations that no object needs are in none.
    """
    first, last = min(annotations), max(annotations)
    passes: list[range] = []
    for frame in reversed(indices[: indices.index(last)]):
        if frame >= first and not origins.distances(frame)[1]:
            continue
        after = frame + indices.step
        start = passes.pop().start if passes and passes[-1][-1] == after else after
        passes.append(range(start, frame - indices.step, -indices.step))
    return passes
