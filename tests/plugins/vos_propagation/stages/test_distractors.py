import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.config import DistractorConfig
from vos_propagation.stages.distractors import (
    DistractorPair,
    apply_spatial_prior,
    find_distractor_pairs,
    spatial_prior,
    with_distractors,
)

SIZE = (30, 60)
MIDDLE = (slice(10, 20), slice(25, 35))
PAIR = [DistractorPair(0, 1, 1.0)]
CONFIG = DistractorConfig()
FLOOR = CONFIG.prior_floor


def pairs_of(*keys: Tensor) -> list[DistractorPair]:
    return find_distractor_pairs(keys, CONFIG)


def keys_of(seed: int, count: int, like: int | None = None, noise: float = 0.0) -> Tensor:
    """Draw the keys of an object's cells; those of the object drawn with seed ``like``, plus noise."""
    generator = torch.Generator().manual_seed(seed if like is None else like)
    own = torch.randn(count, 64, generator=generator)
    return F.normalize(own + noise * torch.randn(count, 64, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_objects_of_the_same_appearance_are_a_pair() -> None:
    pairs = pairs_of(keys_of(1, 50), keys_of(2, 50), keys_of(3, 50, like=1, noise=0.3))
    assert pairs == [DistractorPair(0, 2, 1.0)]


def test_appearance_similarity_grows_between_the_two_thresholds() -> None:
    # All cells have similarity 0.54, half way between the two thresholds.
    one = torch.zeros(4, 8)
    one[:, 0] = 1
    other = torch.zeros(4, 8)
    other[:, 0], other[:, 1] = 0.54, (1 - 0.54**2) ** 0.5
    (pair,) = pairs_of(one, other)
    assert pair.appearance_similarity == pytest.approx(0.5, abs=1e-4)


def test_an_object_like_a_part_of_a_larger_one_is_no_distractor() -> None:
    small = keys_of(1, 20)
    assert pairs_of(small, torch.cat([small, keys_of(2, 200)])) == []


def test_objects_without_cells_have_no_distractor() -> None:
    assert pairs_of(keys_of(1, 0), keys_of(1, 0), keys_of(2, 20)) == []
    assert pairs_of() == []


def test_compared_cells_are_sampled_from_the_whole_object() -> None:
    own, other = keys_of(1, CONFIG.max_compared_cells // 8).repeat(72, 1), keys_of(2, CONFIG.max_compared_cells)
    assert pairs_of(torch.cat([other, own]), own) == PAIR


def test_votes_of_a_pair_go_to_the_object_with_the_higher_prior() -> None:
    votes = torch.tensor([0.5, 0.4, 0.1]).view(3, 1, 1).repeat(1, 2, 2)
    prior = torch.tensor([FLOOR, 1.0, 1.0]).view(3, 1, 1).repeat(1, 2, 2)
    apply_spatial_prior(votes, prior, PAIR)
    assert votes[:2].sum(0).allclose(torch.tensor(0.9))
    assert votes[1].allclose(torch.tensor(0.9 * 0.4 / (0.4 + 0.5 * FLOOR)))
    assert votes[2].allclose(torch.tensor(0.1)), "the third object is in no pair"


def test_votes_are_divided_in_proportion_to_appearance_similarity() -> None:
    votes, prior = torch.full((2, 1, 1), 0.5), torch.tensor([1.0, FLOOR]).view(2, 1, 1)
    apply_spatial_prior(votes, prior, [DistractorPair(0, 1, 0.5)])
    assert float(votes[0]) == pytest.approx((0.5 + 1 / (1 + FLOOR)) / 2)


def test_equal_priors_change_no_votes_and_zero_votes_stay_zero() -> None:
    votes, prior = torch.tensor([0.7, 0.0]).view(2, 1, 1).repeat(1, 1, 2), torch.full((2, 1, 2), FLOOR)
    votes[:, :, 1] = 0
    apply_spatial_prior(votes, prior, PAIR)
    assert votes.flatten(1).tolist() == pytest.approx(np.array([[0.7, 0.0], [0.0, 0.0]]))


def test_many_objects_that_look_alike_share_votes_without_negative_or_growing_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    votes = torch.rand(40, 12, 12, generator=generator) * (torch.rand(40, 12, 12, generator=generator) > 0.8)
    prior = torch.rand(40, 12, 12, generator=generator) ** 8 + 1e-3
    pairs = [DistractorPair(i, j, 0.9) for i in range(40) for j in range(i)]
    summed = votes.sum(0)
    apply_spatial_prior(votes, prior, pairs)
    assert (votes >= 0).all()
    assert torch.allclose(votes.sum(0), summed, atol=1e-4)


def test_planes_of_distractors_are_added_in_proportion_to_appearance_similarity() -> None:
    planes = torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    together = with_distractors(planes, [DistractorPair(0, 1, 1.0), DistractorPair(1, 2, 0.5)])
    assert together.flatten().tolist() == [3.0, 5.0, 5.0]
    assert planes.flatten().tolist() == [1.0, 2.0, 4.0]
    assert with_distractors(planes, []) is planes


def test_the_spatial_prior_reaches_a_few_cells_beyond_the_warped_mask() -> None:
    warped = torch.zeros(1, *SIZE)
    warped[0][MIDDLE] = 1
    prior = spatial_prior(warped, CONFIG)[0]
    assert float(prior.min()) == pytest.approx(FLOOR)
    assert prior[15, 30] == pytest.approx(1 + FLOOR)
    assert prior[15, 24] == pytest.approx(0.4 + FLOOR), "one cell beside it"
    assert prior[15, 22] == pytest.approx(FLOOR), "three cells beside it"


def test_the_spatial_prior_is_the_same_by_opencv_and_by_torch() -> None:
    warped = torch.rand(2, 9, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spatial_prior(warped, CONFIG), F.avg_pool2d(warped[None], 5, 1, 2)[0] + FLOOR)
