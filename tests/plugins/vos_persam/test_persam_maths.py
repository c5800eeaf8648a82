"""Parts of PerSAM on their own: pooling, points, boxes, and the fit against the official loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vos.plugin import EmptyMaskError, OptionError
from vos.registry.options import make_options
from vos_persam.mask_weights import FitHistory, fit_mask_weights
from vos_persam.options import PersamFOptions, PersamOptions
from vos_persam.target import (
    at_frame_size,
    boxes_of,
    cell_weights,
    center_of,
    coverage,
    expanded,
    extreme_points,
    mean_embedding,
    official_cells,
    similar_points,
)
from vos_sam.view import View

GRID = (64, 64)


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 300), st.integers(5, 300), st.randoms(use_true_random=False))
def test_coverage_sums_to_the_objects_area_in_cells(height, width, random):
    view = View((height, width), 1024)
    mask = np.zeros((height, width), dtype=np.bool_)
    top, left = random.randrange(height), random.randrange(width)
    mask[top : top + 1 + random.randrange(height), left : left + 1 + random.randrange(width)] = True
    covered = coverage(mask, view, GRID)
    input_height, input_width = view.input_size
    pixel = input_height / height * input_width / width / 16**2
    assert float(covered.sum()) == pytest.approx(mask.sum() * pixel, rel=1e-4)
    assert float(covered.max()) <= 1 + 1e-5


def test_an_object_smaller_than_a_cell_has_an_embedding():
    view = View((480, 854), 1024)
    mask = np.zeros(view.size, dtype=np.bool_)
    mask[100:103, 200:204] = True
    assert not (official_cells(mask, view, GRID, 215) > 0).any()
    weights = cell_weights(coverage(mask, view, GRID))
    assert 0 < weights.max() < 0.5
    features = torch.randn(32, *GRID)
    row, column = (int(i) for i in np.unravel_index(int(weights.argmax()), GRID))
    assert (row, column) == (101 * 1024 // 854 // 16, 202 * 1024 // 854 // 16)
    near = torch.nn.functional.cosine_similarity(mean_embedding(features, weights), features[:, row, column], dim=0)
    assert near > 0.7


def test_a_large_object_counts_the_cells_that_it_mostly_covers():
    view = View((1024, 1024), 1024)
    mask = np.zeros(view.size, dtype=np.bool_)
    mask[16:48, 16:41] = True  # two rows of cells; one whole column and 9 of 16 pixels of the next
    weights = cell_weights(coverage(mask, view, GRID))
    assert weights.nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert set(weights.unique().tolist()) == {0.0, 1.0}


def test_a_small_object_counts_the_cells_that_hold_at_least_half_as_much_as_the_fullest():
    covered = torch.tensor([[0.0, 0.4, 0.19], [0.2, 0.39, 0.01]])
    torch.testing.assert_close(cell_weights(covered), torch.tensor([[0.0, 0.4, 0.0], [0.2, 0.39, 0.0]]))


def test_an_empty_mask_has_no_embedding():
    with pytest.raises(EmptyMaskError, match="the object has no pixel in the reference frame"):
        cell_weights(torch.zeros(GRID))


@pytest.mark.parametrize("size", [(240, 427), (427, 240), (1080, 1920), (33, 200)])
def test_similar_points_lie_where_the_release_finds_them(size):
    view = View(size, 1024)
    maps = torch.rand(3, *GRID, generator=torch.Generator().manual_seed(size[0]))
    maps = torch.nn.functional.avg_pool2d(maps[None], 9, 1, 4)[0]
    exact = extreme_points(at_frame_size(maps, view), 1)[:, 0]
    near = similar_points(maps, view, 1)[:, 0]
    full = at_frame_size(maps, view)
    for row in range(3):
        rounded = near[row].round().astype(int)
        found, best = full[row, rounded[1], rounded[0]], full[row, exact[row, 1], exact[row, 0]]
        # A quarter of the input's resolution: as similar, to a small part of the map's range.
        assert best - found <= 0.05 * (full[row].max() - full[row].min())


@pytest.mark.parametrize("largest", [True, False])
def test_a_similar_point_is_the_centre_of_a_quarter_of_a_cell(largest):
    view = View((1024, 1024), 1024)  # a pixel of the frame is one of the input
    maps = torch.rand(2, *GRID, generator=torch.Generator().manual_seed(1))
    fine = torch.nn.functional.interpolate(maps[None], scale_factor=4, mode="bilinear")[0].flatten(1)
    row, column = np.unravel_index((fine if largest else -fine).argmax(dim=1).numpy(), (256, 256))
    expected = np.stack([4 * column + 1.5, 4 * row + 1.5], axis=1)
    np.testing.assert_allclose(similar_points(maps, view, 1, largest=largest)[:, 0], expected)


def test_boxes_include_their_last_pixels_and_expand_within_the_frame():
    masks = torch.zeros(2, 50, 60, dtype=torch.bool)
    masks[0, 5:20, 30:55] = True
    box, none = boxes_of(masks)
    assert none is None
    assert box.tolist() == [30, 5, 54, 19]
    around = expanded(box, 10, View((50, 60), 1024))
    assert around.tolist() == [20, 0, 60, 29]
    assert center_of(around).tolist() == [40, 14]


def official_fit(logits, mask, epochs, rate):
    """The release's optimisation in its own terms: torch, autograd, all pixels."""
    flat, target = logits.flatten(1), torch.from_numpy(mask).float().flatten()[None]
    parameter = torch.nn.Parameter(torch.ones(2, 1) / 3)
    optimizer = torch.optim.AdamW([parameter], lr=rate, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        weights = torch.cat([1 - parameter.sum(0)[None], parameter])
        mixed = (flat * weights).sum(0)[None]
        prob = mixed.sigmoid()
        dice = 1 - (2 * (prob * target).sum(-1) + 1) / (prob.sum(-1) + target.sum(-1) + 1)
        cross = torch.nn.functional.binary_cross_entropy_with_logits(mixed, target, reduction="none")
        right = prob * target + (1 - prob) * (1 - target)
        share = 0.25 * target + 0.75 * (1 - target)
        loss = dice.sum() + (share * cross * (1 - right) ** 2).mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return torch.cat([1 - parameter.sum(0)[None], parameter]).detach().ravel().numpy()


@pytest.mark.parametrize("scale", [0.3, 2.0, 12.0])
def test_the_fit_equals_the_official_optimisation(scale):
    generator = torch.Generator().manual_seed(int(scale * 10))
    mask = np.zeros((60, 80), dtype=np.bool_)
    mask[20:45, 25:60] = True
    signed = torch.from_numpy(mask).float() * 2 - 1
    noise = torch.nn.functional.avg_pool2d(torch.randn(1, 3, 60, 80, generator=generator), 7, 1, 3)[0]
    # The second mask is wrong in places by far, so that saturated errors count.
    logits = scale * (signed * torch.tensor([1.0, 0.4, 0.7])[:, None, None] + 3 * noise)
    logits[1, :10] += 6 * scale
    history = FitHistory()
    ours = fit_mask_weights(logits, mask, epochs=300, rate=2e-3, history=history)
    np.testing.assert_allclose(ours, official_fit(logits, mask, 300, 2e-3), atol=1e-4)
    assert history.dice[-1] + history.focal[-1] < history.dice[0] + history.focal[0]
    assert sum(ours) == pytest.approx(1)
    for epochs, rate in ((800, 1e9), (10, 1e3)):
        message = rf"rate {rate:g} is too high: in {epochs} epochs the loss of the mask weights went from"
        with pytest.raises(OptionError, match=message.replace("+", r"\+")):
            fit_mask_weights(logits, mask, epochs=epochs, rate=rate)


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        (PersamOptions, {"topk": "0"}, "topk is 0, expected 1 or more"),
        (PersamOptions, {"margin": "-1"}, "margin is -1, expected 0 or more pixels"),
        (PersamOptions, {"memory": "1.5"}, "memory is 1.5, expected 0 to 1"),
        (PersamFOptions, {"epochs": "0"}, "epochs is 0"),
        (
            PersamOptions,
            {"compat": "true", "memory": "0.2"},
            "compat=true has no use for memory: the official code gives no",
        ),
        (
            PersamFOptions,
            {"compat": "true", "box": "false", "lost": "0.1"},
            "no use for box, lost: the official code gives no such choice. Leave out compat or box and lost",
        ),
        (PersamOptions, {"model": "vit_g"}, 'option "model" is .vit_g., expected vit_b'),
    ],
)
def test_options_are_checked(options, given, message):
    with pytest.raises(OptionError, match=message):
        make_options(options, given, 'tracker "persam"')


def test_compat_takes_every_option_that_it_has_a_use_for():
    given = {"compat": "true", "topk": "3", "margin": "4", "epochs": "5", "rate": "0.01", "checkpoint": "a.pth"}
    options = make_options(PersamFOptions, {**given, "box": "true", "memory": "0"}, 'tracker "persam-f"')
    assert (options.topk, options.margin, options.epochs, options.rate) == (3, 4, 5, 0.01)
