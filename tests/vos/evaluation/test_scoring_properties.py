"""Properties of J and F for any masks, and packed masks against pixels."""

from __future__ import annotations

from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from vos.errors import InputError, OptionError
from vos.evaluation import (
    HungarianScorer,
    SemanticScorer,
    SequenceScorer,
    boundary_accuracy,
    boundary_iou,
    boundary_of,
    protocol_named,
    region_similarity,
    score_sequence,
    tolerance_in_pixels,
)
from vos.evaluation.metrics import packed_masks as bits_module
from vos.evaluation.metrics.frame_scores import score_frame, score_proposals

sizes = st.tuples(st.integers(1, 20), st.integers(1, 140))


@st.composite
def masks(draw: st.DrawFn, count: int = 1) -> list[np.ndarray]:
    """Blobs and noise of one size, often at the frame's edge, sometimes empty or full."""
    size = draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = []
    for _ in range(count):
        kind = draw(st.sampled_from(["empty", "full", "noise", "box"]))
        mask = np.full(size, kind == "full")
        if kind == "noise":
            mask = rng.random(size) < rng.random()
        if kind == "box":
            (y0, y1), (x0, x1) = (np.sort(rng.integers(0, side + 1, 2)) for side in size)
            mask[y0:y1, x0:x1] = True
        made.append(mask)
    return made


@settings(max_examples=150, deadline=None)
@given(masks(3), st.integers(0, 12))
def test_equal_to_the_plain_procedure(plain: ModuleType, made: list[np.ndarray], pixels: int) -> None:
    truth, mask, void = made
    tolerance = 0.0 if pixels == 0 else float(pixels)
    assert region_similarity(truth, mask) == plain.plain_j(truth, mask)
    assert region_similarity(truth, mask, void) == plain.plain_j(truth, mask, void)
    assert boundary_accuracy(truth, mask, tolerance=tolerance) == plain.plain_f(truth, mask, None, tolerance)
    assert boundary_accuracy(truth, mask, void) == plain.plain_f(truth, mask, void)
    assert np.array_equal(boundary_of(mask), plain.outline(mask))


@settings(max_examples=100, deadline=None)
@given(masks(2), st.integers(0, 12))
def test_symmetry_identity_and_range(made: list[np.ndarray], pixels: int) -> None:
    first, second = made
    for measure in (region_similarity, boundary_accuracy):
        assert 0 <= measure(first, second) <= 1
        assert measure(first, second) == measure(second, first)
        assert measure(first, first) == 1
    assert boundary_accuracy(first, second, tolerance=pixels) <= boundary_accuracy(first, second, tolerance=pixels + 1)


@settings(max_examples=60, deadline=None)
@given(masks(1), st.integers(0, 70))
def test_dilation_is_a_disk(plain: ModuleType, made: list[np.ndarray], radius: int) -> None:
    packed = bits_module.dilate(bits_module.pack(made[0]), radius)
    expected = binary_dilation(made[0], plain.disk(radius))
    assert np.array_equal(bits_module.unpack(packed, made[0].shape[1]), expected)


@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_a_corner_is_dilated_by_the_whole_disk(plain: ModuleType, corner: tuple[int, int]) -> None:
    masks = np.zeros((2, 21, 49), bool)
    masks[(slice(None), *corner)] = True
    for radius in (*range(20), 63, 64, 65):
        packed = bits_module.dilate(bits_module.pack(masks), radius)
        expected = binary_dilation(masks[0], plain.disk(radius))
        for mask in bits_module.unpack(packed, 49):
            assert np.array_equal(mask, expected), radius


@settings(max_examples=60, deadline=None)
@given(masks(2), st.integers(1, 40), st.integers(1, 140))
def test_a_wider_frame_changes_nothing_for_masks_away_from_the_edge(
    made: list[np.ndarray], down: int, right: int
) -> None:
    truth, mask = (np.pad(m, 1) for m in made)
    far_truth, far_mask = (np.pad(m, ((down, 3), (right, 5))) for m in (truth, mask))
    assert region_similarity(far_truth, far_mask) == region_similarity(truth, mask)
    assert boundary_accuracy(far_truth, far_mask, tolerance=3) == boundary_accuracy(truth, mask, tolerance=3)


def test_a_mask_that_is_right_but_for_one_pixel_is_not_quite_right(plain: ModuleType) -> None:
    truth = np.zeros((60, 140), dtype=np.uint8)
    truth[5:55, 10:130] = 1
    prediction = truth.copy()
    prediction[30, 70] = 0
    frame = score_frame(truth, prediction, (1,), 2)
    assert frame.j[0] == plain.plain_j(truth > 0, prediction > 0) > 0.999
    assert frame.f[0] == plain.plain_f(truth > 0, prediction > 0, None, 2.0) < 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations([1, 2, 3, 9, 40, 254]))
def test_renaming_ids_renames_the_scores(seed: int, names: list[int]) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, 4, (2, 12, 70), dtype=np.uint8)
    renamed = np.array([0, *names[:3]], dtype=np.uint8)
    plain, other = (
        score_frame(t, p, ids, 2)
        for t, p, ids in ((truth, prediction, (1, 2, 3)), (renamed[truth], renamed[prediction], names[:3]))
    )
    for object_id in plain.object_ids:
        row, other_row = plain.object_ids.index(object_id), other.object_ids.index(renamed[object_id])
        assert (plain.j[row], plain.f[row]) == (other.j[other_row], other.f[other_row])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whole_frames_and_boxes_agree(plain: ModuleType, seed: int) -> None:
    """The box of both masks gives what whole frames give, for objects and for proposals."""
    rng = np.random.default_rng(seed)
    truth, prediction = np.zeros((2, 30, 200), dtype=np.uint8)
    for label_map in (truth, prediction):
        for object_id in (1, 2):
            y, x = rng.integers(0, 30), rng.integers(0, 200)
            label_map[y : y + rng.integers(1, 20), x : x + rng.integers(1, 90)] = object_id
    radius = int(rng.integers(0, 9))
    frame = score_frame(truth, prediction, (1, 2), radius)
    matrix = score_proposals(truth, prediction, radius)
    for row, object_id in enumerate(frame.object_ids):
        expected = plain.plain_f(truth == object_id, prediction == object_id, None, float(radius))
        assert frame.j[row] == plain.plain_j(truth == object_id, prediction == object_id)
        assert frame.f[row] == expected
        at = [ids.index(object_id) if object_id in ids else -1 for ids in (matrix.prediction_ids, matrix.truth_ids)]
        assert (matrix.j[tuple(at)], matrix.f[tuple(at)]) == (frame.j[row], frame.f[row])


def test_known_values() -> None:
    square = np.zeros((48, 64), dtype=bool)
    square[10:20, 10:20] = True
    moved = np.roll(square, 4, axis=1)
    assert region_similarity(square, moved) == 60 / 140
    assert boundary_accuracy(square, moved) == pytest.approx(0.45, abs=1e-12)
    nothing = np.zeros_like(square)
    assert (region_similarity(nothing, nothing), boundary_accuracy(nothing, nothing)) == (1, 1)
    assert (region_similarity(square, nothing), boundary_accuracy(square, nothing)) == (0, 0)
    everything = np.ones_like(square)
    assert boundary_accuracy(everything, nothing) == 1  # neither has a boundary, as in the official tool
    assert boundary_accuracy(everything, square) == 0


def test_packing_and_back() -> None:
    mask = np.random.default_rng(0).random((3, 5, 100)) < 0.5
    packed = bits_module.pack(mask)
    assert packed.dtype == np.uint64
    assert packed.shape == (3, 5, 2)
    assert bits_module.count(packed) == mask.sum()
    assert np.array_equal(bits_module.unpack(packed, 100), mask)


def test_counting_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = bits_module.pack(np.random.default_rng(0).random((5, 100)) < 0.5)
    expected = bits_module.count(packed)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert bits_module.count(packed) == expected


@pytest.mark.parametrize("tolerance", [-0.1, 1.5, float("nan"), float("inf")])
def test_a_tolerance_that_makes_no_sense(tolerance: float) -> None:
    with pytest.raises(InputError, match="expected a share of the diagonal below 1"):
        tolerance_in_pixels(tolerance, (10, 10))


def test_sizes_must_agree() -> None:
    with pytest.raises(InputError, match=r"mask is \(4, 5\), truth is \(4, 4\)"):
        region_similarity(np.zeros((4, 4)), np.zeros((4, 5)))
    with pytest.raises(InputError, match=r"frame 00001: prediction is 4x5, annotation is 4x4"):
        score_sequence(np.ones((3, 4, 4), np.uint8), np.ones((3, 4, 5), np.uint8), name="bear")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_semantic_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, prediction = rng.integers(-1, 6, (2, 9, 11))
    scorer = SemanticScorer(5)
    scorer.add(prediction, labels)
    scored = (labels >= 0) & (labels < 5)
    for c in range(5):
        here, said = scored & (labels == c), scored & (prediction == c)
        union = (here | said).sum()
        assert scorer.iou[c] == ((here & said).sum() / union if union else np.nan)
    assert scorer.accuracy == (prediction == labels)[scored].mean()


def test_hungarian_scores_do_not_depend_on_proposal_numbers() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, (20, 20))
    proposals = np.where(rng.random((20, 20)) < 0.8, labels, rng.integers(0, 6, (20, 20)))
    first, second = HungarianScorer(6), HungarianScorer(6)
    first.add(proposals, labels)
    second.add(rng.permutation(6)[proposals], labels)
    assert first.accuracy == second.accuracy
    assert first.mean_iou == pytest.approx(second.mean_iou)
    with pytest.raises(InputError, match="proposals go down to -1"):
        first.add(proposals - 1, labels)
    with pytest.raises(InputError, match="expected one size"):
        first.add(proposals[:5], labels)


@settings(max_examples=60, deadline=None)
@given(masks(2), st.floats(0.001, 0.6))
def test_boundary_iou_is_that_of_what_the_official_erosion_takes_away(two: list[np.ndarray], share: float) -> None:
    def region(mask: np.ndarray) -> np.ndarray:
        # mask_to_boundary of bowenc0221/boundary-iou-api: a border of zeros, then d erosions by 3 x 3.
        height, width = mask.shape
        steps = max(1, round(share * np.sqrt(height**2 + width**2)))
        padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=steps)[1:-1, 1:-1]
        return (mask.astype(np.uint8) - eroded).astype(bool)

    shared, joined = (region(two[0]) & region(two[1])).sum(), (region(two[0]) | region(two[1])).sum()
    assert boundary_iou(*two, share) == (shared / joined if joined else 1.0)


def test_boundary_iou_of_a_video_by_frames_and_as_a_tube() -> None:
    """10 x 10 px in 50 x 80, width 2 px: a ring of 64 px; moved 5 px right, the rings share 4 rows of 5 px."""
    truth = np.zeros((50, 80), np.uint8)
    truth[10:20, 10:20] = 1
    moved, larger = np.roll(truth, 5, axis=1), np.pad(truth, 0)
    larger[10:20, 10:30] = 1
    predictions = [truth, moved, np.zeros_like(truth), larger, truth]
    rules = protocol_named("davis-2017", boundary_iou=True)
    (one,) = score_sequence([truth] * 5, predictions, rules).objects
    areas = [(20, 108), (0, 64), (52, 116)]
    assert one.boundary.tolist() == [list(pair) for pair in areas]
    assert one.b.tolist() == [shared / joined for shared, joined in areas]
    assert one.b_tube == sum(a for a, _ in areas) / sum(b for _, b in areas)
    with pytest.raises(OptionError, match="matches proposals"):
        protocol_named("davis-2017-unsupervised", boundary_iou=True)


def test_scores_may_be_asked_for_in_the_middle_of_a_sequence() -> None:
    early, late = np.zeros((2, 20, 30), np.uint8)
    early[2:9, 3:12] = late[2:9, 3:12] = 1
    late[12:18, 5:25] = 2
    scorer = SequenceScorer("v", early, "youtube-vos")
    for n, truth in enumerate((early, late, late)):
        scorer.add(scorer.score(truth, truth), f"{n:05d}")
        assert scorer.stray_ids() == []
        assert [one.object_id for one in scorer.scores().objects] == ([1] if n == 0 else [1, 2])


def test_a_tolerance_beyond_the_frame_is_no_wait() -> None:
    truth, mask = np.zeros((2, 30, 70), np.uint8)
    truth[2:5, 2:5] = mask[25:28, 64:68] = 1
    assert boundary_accuracy(truth, mask, tolerance=1e9) == boundary_accuracy(truth, mask, tolerance=76) == 1
    assert boundary_accuracy(truth, mask, tolerance=30) == 0


def test_a_proposal_inside_void_alone_is_an_empty_proposal() -> None:
    """The official tool counts ids before it cuts void out, so that an absent object can have this one."""
    truth = np.zeros((3, 30, 40), np.uint8)
    truth[0, 2:8, 2:8], truth[:, 12:20, 12:20], truth[:, 24:] = 1, 2, 255
    prediction = np.zeros_like(truth)
    prediction[:, 12:20, 12:20], prediction[1:, 2:8, 30:36], prediction[:, 26:29] = 1, 2, 3
    scores = score_sequence(truth, prediction, "davis-2017-unsupervised")
    assert [one.proposal_id for one in scores.objects] == [3, 1]
    assert [one.j.tolist() for one in scores.objects] == [[0, 1, 1], [1, 1, 1]]
    assert [one.f.tolist() for one in scores.objects] == [[0, 1, 1], [1, 1, 1]]
    prediction[:, 12:20, 12:20] = 0
    assert [one.j.tolist() for one in score_sequence(truth, prediction, "davis-2017-unsupervised").objects][1] == [
        0
    ] * 3
