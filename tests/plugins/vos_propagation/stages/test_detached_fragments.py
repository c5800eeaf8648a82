from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from vos_propagation.config import DetachedFragmentConfig
from vos_propagation.stages.decoder_network import LOGIT_LIMIT
from vos_propagation.stages.detached_fragments import DetachedFragmentFilter

SIZE = (60, 120)
MAIN, FRAGMENT = (slice(30, 50), slice(10, 30)), (slice(10, 20), slice(20, 30))
"""The main component has 20 x 20 cells; the fragment lies above it, apart."""


def moved(part: tuple[slice, slice], columns: int) -> tuple[slice, slice]:
    return part[0], slice(part[1].start + columns, part[1].stop + columns)


class Watch:
    """Annotates one object with ``annotated``, by default its main component, and steps with both components."""

    def __init__(self, *annotated: tuple[slice, slice], anchor_score: float = 1.0, others: int = 0) -> None:
        self.fragments = DetachedFragmentFilter(DetachedFragmentConfig())
        self.ids = list(range(1, 2 + others))
        self.anchor_scores = torch.zeros(len(self.ids), SIZE[0] // 2, SIZE[1] // 2)
        self.anchor_scores[0] = anchor_score
        for object_id in self.ids[1:]:
            self.fragments.annotate(object_id, np.zeros(SIZE, np.float32))
        self.annotate(*(annotated or (MAIN,)))
        self.at = {0: 0, 1: 0}

    def annotate(self, *parts: tuple[slice, slice]) -> None:
        share = np.zeros(SIZE, np.float32)
        for part in parts:
            share[part] = 1
        self.fragments.annotate(1, share)

    def step(
        self,
        *columns: int,
        parts: Sequence[tuple[slice, slice]] = (MAIN, FRAGMENT),
        joined: bool = False,
        other: tuple[slice, slice] | None = None,
    ) -> np.ndarray:
        """Move each part by some columns; return the object's cells that are dropped."""
        logits = torch.full((len(self.ids), *SIZE), -LOGIT_LIMIT)
        flow = np.zeros((*SIZE, 2), np.float32)
        for number, (part, step) in enumerate(zip(parts, columns, strict=True)):
            self.at[number] += step
            here = moved(part, self.at[number])
            logits[0][here] = 3.0
            flow[here] = -step, 0
        if joined:
            logits[0][10:40, 20 + self.at[1] : 24 + self.at[1]] = 3.0
        if other is not None:
            logits[1][moved(other, self.at[1])] = 3.0
        kept = self.fragments.step(self.ids, logits, self.anchor_scores, flow)
        return ((logits > 0) & (kept <= -LOGIT_LIMIT))[0].numpy()


def dropped_after(step: Callable[[], np.ndarray], most: int = 30) -> int | None:
    """Step until a cell is dropped; return the number of that step."""
    return next((number for number in range(1, most + 1) if step().any()), None)


def test_a_fragment_that_moves_away_is_dropped_whole_and_alone() -> None:
    watch = Watch()
    # One cell per frame is a twentieth of an object width: 7 frames and 7 cells give 2.45, 6 and 6 give 1.8.
    assert dropped_after(lambda: watch.step(0, 1), 6) is None
    dropped = watch.step(0, 1)
    expected = np.zeros(SIZE, bool)
    expected[moved(FRAGMENT, 7)] = True
    assert np.array_equal(dropped, expected)


def test_drift_is_relative_to_the_main_component() -> None:
    together, against = Watch(), Watch()
    assert dropped_after(lambda: together.step(2, 2)) is None
    assert dropped_after(lambda: against.step(1, 0)) == 7


def test_parts_on_both_sides_of_a_pole_stay() -> None:
    watch = Watch()
    beside = slice(22, 27), slice(10, 30)  # a gap of 4 cells, a fifth of the object width; 8 would be enough
    assert dropped_after(lambda: watch.step(0, 1, parts=[MAIN, beside]), 15) is None


def test_a_small_fragment_stays() -> None:
    watch = Watch()
    small = slice(10, 15), slice(20, 30)  # an eighth of the main component
    assert dropped_after(lambda: watch.step(0, 1, parts=[MAIN, small])) is None


def test_a_trembling_fragment_stays() -> None:
    watch = Watch()
    steps = iter([2, -2] * 15)
    assert dropped_after(lambda: watch.step(0, next(steps))) is None


def test_an_annotated_fragment_stays_however_far_it_moves() -> None:
    watch = Watch(MAIN, FRAGMENT)
    assert dropped_after(lambda: watch.step(0, 2)) is None


def test_a_corrected_fragment_stays() -> None:
    watch = Watch()
    for _ in range(5):
        watch.step(0, 1)
    watch.annotate(MAIN, moved(FRAGMENT, 5))
    assert dropped_after(lambda: watch.step(0, 2)) is None


def test_after_a_correction_with_two_components_no_fragment_is_dropped() -> None:
    first, corrected = Watch(MAIN, FRAGMENT), Watch()
    corrected.annotate(MAIN, FRAGMENT)
    for watch in (first, corrected):
        watch.fragments._objects[1].annotated[:] = 0
    assert dropped_after(lambda: first.step(0, 2)) is not None
    assert dropped_after(lambda: corrected.step(0, 2)) is None


def test_the_main_component_is_the_one_with_the_highest_score_not_the_largest() -> None:
    watch = Watch(FRAGMENT)
    watch.anchor_scores[0, MAIN[0].start // 2 :] = 0.1
    for _ in range(20):
        dropped = watch.step(0, 1)
        if dropped.any():
            break
    assert dropped[MAIN].all()
    assert not dropped[moved(FRAGMENT, watch.at[1])].any()


@pytest.mark.parametrize(("away", "first"), [(0, 15), (4, 7)])
def test_a_fragment_beside_another_object_must_move_further(away: int, first: int) -> None:
    watch = Watch(others=1)
    neighbour = slice(20 + away, 26 + away), slice(20, 30)
    assert dropped_after(lambda: watch.step(0, 1, other=neighbour)) == first


def test_a_dropped_fragment_is_suppressed_for_some_frames_unless_it_joins_the_main_component() -> None:
    watch = Watch()
    assert dropped_after(lambda: watch.step(0, 1)) == 7
    assert watch.step(0, 0).any()
    assert not watch.step(0, 0, joined=True).any()
    assert watch.step(0, 0).any()
    for _ in range(DetachedFragmentConfig.suppression_frames):
        watch.step(0, parts=[MAIN])
    assert not watch.step(0, 0).any()


def test_the_drift_of_a_fragment_that_joined_the_main_component_starts_again() -> None:
    watch = Watch()
    for _ in range(6):
        watch.step(0, 1)
    assert not watch.step(0, 1, joined=True).any()
    assert dropped_after(lambda: watch.step(0, 1)) == 7


def test_objects_without_cells_and_tiny_fragments_are_ignored() -> None:
    watch = Watch()
    speck = slice(0, 1), slice(40, 45)
    assert dropped_after(lambda: watch.step(0, 2, parts=[MAIN, speck])) is None
    assert not watch.step(parts=[]).any()
    watch.fragments.forget(1)
    with pytest.raises(KeyError):
        watch.step(parts=[])
