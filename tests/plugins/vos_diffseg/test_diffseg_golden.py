"""DiffSeg's steps against recorded outputs of the official code.

``VOS_GOLDEN`` names a folder with other recordings, ``diffseg*.npz``; sides, grids, thresholds and runs are read from
their names.
"""

import os
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from vos_diffseg.aggregation import aggregate, resolution_weights
from vos_diffseg.kmeans import cluster_means, kmeans
from vos_diffseg.merging import anchor_cells, half_precision_kl, merge, merge_once, merge_to_anchors, symmetric_kl
from vos_diffseg.options import DiffSegOptions
from vos_diffseg.segment import segment
from vos_diffseg.suppression import suppress

DATA = Path(os.environ.get("VOS_GOLDEN", Path(__file__).parents[2] / "data" / "diffseg"))
NAMES = sorted(path.stem for path in DATA.glob("diffseg*.npz"))
PATCHED = "patched_fp32_first_merge/"
"""Runs whose first merge is in single precision; the official one is in half precision."""


@cache
def golden(name):
    with np.load(DATA / f"{name}.npz") as arrays:
        return dict(arrays)


def sides(name):
    """The recorded resolutions, the largest first."""
    return sorted((int(key[1:]) for key in golden(name) if re.fullmatch(r"Q\d+", key)), reverse=True)


def names_with(suffix):
    """The recordings that hold an array, and the array's prefix in each."""
    return [(name, key[: -len(suffix)]) for name in NAMES for key in golden(name) if key.endswith(suffix)]


def grid_of(name):
    """Anchors a side: the grid of the recording's runs has as many as the first merge's proposals."""
    counts = {int(golden(name)[f"{case}num_proposals"][0]) for n, case in names_with("num_proposals") if n == name}
    (count,) = counts
    return round(count**0.5)


@cache
def attentions(name):
    """Self-attention of each recorded side."""
    arrays = golden(name)
    result = []
    for side in sides(name):
        queries, keys = (torch.from_numpy(arrays[f"{letter}{side}"]).double() for letter in "QK")
        result.append(torch.softmax(queries @ keys.transpose(1, 2), dim=-1).float())
    return result


@cache
def aggregated(name):
    return aggregate(attentions(name))


def threshold_of(case):
    return float(re.search(r"kl([\d.]+)", case)[1])


def as_maps(name, tensor):
    side = sides(name)[0]
    return tensor.numpy().reshape(-1, side, side)


def cells(name, positions):
    return torch.from_numpy(positions[:, 0] * sides(name)[0] + positions[:, 1])


def first_merge(name, threshold, *, half_precision=True):
    anchors = anchor_cells(grid_of(name), sides(name)[0])
    return merge_to_anchors(aggregated(name), anchors, threshold, half_precision=half_precision)


@pytest.mark.parametrize(
    ("name", "points"),
    [(name, int(key[5:])) for name in NAMES for key in golden(name) if re.fullmatch(r"grid_\d+", key)],
)
def test_the_anchors_are_the_official_grid(name, points):
    assert torch.equal(anchor_cells(points, sides(name)[0]), cells(name, golden(name)[f"grid_{points}"]))


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_the_official_ratio(name):
    assert resolution_weights(sides(name)) == pytest.approx(golden(name)["weight_ratio"].tolist())


@pytest.mark.parametrize(("name", "prefix"), names_with("agg_rows"))
def test_aggregated_rows_are_the_official_ones(name, prefix):
    arrays = golden(name)
    rows = cells(name, arrays["agg_positions_ij"])
    np.testing.assert_allclose(as_maps(name, aggregated(name)[rows]), arrays["agg_rows"], atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", [name for name in NAMES if "agg_rows_uniform_ratio_first16" in golden(name)])
def test_aggregation_takes_other_weights(name):
    arrays = golden(name)
    expected = arrays["agg_rows_uniform_ratio_first16"]
    rows = cells(name, arrays["agg_positions_ij"])[: len(expected)]
    count = len(sides(name))
    maps = aggregate(attentions(name), [1 / count] * count)[rows]
    np.testing.assert_allclose(as_maps(name, maps), expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_divergences_are_the_official_method_in_double_precision(name):
    arrays = golden(name)
    maps, anchors = aggregated(name), anchor_cells(grid_of(name), sides(name)[0])
    found = symmetric_kl(maps[anchors], maps)[torch.from_numpy(arrays["kl_anchor_grid_index"])]
    np.testing.assert_allclose(found.numpy(), arrays["kl_fp64"], atol=1e-5, rtol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_divergences_are_the_official_ones(name):
    arrays = golden(name)
    anchors = anchor_cells(grid_of(name), sides(name)[0])[torch.from_numpy(arrays["kl_anchor_grid_index"])]
    maps = aggregated(name)
    found, expected = half_precision_kl(maps[anchors], maps).numpy(), arrays["kl_fp16"].astype(np.float32)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(("name", "case"), names_with("merged_0_index"))
def test_the_first_merge_is_the_official_one(name, case):
    arrays = golden(name)
    rows = torch.from_numpy(arrays[f"{case}merged_0_index"])
    found = as_maps(name, first_merge(name, threshold_of(case))[rows])
    np.testing.assert_allclose(found, arrays[f"{case}merged_0"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "case"), names_with("merged_2"))
def test_the_last_merge_is_the_official_one(name, case):
    count = len(golden(name)[f"{case}num_proposals"])
    maps = merge(aggregated(name), grid_of(name), [threshold_of(case)] * count, half_precision=True)
    np.testing.assert_allclose(as_maps(name, maps), golden(name)[f"{case}merged_2"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "case"), names_with("label_map"))
def test_the_label_map_is_the_official_one(name, case):
    arrays, half_precision, threshold = golden(name), not case.startswith(PATCHED), threshold_of(case)
    merged = [first_merge(name, threshold, half_precision=half_precision)]
    for _ in arrays[f"{case}num_proposals"][1:]:
        merged.append(merge_once(merged[-1], threshold))
    assert [len(m) for m in merged] == arrays[f"{case}num_proposals"].tolist()
    if f"{case}merged_0_nan_rows" in arrays:
        assert np.array_equal(merged[0].isnan().all(dim=1).numpy(), arrays[f"{case}merged_0_nan_rows"])
    options = DiffSegOptions(
        threshold=threshold,
        half_precision_merge=half_precision,
        refine="refine1" in case,
        points=grid_of(name),
        iterations=len(arrays[f"{case}num_proposals"]),
    )
    expected = arrays[f"{case}label_map"]
    assert np.array_equal(segment(attentions(name), expected.shape, options).numpy(), expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("nan")])
def test_half_precision_loses_proposals_that_the_default_keeps(name):
    cases = [case for other, case in names_with("num_proposals") if other == name]
    half, single = (next(case for case in cases if case.startswith(PATCHED) == patched) for patched in (False, True))
    counts = [
        len(merge(aggregated(name), grid_of(name), [threshold_of(case)] * 3, half_precision=case == half))
        for case in (half, single)
    ]
    assert counts == [int(golden(name)[f"{case}num_proposals"][-1]) for case in (half, single)]
    assert counts[0] < counts[1]


@pytest.mark.parametrize(("name", "case"), names_with("kmeans_labels"))
def test_k_means_is_the_official_refinement(name, case):
    arrays, maps = golden(name), aggregated(name)
    proposals = merge(maps, grid_of(name), [threshold_of(case)] * 3, half_precision=True).float()
    labels = kmeans(maps, proposals)
    expected = arrays[f"{case}kmeans_labels"]
    assert np.array_equal(labels.numpy().reshape(expected.shape), expected)
    means = cluster_means(maps, labels, proposals)
    inertia = float((maps - means[labels]).double().square().sum())
    assert inertia == pytest.approx(float(arrays[f"{case}kmeans_inertia"]), rel=1e-6)


def test_suppression_of_one_proposal_is_one_segment():
    assert not suppress(torch.rand(1, 64), (20, 30)).any()
