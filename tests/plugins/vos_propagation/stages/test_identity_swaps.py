from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from vos_propagation.config import IdentitySwapConfig
from vos_propagation.stages.distractors import DistractorPair
from vos_propagation.stages.identity_swaps import resolve_identity_swaps

SIZE = (30, 60)
LEFT, MIDDLE, RIGHT = (slice(10, 20), slice(0, 10)), (slice(10, 20), slice(25, 35)), (slice(10, 20), slice(50, 60))
"""Squares of 10 x 10 cells, apart from each other."""
AREA = 100.0
PAIR = [DistractorPair(0, 1, 1.0)]

Part = tuple[slice, slice]


def resolve(
    claims: Mapping[int, Sequence[Part]],
    before: Mapping[int, Sequence[Part]] | None = None,
    annotated: Mapping[int, Sequence[Part]] | None = None,
    pairs: Sequence[DistractorPair] = PAIR,
    usual: Sequence[float] = (AREA, AREA, AREA),
) -> dict[int, np.ndarray]:
    """Resolve the swaps of three objects; later claims cover earlier ones, and ``before`` are the warped masks."""
    logits, warped, planes = torch.full((3, *SIZE), -8.0), torch.zeros(3, *SIZE), np.zeros((3, *SIZE), np.uint8)
    for row, parts in claims.items():
        for part in parts:
            logits[:, part[0], part[1]] = -8.0
            logits[row][part] = 4.0
    for row, parts in (claims if before is None else before).items():
        for part in parts:
            warped[row][part] = 1
    for row, parts in (annotated or {}).items():
        for part in parts:
            planes[row][part] = 255
    given = logits.clone()
    resolved = resolve_identity_swaps(logits, warped, usual, [*planes], pairs, IdentitySwapConfig())
    assert torch.equal(logits, given), "the input is not changed"
    assert torch.equal(resolved.amax(0), logits.amax(0)), "no cell is added or removed"
    return {row: (resolved[row] > 0).numpy() for row in range(3)}


def cells(*parts: Part) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    for part in parts:
        mask[part] = True
    return mask


SPECK = (slice(12, 18), slice(52, 56))
HALF = (slice(10, 20), slice(50, 55))


@pytest.mark.parametrize("fragment", [SPECK, HALF])
def test_a_fragment_inside_a_distractor_is_reassigned_to_it(fragment: Part) -> None:
    found = resolve({1: [RIGHT], 0: [LEFT, fragment]})
    assert (found[0] == cells(LEFT)).all()
    assert (found[1] == cells(RIGHT)).all()


def test_a_missing_object_gets_the_component_beside_the_home_of_its_distractor() -> None:
    found = resolve({0: [LEFT, RIGHT]}, before={0: [LEFT]})
    assert (found[0] == cells(LEFT)).all()
    assert (found[1] == cells(RIGHT)).all()


def test_the_warped_mask_decides_which_component_is_the_home() -> None:
    found = resolve({0: [LEFT, RIGHT]}, before={0: [RIGHT]})
    assert (found[0] == cells(RIGHT)).all()


def test_of_two_missing_objects_the_one_of_similar_area_gets_the_component() -> None:
    pairs = [DistractorPair(0, 1, 1.0), DistractorPair(0, 2, 1.0)]
    found = resolve({0: [LEFT, RIGHT]}, before={0: [LEFT]}, pairs=pairs, usual=(AREA, 190.0, AREA))
    assert not found[1].any()
    assert (found[2] == cells(RIGHT)).all()


def test_objects_paired_through_a_third_one_take_part() -> None:
    pairs = [DistractorPair(0, 1, 1.0), DistractorPair(1, 2, 1.0)]
    found = resolve({0: [LEFT, RIGHT], 1: [MIDDLE]}, before={0: [LEFT], 1: [MIDDLE]}, pairs=pairs)
    assert (found[2] == cells(RIGHT)).all()


@pytest.mark.parametrize("usual", [30.0, 250.0])
def test_a_missing_object_of_another_size_gets_nothing(usual: float) -> None:
    found = resolve({0: [LEFT, RIGHT]}, before={0: [LEFT]}, usual=(AREA, usual, AREA))
    assert (found[0] == cells(LEFT, RIGHT)).all()


def test_an_object_visible_in_two_parts_keeps_both_while_no_distractor_is_missing() -> None:
    found = resolve({0: [LEFT, RIGHT], 1: [MIDDLE]}, usual=(200.0, AREA, AREA))
    assert (found[0] == cells(LEFT, RIGHT)).all()


def test_an_object_visible_in_two_parts_keeps_both_if_it_has_its_usual_area() -> None:
    found = resolve({0: [LEFT, RIGHT]}, before={0: [LEFT]}, usual=(200.0, AREA, AREA))
    assert (found[0] == cells(LEFT, RIGHT)).all(), "it has its usual area"


def test_a_component_that_is_no_objects_home_stays_divided() -> None:
    half = (slice(10, 20), slice(55, 60))
    found = resolve({0: [LEFT, half], 1: [MIDDLE, HALF]})
    assert (found[0] == cells(LEFT, half)).all()
    assert (found[1] == cells(MIDDLE, HALF)).all()


def test_an_object_with_too_little_in_its_home_keeps_its_components() -> None:
    found = resolve({1: [RIGHT], 0: [SPECK]})
    assert (found[0] == cells(SPECK)).all()
    found = resolve({1: [RIGHT], 0: [LEFT, SPECK]}, usual=(210.0, AREA, AREA))
    assert (found[0] == cells(LEFT, SPECK)).all(), "less than half of its usual area is in its home"


def test_an_annotated_fragment_stays() -> None:
    found = resolve({1: [RIGHT], 0: [LEFT, SPECK]}, annotated={0: [SPECK]})
    assert (found[0] == cells(LEFT, SPECK)).all()


def test_a_fragment_in_one_component_with_both_objects_stays() -> None:
    beside, within = (slice(10, 20), slice(10, 20)), (slice(12, 18), slice(12, 18))
    found = resolve({1: [beside], 0: [LEFT, within]})
    assert (found[0] == cells(LEFT, within)).all()


def test_a_fragment_apart_from_every_distractor_stays() -> None:
    found = resolve({0: [LEFT, SPECK], 1: [MIDDLE]})
    assert (found[0] == cells(LEFT, SPECK)).all()


@pytest.mark.parametrize("pairs", [[], [DistractorPair(0, 1, 0.4)], [DistractorPair(0, 2, 1.0)]])
def test_objects_that_do_not_look_alike_keep_their_components(pairs: list[DistractorPair]) -> None:
    found = resolve({1: [RIGHT], 0: [LEFT, SPECK], 2: [MIDDLE]}, pairs=pairs)
    assert (found[0] == cells(LEFT, SPECK)).all()
