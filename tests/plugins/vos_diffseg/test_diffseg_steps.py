"""DiffSeg's steps against their definitions, written out plainly on small grids."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vos.plugin import EmptyMaskError, OptionError
from vos_diffseg.aggregation import aggregate
from vos_diffseg.initializer import number_segments, square_image
from vos_diffseg.kmeans import cluster_means, kmeans, spread_centres
from vos_diffseg.merging import anchor_cells, merge, merge_once, symmetric_kl
from vos_diffseg.options import DiffSegOptions
from vos_diffseg.segment import segment
from vos_diffseg.suppression import suppress


def distributions(count, cells, seed, sharpness=2.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(sharpness * torch.randn(count, cells, generator=generator), dim=-1)


def plain_kl(p, q):
    return 0.5 * float((p * (p / q).log()).sum() + (q * (q / p).log()).sum())


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_divergence_is_its_definition_and_symmetric(seed):
    p, q = distributions(3, 50, seed).double(), distributions(4, 50, seed + 1).double()
    found = symmetric_kl(p, q)
    expected = [[plain_kl(a, b) for b in q] for a in p]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(found.numpy(), symmetric_kl(q, p).T.numpy(), atol=1e-12)
    assert symmetric_kl(p, p).diagonal().abs().max() < 1e-12


def test_divergence_of_distributions_with_zeros_is_finite_and_far():
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]])
    found = symmetric_kl(p, p)
    assert found.isfinite().all()
    assert float(found[0, 1]) > 50
    assert found.diagonal().abs().max() < 1e-5


def test_a_coarse_map_is_repeated_over_its_cells_and_upsampled_over_its_targets():
    fine, coarse = distributions(16, 16, 0), distributions(4, 4, 1)
    found = aggregate([fine, coarse], [0.75, 0.25])
    for row in range(16):
        i, j = divmod(row, 4)
        plane = coarse[(i // 2) * 2 + j // 2].reshape(1, 1, 2, 2)
        upsampled = torch.nn.functional.interpolate(plane, size=(4, 4), mode="bilinear").reshape(16)
        expected = 0.75 * fine[row] + 0.25 * upsampled / upsampled.sum()
        np.testing.assert_allclose(found[row].numpy(), expected.numpy(), atol=1e-7)


def test_aggregation_leaves_its_input_alone_and_takes_any_order():
    maps = [distributions(side * side, side * side, side) for side in (2, 8, 4)]
    copies = [m.clone() for m in maps]
    found = aggregate(maps)
    assert torch.equal(found, aggregate(maps[::-1]))
    assert all(torch.equal(a, b) for a, b in zip(maps, copies, strict=True))
    np.testing.assert_allclose(found.sum(dim=1).numpy(), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("maps", "weights", "message"),
    [
        ([], None, "no attention"),
        ([torch.rand(16, 9)], None, r"attention is \(16, 9\)"),
        ([torch.rand(12, 12)], None, "n a square"),
        ([torch.rand(16, 16)], [0.5, 0.5], "2 weights for 1 attention"),
        ([torch.rand(36, 36), torch.rand(16, 16)], None, "do not divide"),
    ],
)
def test_attention_that_does_not_fit_is_an_error(maps, weights, message):
    with pytest.raises(ValueError, match=message):
        aggregate(maps, weights)


@given(st.integers(0, 10_000), st.floats(0.1, 3.0))
@settings(max_examples=30, deadline=None)
def test_a_greedy_merge_is_the_algorithm_written_out(seed, threshold):
    maps = distributions(12, 25, seed).double()
    taken, expected = set(), []
    for index in range(len(maps)):
        if index in taken:
            continue
        close = [k for k in range(len(maps)) if plain_kl(maps[index], maps[k]) < threshold]
        taken.update(close)
        expected.append(maps[close].mean(dim=0))
    np.testing.assert_allclose(merge_once(maps, threshold).numpy(), torch.stack(expected).numpy(), atol=1e-12)


def test_one_iteration_is_an_error():
    with pytest.raises(ValueError, match="expected 2 or more"):
        merge(distributions(64, 64, 0), 4, [1.0])


@pytest.mark.parametrize("points", [1, 9])
def test_a_grid_that_does_not_fit_is_an_error(points):
    with pytest.raises(ValueError, match="anchors a side, expected 2 to 8"):
        anchor_cells(points, 8)


def test_suppression_is_the_argmax_of_upsampled_maps():
    maps = distributions(7, 64, 3)
    planes = torch.nn.functional.interpolate(maps.reshape(1, 7, 8, 8), size=(30, 50), mode="bilinear")
    assert torch.equal(suppress(maps, (30, 50)), planes[0].argmax(dim=0))
    assert not suppress(maps[[0, 0]], (30, 50)).any(), "of equal maps the first has the pixel"


def test_k_means_finds_groups_that_are_apart_and_keeps_empty_centres():
    rows = torch.cat([torch.randn(20, 3) * 0.01 + centre for centre in (0.0, 5.0, 9.0)])
    centres = torch.tensor([[0.0] * 3, [6.0] * 3, [9.0] * 3, [100.0] * 3])
    labels = kmeans(rows, centres)
    assert labels.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    means = cluster_means(rows, labels, centres)
    assert torch.equal(means[3], centres[3])
    np.testing.assert_allclose(means[1].numpy(), 5, atol=0.05)


def test_k_means_starts_spread_and_repeats_with_its_seed():
    rows = torch.cat([torch.randn(20, 3) * 0.01 + centre for centre in (0.0, 5.0, 9.0)])
    centres = [spread_centres(rows, 3, torch.Generator().manual_seed(4)) for _ in range(2)]
    assert torch.equal(*centres)
    assert sorted(centres[0].mean(dim=1).round().tolist()) == [0, 5, 9]
    same = torch.ones(4, 2)
    assert torch.equal(spread_centres(same, 3, torch.Generator()), torch.ones(3, 2))


def two_halves():
    """Attention of an 8 x 8 grid whose left and right halves look at themselves alone."""
    left = (torch.arange(64) % 8 < 4).float()
    return torch.where(left[:, None] == left[None, :], 1.0, 1e-3) / 32


@pytest.mark.parametrize("options", [{}, {"refine": True}, {"clusters": 2}, {"half_precision_merge": True}])
def test_two_halves_are_two_segments(options):
    labels = segment([two_halves()], (16, 16), DiffSegOptions(points=4, threshold=0.5, weights="resolution", **options))
    assert labels.unique().tolist() == [0, 1]
    assert (labels[:, :7] == labels[0, 0]).all()
    assert (labels[:, 9:] == labels[0, 15]).all()


def some_attention(seed=0, sides=(8,), sharpness=2.0):
    """Attention that looks about, one map a side; nothing in it merges by itself."""
    return [distributions(side * side, side * side, seed + side, sharpness) for side in sides]


@pytest.mark.parametrize("changed", [{}, {"iterations": 4}, {"threshold": 0.9}, {"points": 3}, {"points": 8}])
def test_merging_is_as_the_options_say(changed):
    maps = some_attention(sharpness=1.5)
    options = {"iterations": 2, "threshold": 1.2, "points": 4}
    found = segment(maps, (8, 8), DiffSegOptions(**(options | changed)))
    used = options | changed
    merged = merge(maps[0], used["points"], [used["threshold"]] * used["iterations"])
    assert torch.equal(found, suppress(merged, (8, 8)))
    plain = segment(maps, (8, 8), DiffSegOptions(**options))
    assert torch.equal(found, plain) == (not changed)


def test_refinement_is_k_means_from_the_merged_maps():
    maps = some_attention(sharpness=1.5)
    options = {"iterations": 2, "threshold": 1.0, "points": 4}
    merged = merge(maps[0], 4, [1.0] * 2)
    labels = kmeans(maps[0], merged)
    means = cluster_means(maps[0], labels, merged)[labels.unique()]
    refined = segment(maps, (8, 8), DiffSegOptions(refine=True, **options))
    assert torch.equal(refined, suppress(means, (8, 8)))
    assert not torch.equal(refined, segment(maps, (8, 8), DiffSegOptions(**options)))


def test_clusters_are_as_many_as_asked_and_follow_the_seed():
    maps = some_attention(sharpness=4.0)
    options = DiffSegOptions(clusters=5, points=4)
    first = segment(maps, (32, 32), options, seed=1)
    assert len(first.unique()) == 5
    assert torch.equal(first, segment(maps, (32, 32), options, seed=1))
    assert not torch.equal(first, segment(maps, (32, 32), options, seed=2))


def stripes(side, axis):
    """Attention whose two halves along an axis look at themselves alone."""
    half = (torch.arange(side * side) // side if axis == 0 else torch.arange(side * side) % side) < side // 2
    maps = torch.where(half[:, None] == half[None, :], 1.0, 1e-3)
    return maps / maps.sum(dim=1, keepdim=True)


@pytest.mark.parametrize(("weights", "axis"), [("1,0,0,0", 1), ("0,1,0,0", 0), ("10,1,0,0", 1), ("1,10,0,0", 0)])
def test_weights_choose_the_resolution_that_counts(weights, axis):
    attentions = [stripes(16, 1), stripes(8, 0), *some_attention(sides=(4, 2))]
    labels = segment(attentions, (16, 16), DiffSegOptions(weights=weights, points=4, threshold=1.0))
    assert labels.unique().tolist() == [0, 1]
    assert (labels[:8, :8] == labels[0, 0]).all()
    assert (labels[0, 15] != labels[0, 0]) == (axis == 1)
    assert (labels[15, 0] != labels[0, 0]) == (axis == 0)


def test_weights_of_resolutions_that_the_model_does_not_have_are_an_error():
    with pytest.raises(OptionError, match='weights is "uniform", for 4 resolutions; this model has attention of 3'):
        segment(some_attention(sides=(8, 4, 2)), (8, 8), DiffSegOptions(weights="uniform", points=4))


def test_half_precision_can_lose_segments_and_says_where_it_loses_all():
    left = torch.arange(64) % 8 < 4
    sharp = torch.where(left[:, None] == left[None, :], 1.0, 1e-10) / 32
    soft = torch.where(left[:, None], 1 / 64, sharp)
    options = {"points": 4, "threshold": 0.5}
    assert segment([soft], (8, 8), DiffSegOptions(**options)).unique().tolist() == [0, 1]
    halved = DiffSegOptions(half_precision_merge=True, **options)
    assert segment([soft], (8, 8), halved).unique().tolist() == [0]
    with pytest.raises(EmptyMaskError, match="half precision loses every segment. Leave out -O half_precision_merge"):
        segment([sharp], (8, 8), halved)


@pytest.mark.parametrize(
    ("given_options", "message"),
    [
        ({"threshold": 0.0}, "threshold is 0.0, expected more than 0"),
        ({"iterations": 1}, "iterations is 1, expected 2 or more"),
        ({"image_size": 500}, "image_size is 500, expected a multiple of 64"),
        ({"points": 65}, "points is 65, expected 2 to 64"),
        ({"timestep": 1000}, "timestep is 1000, expected 0 to 999"),
        ({"clusters": 255}, "clusters is 255, expected 0 to 254"),
        ({"weights": "1,2"}, "expected resolution, uniform or four numbers"),
        ({"weights": "0,0,0,0"}, "expected resolution, uniform or four numbers"),
    ],
)
def test_options_out_of_range_are_errors(given_options, message):
    with pytest.raises(ValueError, match=message):
        DiffSegOptions(**given_options)


def test_resolution_weights_are_read():
    assert DiffSegOptions().resolution_weights() is None
    assert DiffSegOptions(weights="uniform").resolution_weights() == (0.25,) * 4
    assert DiffSegOptions(weights="2,1,1,0").resolution_weights() == (0.5, 0.25, 0.25, 0.0)


def test_segments_are_numbered_from_one_and_the_smallest_left_out():
    segments = np.array([[0, 0, 3], [3, 3, 7]])
    assert number_segments(segments).tolist() == [[1, 1, 2], [2, 2, 3]]
    many = np.concatenate([np.arange(256), np.arange(10, 256)])[None]
    numbered = number_segments(many)
    assert np.unique(many[numbered == 0]).tolist() == [8, 9]
    assert np.unique(numbered).tolist() == list(range(255))


def test_pixels_reach_the_network_as_it_was_trained():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = image.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(square_image(image, 64, "stretch").numpy(), expected, atol=1e-6)
    lines = np.zeros((256, 256, 3), dtype=np.uint8)
    lines[:, ::4] = 255
    assert square_image(lines, 64, "stretch").unique().numel() > 1
    np.testing.assert_allclose(square_image(lines, 64, "stretch")[:, 8:-8, 8:-8].numpy(), -0.5, atol=0.1)


def test_a_letterboxed_frame_keeps_its_shape():
    image = np.full((30, 60, 3), 255, dtype=np.uint8)
    square = square_image(image, 64, "letterbox")
    assert (square[:, :32] == 1).all()
    assert (square[:, 32:] == 0).all()
    assert (square_image(image, 64, "stretch") == 1).all()
