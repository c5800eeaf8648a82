from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.stages.distractors import (
    COMPARED,
    DOUBT,
    DistractorPair,
    apply_spatial_prior,
    find_distractor_pairs,
    resolve_identity_swaps,
    spatial_prior,
    with_distractors,
)

SIZE = (30, 60)
LEFT, MIDDLE, RIGHT = (slice(10, 20), slice(0, 10)), (slice(10, 20), slice(25, 35)), (slice(10, 20), slice(50, 60))
"""Places of 10 x 10 cells, apart from each other."""
USUAL = 100.0
PAIR = [DistractorPair(0, 1, 1.0)]

Part = tuple[slice, slice]


def head_features(seed: int, count: int, like: int | None = None, noise: float = 0.0) -> Tensor:
    """Draw the features of an object's cells; as those of another one, but for noise."""
    generator = torch.Generator().manual_seed(seed if like is None else like)
    own = torch.randn(count, 64, generator=generator)
    return F.normalize(own + noise * torch.randn(count, 64, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_objects_that_look_the_same_are_twins_and_others_are_not() -> None:
    pairs = find_distractor_pairs([head_features(1, 50), head_features(2, 50), head_features(3, 50, like=1, noise=0.3)])
    assert pairs == [DistractorPair(0, 2, 1.0)]


def test_what_is_somewhat_alike_is_a_twin_in_part() -> None:
    # Cells that are all as much like each other: 0.54 lies half way between different and the same.
    one = torch.zeros(4, 8)
    one[:, 0] = 1
    other = torch.zeros(4, 8)
    other[:, 0], other[:, 1] = 0.54, (1 - 0.54**2) ** 0.5
    (pair,) = find_distractor_pairs([one, other])
    assert pair.appearance_similarity == pytest.approx(0.5, abs=1e-4)


def test_an_object_that_is_like_a_part_of_a_larger_one_is_no_twin() -> None:
    small = head_features(1, 20)
    assert find_distractor_pairs([small, torch.cat([small, head_features(2, 200)])]) == []


def test_objects_without_cells_have_no_twin() -> None:
    assert find_distractor_pairs([head_features(1, 0), head_features(1, 0), head_features(2, 20)]) == []
    assert find_distractor_pairs([]) == []


def test_of_many_cells_those_that_are_compared_lie_all_over_the_object() -> None:
    own, other = head_features(1, COMPARED // 8).repeat(72, 1), head_features(2, COMPARED)
    assert find_distractor_pairs([torch.cat([other, own]), own]) == PAIR


def test_what_two_twins_have_together_goes_to_the_one_that_was_there() -> None:
    votes = torch.tensor([0.5, 0.4, 0.1]).view(3, 1, 1).repeat(1, 2, 2)
    prior = torch.tensor([DOUBT, 1.0, 1.0]).view(3, 1, 1).repeat(1, 2, 2)
    apply_spatial_prior(votes, prior, PAIR)
    assert votes[:2].sum(0).allclose(torch.tensor(0.9))
    assert votes[1].allclose(torch.tensor(0.9 * 0.4 / (0.4 + 0.5 * DOUBT)))
    assert votes[2].allclose(torch.tensor(0.1)), "the third is nobody's twin"


def test_objects_alike_in_part_are_told_apart_in_part() -> None:
    votes, prior = torch.full((2, 1, 1), 0.5), torch.tensor([1.0, DOUBT]).view(2, 1, 1)
    apply_spatial_prior(votes, prior, [DistractorPair(0, 1, 0.5)])
    assert float(votes[0]) == pytest.approx((0.5 + 1 / (1 + DOUBT)) / 2)


def test_where_neither_was_votes_are_left_as_they_are_and_nothing_comes_of_nothing() -> None:
    votes, prior = torch.tensor([0.7, 0.0]).view(2, 1, 1).repeat(1, 1, 2), torch.full((2, 1, 2), DOUBT)
    votes[:, :, 1] = 0
    apply_spatial_prior(votes, prior, PAIR)
    assert votes.flatten(1).tolist() == pytest.approx(np.array([[0.7, 0.0], [0.0, 0.0]]))


def test_what_speaks_for_a_twin_is_added_as_far_as_it_is_one() -> None:
    planes = torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    together = with_distractors(planes, [DistractorPair(0, 1, 1.0), DistractorPair(1, 2, 0.5)])
    assert together.flatten().tolist() == [3.0, 5.0, 5.0]
    assert planes.flatten().tolist() == [1.0, 2.0, 4.0]
    assert with_distractors(planes, []) is planes


def test_a_carried_mask_may_be_off_by_a_few_cells() -> None:
    warped = torch.zeros(1, *SIZE)
    warped[0][MIDDLE] = 1
    prior = spatial_prior(warped)[0]
    assert float(prior.min()) == pytest.approx(DOUBT)
    assert prior[15, 30] == pytest.approx(1 + DOUBT)
    assert prior[15, 24] == pytest.approx(0.4 + DOUBT), "one cell beside it"
    assert prior[15, 22] == pytest.approx(DOUBT), "three cells beside it"


def test_chances_are_the_same_by_opencv_and_by_torch() -> None:
    warped = torch.rand(2, 9, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spatial_prior(warped), F.avg_pool2d(warped[None], 5, 1, 2)[0] + DOUBT)


def settle(
    claims: Mapping[int, Sequence[Part]],
    before: Mapping[int, Sequence[Part]] | None = None,
    annotated: Mapping[int, Sequence[Part]] | None = None,
    pairs: Sequence[DistractorPair] = PAIR,
    usual: Sequence[float] = (USUAL, USUAL, USUAL),
) -> dict[int, np.ndarray]:
    """Settle what three objects claim, later ones over earlier ones; where each was ``before`` is where they claim."""
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
    answer = resolve_identity_swaps(logits, warped, usual, [*planes], pairs)
    assert torch.equal(logits, given), "what is given is not changed"
    assert torch.equal(answer.amax(0), logits.amax(0)), "no cell is lost or won"
    return {row: (answer[row] > 0).numpy() for row in range(3)}


def cells(*parts: Part) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    for part in parts:
        mask[part] = True
    return mask


SPECK = (slice(12, 18), slice(52, 56))
HALF = (slice(10, 20), slice(50, 55))


@pytest.mark.parametrize("piece", [SPECK, HALF])
def test_what_a_twin_claims_within_the_other_is_the_others(piece: Part) -> None:
    found = settle({1: [RIGHT], 0: [LEFT, piece]})
    assert (found[0] == cells(LEFT)).all()
    assert (found[1] == cells(RIGHT)).all()


def test_a_twin_that_is_missing_gets_what_another_claims_beside_its_own_place() -> None:
    found = settle({0: [LEFT, RIGHT]}, before={0: [LEFT]})
    assert (found[0] == cells(LEFT)).all()
    assert (found[1] == cells(RIGHT)).all()


def test_that_it_was_there_says_which_place_is_its_own() -> None:
    found = settle({0: [LEFT, RIGHT]}, before={0: [RIGHT]})
    assert (found[0] == cells(RIGHT)).all()


def test_of_two_that_are_missing_the_one_of_its_size_gets_it() -> None:
    pairs = [DistractorPair(0, 1, 1.0), DistractorPair(0, 2, 1.0)]
    found = settle({0: [LEFT, RIGHT]}, before={0: [LEFT]}, pairs=pairs, usual=(USUAL, 190.0, USUAL))
    assert not found[1].any()
    assert (found[2] == cells(RIGHT)).all()


def test_a_third_that_is_the_twin_of_a_twin_takes_part() -> None:
    pairs = [DistractorPair(0, 1, 1.0), DistractorPair(1, 2, 1.0)]
    found = settle({0: [LEFT, RIGHT], 1: [MIDDLE]}, before={0: [LEFT], 1: [MIDDLE]}, pairs=pairs)
    assert (found[2] == cells(RIGHT)).all()


@pytest.mark.parametrize("usual", [30.0, 250.0])
def test_a_missing_twin_of_quite_another_size_gets_nothing(usual: float) -> None:
    found = settle({0: [LEFT, RIGHT]}, before={0: [LEFT]}, usual=(USUAL, usual, USUAL))
    assert (found[0] == cells(LEFT, RIGHT)).all()


def test_what_is_seen_in_two_parts_stays_while_no_twin_is_missing() -> None:
    found = settle({0: [LEFT, RIGHT], 1: [MIDDLE]}, usual=(200.0, USUAL, USUAL))
    assert (found[0] == cells(LEFT, RIGHT)).all()


def test_what_is_seen_in_two_parts_stays_though_a_twin_is_missing() -> None:
    found = settle({0: [LEFT, RIGHT]}, before={0: [LEFT]}, usual=(200.0, USUAL, USUAL))
    assert (found[0] == cells(LEFT, RIGHT)).all(), "it is no more than it mostly is"


def test_where_no_twin_is_at_home_what_each_claims_stays() -> None:
    half = (slice(10, 20), slice(55, 60))
    found = settle({0: [LEFT, half], 1: [MIDDLE, HALF]})
    assert (found[0] == cells(LEFT, half)).all()
    assert (found[1] == cells(MIDDLE, HALF)).all()


def test_an_object_without_a_place_of_its_own_keeps_what_it_claims() -> None:
    found = settle({1: [RIGHT], 0: [SPECK]})
    assert (found[0] == cells(SPECK)).all()
    found = settle({1: [RIGHT], 0: [LEFT, SPECK]}, usual=(210.0, USUAL, USUAL))
    assert (found[0] == cells(LEFT, SPECK)).all(), "of its usual size less than half is at home"


def test_what_was_annotated_as_its_own_stays() -> None:
    found = settle({1: [RIGHT], 0: [LEFT, SPECK]}, annotated={0: [SPECK]})
    assert (found[0] == cells(LEFT, SPECK)).all()


def test_what_touches_both_of_two_twins_that_touch_is_left_to_the_votes() -> None:
    beside, within = (slice(10, 20), slice(10, 20)), (slice(12, 18), slice(12, 18))
    found = settle({1: [beside], 0: [LEFT, within]})
    assert (found[0] == cells(LEFT, within)).all()


def test_a_piece_that_lies_with_no_twin_stays() -> None:
    found = settle({0: [LEFT, SPECK], 1: [MIDDLE]})
    assert (found[0] == cells(LEFT, SPECK)).all()


@pytest.mark.parametrize("pairs", [[], [DistractorPair(0, 1, 0.4)], [DistractorPair(0, 2, 1.0)]])
def test_objects_that_do_not_look_the_same_keep_what_they_claim(pairs: list[DistractorPair]) -> None:
    found = settle({1: [RIGHT], 0: [LEFT, SPECK], 2: [MIDDLE]}, pairs=pairs)
    assert (found[0] == cells(LEFT, SPECK)).all()
