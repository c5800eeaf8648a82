"""DiffSeg's steps against reference outputs of the official release."""

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

DATA = Path(__file__).parents[2] / "data" / "diffseg"
SIDES = (64, 32, 16, 8)


@cache
def golden(name):
    with np.load(DATA / f"{name}.npz") as arrays:
        return dict(arrays)


@cache
def attentions(name):
    """Self-attention of sides 64, 32, 16 and 8."""
    arrays = golden(name)
    result = []
    for side in SIDES:
        queries, keys = (torch.from_numpy(arrays[f"{letter}{side}"]).double() for letter in "QK")
        result.append(torch.softmax(queries @ keys.transpose(1, 2), dim=-1).float())
    return result


@cache
def aggregated(name):
    return aggregate(attentions(name))


def as_maps(tensor):
    return tensor.numpy().reshape(-1, 64, 64)


def cells(positions):
    return torch.from_numpy(positions[:, 0] * 64 + positions[:, 1])


@pytest.mark.parametrize("points", [8, 10, 16])
def test_the_anchors_are_the_official_grid(points):
    assert torch.equal(anchor_cells(points, 64), cells(golden("diffseg")[f"grid_{points}"]))


def test_the_weights_are_the_official_ratio():
    assert resolution_weights(SIDES) == pytest.approx(golden("diffseg")["weight_ratio"].tolist())


def test_aggregated_rows_are_the_official_ones():
    arrays = golden("diffseg")
    rows = cells(arrays["agg_positions_ij"])
    np.testing.assert_allclose(as_maps(aggregated("diffseg")[rows]), arrays["agg_rows"], atol=1e-8, rtol=0)


def test_aggregation_takes_other_weights():
    arrays = golden("diffseg")
    expected = arrays["agg_rows_uniform_ratio_first16"]
    rows = cells(arrays["agg_positions_ij"])[: len(expected)]
    maps = aggregate(attentions("diffseg"), [0.25] * 4)[rows]
    np.testing.assert_allclose(as_maps(maps), expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", ["diffseg", "diffseg_fp16_nan"])
def test_divergences_are_the_official_method_in_double_precision(name):
    arrays = golden(name)
    maps = aggregated(name)
    found = symmetric_kl(maps[anchor_cells(16, 64)], maps)[torch.from_numpy(arrays["kl_anchor_grid_index"])]
    np.testing.assert_allclose(found.numpy(), arrays["kl_fp64"], atol=1e-5, rtol=2e-6)


@pytest.mark.parametrize("name", ["diffseg", "diffseg_fp16_nan"])
def test_half_precision_divergences_are_the_official_ones(name):
    arrays = golden(name)
    anchors = anchor_cells(16, 64)[torch.from_numpy(arrays["kl_anchor_grid_index"])]
    maps = aggregated(name)
    found, expected = half_precision_kl(maps[anchors], maps).numpy(), arrays["kl_fp16"].astype(np.float32)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=0.01, rtol=0)


def test_the_first_merge_is_the_official_one():
    arrays = golden("diffseg")
    maps = merge_to_anchors(aggregated("diffseg"), anchor_cells(16, 64), 0.9, half_precision=True)
    rows = torch.from_numpy(arrays["kl0.9_refine0/merged_0_index"])
    np.testing.assert_allclose(as_maps(maps[rows]), arrays["kl0.9_refine0/merged_0"], atol=1e-5, rtol=0)


def test_the_last_merge_is_the_official_one():
    maps = merge(aggregated("diffseg"), 16, [0.9] * 3)
    np.testing.assert_allclose(as_maps(maps), golden("diffseg")["kl0.9_refine0/merged_2"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "case", "threshold", "half_precision", "refine"),
    [
        ("diffseg", "kl0.9_refine0", 0.9, True, False),
        ("diffseg", "kl1.0_refine0", 1.0, True, False),
        ("diffseg", "kl0.9_refine1", 0.9, True, True),
        ("diffseg", "kl1.0_refine1", 1.0, True, True),
        ("diffseg", "patched_fp32_first_merge/kl0.9", 0.9, False, False),
        ("diffseg", "patched_fp32_first_merge/kl1.0", 1.0, False, False),
        ("diffseg_fp16_nan", "kl1.0_refine0", 1.0, True, False),
        ("diffseg_fp16_nan", "patched_fp32_first_merge/kl1.0", 1.0, False, False),
    ],
)
def test_the_label_map_is_the_official_one(name, case, threshold, half_precision, refine):
    arrays, maps = golden(name), aggregated(name)
    merged = [merge_to_anchors(maps, anchor_cells(16, 64), threshold, half_precision=half_precision)]
    for _ in range(2):
        merged.append(merge_once(merged[-1], threshold))
    assert [len(m) for m in merged] == arrays[f"{case}/num_proposals"].tolist()
    if f"{case}/merged_0_nan_rows" in arrays:
        assert np.array_equal(merged[0].isnan().all(dim=1).numpy(), arrays[f"{case}/merged_0_nan_rows"])
    options = DiffSegOptions(threshold=threshold, half_precision_merge=half_precision, refine=refine)
    labels = segment(attentions(name), (512, 512), options).numpy()
    assert np.array_equal(labels, arrays[f"{case}/label_map"])


def test_half_precision_loses_proposals_that_the_default_keeps():
    counts = {
        half_precision: len(merge(aggregated("diffseg_fp16_nan"), 16, [1.0] * 3, half_precision=half_precision))
        for half_precision in (True, False)
    }
    assert counts == {True: 4, False: 6}


@pytest.mark.parametrize("threshold", [0.9, 1.0])
def test_k_means_is_the_official_refinement(threshold):
    arrays, maps = golden("diffseg"), aggregated("diffseg")
    proposals = merge(maps, 16, [threshold] * 3, half_precision=True).float()
    labels = kmeans(maps, proposals)
    assert np.array_equal(labels.numpy().reshape(64, 64), arrays[f"kl{threshold}_refine1/kmeans_labels"])
    means = cluster_means(maps, labels, proposals)
    inertia = float((maps - means[labels]).double().square().sum())
    assert inertia == pytest.approx(float(arrays[f"kl{threshold}_refine1/kmeans_inertia"]), rel=1e-6)


def test_suppression_of_one_proposal_is_one_segment():
    assert not suppress(torch.rand(1, 64), (20, 30)).any()
