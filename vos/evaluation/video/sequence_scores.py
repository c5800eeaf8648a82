"""Score one sequence frame by frame, into each object's J and F over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from vos.errors import InputError
from vos.evaluation.metrics.boundary_accuracy import TOLERANCE, exact_tolerance
from vos.evaluation.metrics.frame_scores import FrameScores, score_frame, score_proposals
from vos.evaluation.video.black_and_white import one_object, predicted_ids, unclear_object
from vos.evaluation.video.object_scores import ObjectScores, SequenceScores
from vos.evaluation.video.protocol import Protocol, protocol_named
from vos.types.arrays import LabelMap
from vos.types.label_map import VOID, object_ids, only_void, without_void


class SequenceScorer:
    """Takes a sequence's frames one by one; keeps two numbers for each object and frame, no pixels."""

    def __init__(
        self,
        name: str,
        first_truth: LabelMap,
        protocol: Protocol | str = "davis-2017",
        *,
        tolerance: float = TOLERANCE,
    ) -> None:
        """Start a sequence.

        Args:
            name: the sequence's name, for messages.
            first_truth: uint8 (H, W), the first annotated frame; it says which objects there are.
            protocol: a protocol or its name.
            tolerance: of the boundary, as for ``tolerance_in_pixels``.
        """
        self.name = name
        self.protocol = protocol_named(protocol) if isinstance(protocol, str) else protocol
        self.size = first_truth.shape
        self.tolerance = exact_tolerance(tolerance, first_truth.shape)
        held = object_ids(first_truth)
        if self.protocol.merge:
            self.first_ids: tuple[int, ...] = (1,)
        elif self.protocol.official or self.protocol.objects == "numbered":
            self.first_ids = tuple(range(1, max(held, default=0) + 1))
        else:
            self.first_ids = held
        self._frames: list[tuple[str, FrameScores]] = []

    def score(self, truth: LabelMap, prediction: LabelMap) -> FrameScores:
        """Measure one frame without adding its scores to the sequence.

        Args:
            truth: uint8 (H, W): 0, ids, 255 void.
            prediction: uint8 (H, W): 0 and ids.
        Returns:
            The frame's scores, for ``add``.
        Raises:
            InputError: the prediction has another size than the truth.
        """
        if prediction.shape != truth.shape:
            found, expected = _size_text(prediction), _size_text(truth)
            raise InputError(f"prediction is {found}, annotation is {expected}. Predict at the annotation's size.")
        protocol = self.protocol
        void = np.asarray(truth == VOID) if protocol.use_void else None
        truth = without_void(truth)
        if protocol.merge:
            truth, prediction = (truth > 0).view(np.uint8), (prediction > 0).view(np.uint8)
        if protocol.max_proposals is not None:
            return score_proposals(truth, prediction, math.ceil(self.tolerance), void)
        if void is not None:
            prediction = np.where(void, 0, prediction).astype(np.uint8, copy=False)
        # An object that appears later is scored in every frame, also where the truth lacks it.
        wanted = self.first_ids if protocol.of_first_frame else None
        return score_frame(
            truth, prediction, wanted, self.tolerance, protocol.measures, boundary_iou=protocol.boundary_iou
        )

    def add(self, scores: FrameScores, frame: str) -> None:
        """Add the scores of the next scored frame.

        Args:
            scores: as ``score`` gives them.
            frame: the frame's name.
        """
        self._frames.append((frame, scores))

    @property
    def frame_count(self) -> int:
        """The number of frames added so far."""
        return len(self._frames)

    def stray_ids(self) -> list[tuple[str, tuple[int, ...]]]:
        """List predicted ids that are no object of the sequence.

        Returns:
            Frame names with the ids; with proposals, those of the last frames that pass the limit.
        """
        limit = self.protocol.max_proposals
        if limit is not None:
            highest = self.protocol.official
            seen: set[int] = set()
            over = []
            for frame, scores in self._frames:
                new = {i for i in scores.prediction_ids if i not in seen}
                seen |= new
                extra = {i for i in new if i > limit} if highest else (new if len(seen) > limit else set())
                if extra:
                    over.append((frame, tuple(sorted(extra))))
            return over
        if self.protocol.ignore_unknown_ids:
            return []
        known = {*self.first_ids, *(() if self.protocol.official else self._truth_ids)}
        found = ((frame, tuple(i for i in scores.prediction_ids if i not in known)) for frame, scores in self._frames)
        return [(frame, ids) for frame, ids in found if ids]

    def unclear_frames(self) -> list[str]:
        """List frames with a prediction of 0 and 255, where further objects appear after the first annotated frame.

        Returns:
            Frame names; none where the protocol scores one object, proposals, or the first frame's objects alone.
        """
        if len(self.scored_ids) < 2 or self.protocol.max_proposals is not None:
            return []
        return [frame for frame, scores in self._frames if scores.black_and_white]

    def scores(self) -> SequenceScores:
        """Finish the sequence.

        Returns:
            The scores of all frames taken so far.
        """
        protocol = self.protocol
        if protocol.max_proposals is not None:
            return SequenceScores(self.name, tuple(self._matched()), self._notes())
        return SequenceScores(self.name, tuple(self._object(i) for i in self.scored_ids), self._notes())

    @property
    def scored_ids(self) -> tuple[int, ...]:
        """The objects that the protocol scores, by the truth of the frames added so far."""
        later = () if self.protocol.of_first_frame else self._truth_ids
        return tuple(sorted({*self.first_ids, *later}))

    @property
    def _truth_ids(self) -> set[int]:
        return {i for _, scores in self._frames for i in scores.truth_ids}

    def _object(self, object_id: int) -> ObjectScores:
        frames = self._frames
        if self.protocol.objects == "from-appearance" and object_id not in self.first_ids:
            first = next(n for n, (_, scores) in enumerate(frames) if object_id in scores.truth_ids)
            frames = frames[first + self.protocol.skip_first :]
        if self.protocol.objects == "from-sight":
            seen = (n for n, (_, scores) in enumerate(frames) if object_id in scores.object_ids)
            frames = frames[next(seen, len(frames)) :]
        j, f, f_adaptive = np.ones((3, len(frames)))
        boundary = np.zeros((len(frames), 2), dtype=np.int64)
        for n, (_, scores) in enumerate(frames):
            if object_id in scores.object_ids:
                row = scores.object_ids.index(object_id)
                j[n], f[n] = scores.j[row], scores.f[row]
                if scores.f_adaptive is not None:
                    f_adaptive[n] = scores.f_adaptive[row]
                if scores.boundary is not None:
                    boundary[n] = scores.boundary[row]
        if self.protocol.measures == "j":
            f[:] = np.nan
        return ObjectScores(
            object_id,
            tuple(name for name, _ in frames),
            j,
            f,
            label=object_id,
            official=self.protocol.official,
            present=np.array([object_id in scores.truth_ids for _, scores in frames], dtype=np.bool_),
            f_adaptive=f_adaptive if self.protocol.measures == "j-f-adaptive" else None,
            boundary=boundary if self.protocol.boundary_iou else None,
        )

    def _matched(self) -> Iterable[ObjectScores]:
        """Match proposals to objects as the official tool does, over the whole sequence."""
        from scipy.optimize import linear_sum_assignment

        found = {i for _, scores in self._frames for i in scores.prediction_ids}
        limit = self.protocol.max_proposals or 0
        # Ids 1 to the highest, used or not, are what the official tool matches; it refuses higher ids.
        highest = max(found, default=0)
        proposals: list[int | None] = [*(range(1, highest + 1) if highest <= limit else sorted(found))]
        proposals += [None] * (len(self.first_ids) - len(proposals))
        j, f = np.empty((2, len(proposals), len(self.first_ids), len(self._frames)))
        for n, (_, scores) in enumerate(self._frames):
            rows = [_index(scores.prediction_ids, p) for p in proposals]
            columns = [_index(scores.truth_ids, i) for i in self.first_ids]
            j[:, :, n] = scores.j[np.ix_(rows, columns)]
            f[:, :, n] = scores.f[np.ix_(rows, columns)]
        quality = (j.mean(axis=2) + f.mean(axis=2)) / 2
        names = tuple(name for name, _ in self._frames)
        official = self.protocol.official
        matched = [
            ObjectScores(
                self.first_ids[column],
                names,
                j[row, column],
                f[row, column],
                proposals[row] if proposals[row] in found else None,
                rank if official else self.first_ids[column],
                official,
            )
            for rank, (row, column) in enumerate(zip(*linear_sum_assignment(-quality), strict=True), start=1)
        ]
        return matched if official else sorted(matched, key=lambda o: o.object_id)

    def _notes(self) -> tuple[str, ...]:
        later = sorted(self._truth_ids - set(self.first_ids))
        known = {*self.first_ids, *self._truth_ids}
        unknown = sorted({i for _, scores in self._frames for i in scores.prediction_ids if i not in known})
        notes: tuple[str, ...] = ()
        if self.protocol.ignore_unknown_ids and unknown:
            notes = (f"predicted ids {', '.join(map(str, unknown))} are no objects of the truth and were ignored",)
        if not self.protocol.of_first_frame or not later:
            return notes
        return (
            *notes,
            f"objects {', '.join(map(str, later))} first appear after the first annotated frame; "
            f"{self.protocol.name} does not score them",
        )


def score_sequence(
    truths: Iterable[LabelMap],
    predictions: Iterable[LabelMap],
    protocol: Protocol | str = "davis-2017",
    *,
    name: str = "sequence",
    frames: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> SequenceScores:
    """Score a sequence from label maps in memory, or from any iterables of them.

    Args:
        truths: uint8 (H, W) each, all annotated frames in order, the first one included; of only 0 and 255, one object.
        predictions: uint8 (H, W) each, one for each truth; those of only 0 and 255 show the one object.
        protocol: a protocol or its name; it says which frames at the ends are left out.
        name: the sequence's name.
        frames: names of the frames; zero-padded numbers by default.
        tolerance: of the boundary, as for ``tolerance_in_pixels``.
    Returns:
        The sequence's scores.
    Raises:
        InputError: sizes or lengths differ, ids are predicted that the truth does not have, no frame is left to
            score, or the first truth is empty and its objects are those to score.
    """
    rules = protocol_named(protocol) if isinstance(protocol, str) else protocol
    exact_tolerance(tolerance, (1, 1))
    scorer: SequenceScorer | None = None
    held: tuple[str, FrameScores] | None = None
    binary: bool | None = None  # 255 is the object; decided by the first truth that is not empty
    n = -1
    for n, (truth, prediction) in enumerate(_pairs(name, truths, predictions)):
        frame = frames[n] if frames is not None and n < len(frames) else f"{n:05d}"
        binary = only_void(truth) if binary is None and truth.any() else binary
        try:
            truth = one_object(truth) if binary else truth
            if scorer is None:
                scorer = SequenceScorer(name, truth, rules, tolerance=tolerance)
                if rules.of_first_frame and not object_ids(truth):
                    raise InputError(no_first_object(rules))
                if rules.skip_first:
                    continue
            if held is not None:
                scorer.add(held[1], held[0])
            objects = scorer.first_ids or ((1,) if binary is not False else ())
            scores = scorer.score(truth, predicted_ids(prediction, objects, rules))
            held = frame, replace(scores, black_and_white=only_void(prediction))
        except InputError as error:
            raise InputError(f'sequence "{name}": frame {frame}: {error}') from None
    if frames is not None and len(frames) != n + 1:
        raise InputError(f'sequence "{name}": {len(frames)} names of frames for {n + 1} frames.')
    if scorer is not None and held is not None and not rules.skip_last:
        scorer.add(held[1], held[0])
    if scorer is None or not scorer.frame_count:
        raise InputError(f'sequence "{name}": {n + 1} frames, and {rules.name} leaves none of them to score.')
    for frame in scorer.unclear_frames():
        raise InputError(f'sequence "{name}": frame {frame}: {unclear_object(scorer.scored_ids)}.')
    for frame, ids in scorer.stray_ids():
        raise InputError(f'sequence "{name}": frame {frame}: {describe_stray(ids, rules, scorer.first_ids)}')
    return scorer.scores()


def no_first_object(protocol: Protocol) -> str:
    """Say that a sequence cannot be scored since its first annotation is empty; without a subject or a full stop."""
    return (
        f"no object in the first annotated frame, whose objects {protocol.name} scores. Take a protocol that scores "
        "objects which appear later, such as youtube-vos, or leave the sequence out"
    )


def describe_stray(ids: Sequence[int], protocol: Protocol, object_ids: Sequence[int]) -> str:
    """Describe predicted ids that are no object of the sequence.

    Args:
        ids: the ids.
        protocol: the rules.
        object_ids: the sequence's objects.
    Returns:
        Text without a full stop or a subject.
    """
    shown = ", ".join(map(str, ids[:5])) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    if protocol.max_proposals is not None:
        return f"ids {shown} make more than {protocol.max_proposals} proposals"
    known = ", ".join(map(str, object_ids)) or "none"
    void = "; 255 means void, or a mask with soft edges" if VOID in ids else ""
    return f"id{'s' if len(ids) > 1 else ''} {shown} not in the truth (its objects: {known}{void})"


def _pairs(
    name: str, truths: Iterable[LabelMap], predictions: Iterable[LabelMap]
) -> Iterable[tuple[LabelMap, LabelMap]]:
    try:
        yield from zip(truths, predictions, strict=True)
    except ValueError as error:
        if "zip()" not in str(error):
            raise
        raise InputError(f'sequence "{name}": truth and prediction have different numbers of frames.') from None


def _index(ids: Sequence[int], wanted: int | None) -> int:
    """Row of an id in a frame's table; the last row, the empty mask's, if the id is not in the frame."""
    return ids.index(wanted) if wanted in ids else len(ids)


def _size_text(label_map: LabelMap) -> str:
    return "x".join(map(str, label_map.shape))
