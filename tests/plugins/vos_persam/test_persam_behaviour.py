"""PerSAM with a model that truly segments drawn shapes: objects are tracked, lost, found again, added, corrected.

The J that is asserted is what the tiny model reaches here, less a margin; the figures are in docs/trackers/persam.md.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import vos
from vos.host.merging import merge_objects
from vos.plugin import AnnotatingTracker, EncodingAheadTracker, ForgettingTracker, OptionError
from vos.testing import TinySequence, contract_test
from vos_persam import PersamFOptions, PersamOptions, vos_trackers
from vos_persam.official import OfficialTracker
from vos_persam.target import count_places, similar_points
from vos_persam.tracker import PersamTracker
from vos_sam.model import SegmentAnything

CHECKPOINT = Path(__file__).parents[2] / "data" / "sam_shapes" / "sam_shapes.pth"
SIZE = (240, 320)
LENGTH = 12
COLOURS = {1: (215, 50, 45), 2: (45, 90, 220), 3: (240, 200, 40)}
GONE = range(5, 8)
"""Frames in which object 2 is not there; it comes back elsewhere."""


def draw(index, ids=(1, 2, 3)):
    """One frame of the clip and its exact label map."""
    random = np.random.default_rng(index)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    image = np.stack([96 + 20 * np.sin(x / 37), 112 + 14 * np.cos(y / 29), 104 + 0 * x], axis=-1)
    label_map = np.zeros(SIZE, np.uint8)
    shapes = {
        1: lambda canvas: cv2.circle(canvas, (70 + 6 * index, 80 + 2 * index), 34, 1, -1),
        2: lambda canvas: cv2.rectangle(canvas, *_square(index), 1, -1),
        3: lambda canvas: cv2.fillPoly(canvas, [_triangle(index)], 1),
    }
    for object_id in ids:
        if object_id == 2 and index in GONE:
            continue
        canvas = np.zeros(SIZE, np.uint8)
        shapes[object_id](canvas)
        image[canvas > 0] = COLOURS[object_id]
        label_map[canvas > 0] = object_id
    image = cv2.GaussianBlur(image, (0, 0), 0.7) + random.normal(0, 4, image.shape)
    return vos.Frame(index, image.clip(0, 255).astype(np.uint8), f"{index:05d}"), label_map


def _square(index):
    left, top = (230 - 4 * index, 40) if index < GONE.start else (250 - 4 * index, 150)
    return (left, top), (left + 56, top + 56)


def _triangle(index):
    return np.array([[40 + 3 * index, 220], [110 + 3 * index, 224], [75 + 3 * index, 160]], np.int32)


def run(tracker, ids=(1, 2, 3), length=LENGTH, start=None):
    """Track the clip: label maps, exact label maps, predictions."""
    frame, label_map = draw(0, ids)
    tracker.start(frame, label_map if start is None else start, tracker.encode([frame])[0])
    results = []
    for index in range(1, length):
        frame, exact = draw(index, ids)
        prediction = tracker.step(frame, tracker.encode([frame])[0])
        results.append(SimpleNamespace(ours=merge_objects(prediction, SIZE), exact=exact, prediction=prediction))
    return results


def j(results, object_id):
    """Mean J over the frames that the object is in."""
    values = []
    for result in results:
        ours, exact = result.ours == object_id, result.exact == object_id
        if exact.any():
            values.append((ours & exact).sum() / (ours | exact).sum())
    return float(np.mean(values))


@pytest.fixture(scope="module")
def tracked(shapes):
    return {name: run(PersamTracker(shapes, options())) for name, options in OPTIONS.items()}


OPTIONS = {"persam": PersamOptions, "persam-f": PersamFOptions}


@pytest.mark.parametrize("name", OPTIONS)
def test_objects_are_tracked(tracked, name):
    results = tracked[name]
    reached = {object_id: j(results, object_id) for object_id in COLOURS}
    assert reached[1] > 0.85, reached
    assert reached[3] > 0.8, reached
    assert all(result.prediction.object_ids == (1, 2, 3) for result in results)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_object_that_vanishes_is_lost_and_found_again_elsewhere(tracked, name):
    results = tracked[name]
    for result in results:
        here = bool((result.exact == 2).any())
        assert bool(result.prediction.present[1]) == here
        assert (result.ours == 2).any() == here
        assert result.prediction.present[0]
        assert result.prediction.present[2]
    assert j(results, 2) > 0.8


def test_the_release_shifts_labels_where_an_object_is_gone(tiny, frames, embeddings, golden):
    """The official code's label shift, with other ids: 2 vanishes in frame 3, then 5 is called 2, 9 is called 5, and
    no object is called 9."""
    stored, ids = golden("persam_video_lost_object"), np.array([0, 2, 5, 9], np.uint8)
    tracker = OfficialTracker(tiny, PersamOptions())
    tracker.start(frames[0], ids[stored["first_frame_labels"]], embeddings[0])
    predictions = [tracker.step(frames[index], embeddings[index]) for index in range(1, 6)]
    ours = [merge_objects(prediction, frames[0].size) for prediction in predictions]
    assert [vos.object_ids(label_map) for label_map in ours] == [(2, 5, 9)] * 2 + [(5, 9)] + [(2, 5)] * 2
    shown = [np.array(prediction.object_ids)[prediction.present].tolist() for prediction in predictions]
    assert shown == [[2, 5, 9]] * 2 + [[5, 9]] + [[2, 5]] * 2
    for label_map, recorded in zip(ours, stored["asis/label_maps"][1:], strict=True):
        assert (label_map != ids[recorded]).mean() <= 1e-3
    for true_id, called in ((5, 2), (9, 5)):
        named = ours[3][(ours[2] == true_id) & (ours[3] > 0)]
        assert np.bincount(named).argmax() == called


@pytest.mark.parametrize("name", OPTIONS)
def test_compat_keeps_the_annotations_ids(name):
    """Through the host: the same masks as for 1 to K, under the ids that were given, and every object told of."""
    ids = np.array([0, 4, 6, 250], np.uint8)
    images, exact = zip(*[(frame.image, label_map) for frame, label_map in map(draw, range(3))], strict=True)
    sequence = TinySequence("shapes", images, exact, ())

    def label_maps(first):
        stream = vos.stream(
            sequence,
            first,
            tracker=name,
            options={"checkpoint": CHECKPOINT, "compat": True},
            runtime=vos.Runtime(device="cpu"),
            plugins=vos.load_plugins(["vos_persam"]),
        )
        return [label_map for _, label_map in stream]

    for plain, own in zip(label_maps(exact[0]), label_maps(ids[exact[0]]), strict=True):
        assert vos.object_ids(own) == (4, 6, 250)
        np.testing.assert_array_equal(own, ids[plain])


def test_compat_says_so_where_no_object_is_left(tiny, frames, embeddings, golden):
    tracker = OfficialTracker(tiny, PersamOptions())
    tracker.start(frames[0], golden("persam_video_lost_object")["first_frame_labels"], embeddings[0])
    tracker._boxes = []  # as after a frame in which every label had vanished
    prediction = tracker.step(frames[1], embeddings[1])
    assert prediction.object_ids == (1, 2, 3)
    assert not prediction.present.any()
    assert not merge_objects(prediction, frames[1].size).any()


def test_an_object_may_come_later_and_be_corrected_and_forgotten(shapes):
    tracker = PersamTracker(shapes, PersamOptions())
    frame, label_map = draw(0)
    tracker.start(frame, np.where(label_map == 1, 1, 0).astype(np.uint8), tracker.encode([frame])[0])
    frame, exact = draw(1)
    assert tracker.step(frame, tracker.encode([frame])[0]).object_ids == (1,)
    tracker.annotate(frame, np.where(exact == 3, 3, 0).astype(np.uint8))
    frame, exact = draw(2)
    prediction = tracker.step(frame, tracker.encode([frame])[0])
    ours = merge_objects(prediction, SIZE)
    assert prediction.object_ids == (1, 3)
    for object_id in (1, 3):
        both = (ours == object_id) & (exact == object_id)
        assert both.sum() / ((ours == object_id) | (exact == object_id)).sum() > 0.8

    # A correction: id 1 is from now on the square.
    tracker.annotate(frame, np.where(exact == 2, 1, 0).astype(np.uint8))
    frame, exact = draw(3)
    prediction = tracker.step(frame, tracker.encode([frame])[0])
    ours = merge_objects(prediction, SIZE) == 1
    assert prediction.object_ids == (1, 3)
    assert (ours & (exact == 2)).sum() / (ours | (exact == 2)).sum() > 0.8

    tracker.forget(1)
    assert tracker.step(frame, tracker.encode([frame])[0]).object_ids == (3,)
    tracker.forget(3)
    assert tracker.step(frame, tracker.encode([frame])[0]).object_ids == ()


@pytest.mark.parametrize(
    "options",
    [
        PersamOptions(memory=0.2),
        PersamOptions(guided=True),
        PersamOptions(negative=True),
        PersamOptions(box=False),
        PersamOptions(center=False, topk=1),
    ],
    ids=["memory", "guided", "negative", "no box", "one point"],
)
def test_other_prompts(shapes, options):
    results = run(PersamTracker(shapes, options), ids=(1, 3), length=5)
    assert [result.prediction.object_ids for result in results] == [(1, 3)] * 4
    assert j(results, 1) > 0.6


@pytest.mark.parametrize("kind", [PersamTracker, OfficialTracker])
@pytest.mark.parametrize("options", [PersamOptions, PersamFOptions])
def test_more_points_than_places_are_refused_at_the_first_frame(shapes, kind, options):
    frame, label_map = draw(0)
    tracker = kind(shapes, options(topk=SIZE[0] * SIZE[1] + 1))
    with pytest.raises(OptionError, match=r"topk is \d+, expected at most \d+"):
        tracker.start(frame, label_map, tracker.encode([frame])[0])


def test_as_many_points_as_places_are_taken(shapes):
    frame, _ = draw(0)
    (embedding,) = shapes.encode([frame.image])
    places = count_places(embedding.view, shapes.grid)
    assert similar_points(embedding.features[:1], embedding.view, places).shape == (1, places, 2)
    with pytest.raises(RuntimeError):
        similar_points(embedding.features[:1], embedding.view, places + 1)


def test_memory_changes_the_target_and_none_keeps_it(shapes):
    for share, changed in ((0.0, False), (0.3, True)):
        tracker = PersamTracker(shapes, PersamOptions(memory=share))
        frame, label_map = draw(0)
        tracker.start(frame, label_map, tracker.encode([frame])[0])
        before = tracker._objects[0].target.clone()
        frame, _ = draw(1)
        tracker.step(frame, tracker.encode([frame])[0])
        assert (not torch.equal(before, tracker._objects[0].target)) == changed


def test_an_object_smaller_than_a_cell_and_one_that_fills_the_frame(shapes):
    small = np.zeros(SIZE, np.uint8)
    small[100:103, 200:203] = 7
    whole = np.full(SIZE, 9, np.uint8)
    for label_map, object_id in ((small, 7), (whole, 9)):
        for options in (PersamOptions(), PersamFOptions()):
            results = run(PersamTracker(shapes, options), start=label_map, length=3)
            assert all(result.prediction.object_ids == (object_id,) for result in results)
            assert all(np.isfinite(result.prediction.logits).all() for result in results)


def test_a_frame_larger_than_the_input_keeps_its_boxes_in_its_own_pixels(shapes):
    tracker = PersamTracker(shapes, PersamOptions())
    for index in range(2):
        frame, label_map = draw(index)
        large = vos.Frame(index, np.repeat(np.repeat(frame.image, 3, 0), 3, 1), frame.name)
        exact = np.repeat(np.repeat(label_map, 3, 0), 3, 1)
        encoding = tracker.encode([large])[0]
        if index == 0:
            tracker.start(large, exact, encoding)
    prediction = tracker.step(large, encoding)
    ours = merge_objects(prediction, large.size) == 1
    assert (ours & (exact == 1)).sum() / (ours | (exact == 1)).sum() > 0.8
    y, x = np.nonzero(ours)
    np.testing.assert_allclose(tracker._objects[0].box, [x.min(), y.min(), x.max(), y.max()], atol=4)


def test_the_specs_make_the_trackers():
    runtime = vos.Runtime(device="cpu")
    made = {}
    for spec in vos_trackers():
        for compat in (False, True):
            made[spec.name, compat] = spec.factory(spec.options(checkpoint=CHECKPOINT, compat=compat), runtime)
    assert isinstance(made["persam", False], PersamTracker)
    assert isinstance(made["persam-f", True], OfficialTracker)
    assert isinstance(made["persam", True]._sam, SegmentAnything)
    assert isinstance(made["persam-f", False], AnnotatingTracker)
    assert isinstance(made["persam-f", False], ForgettingTracker)


# PerSAM keeps nothing of earlier frames: its memory is steady after a few frames.
def test_frames_are_encoded_ahead_where_there_are_two_cores_and_give_the_same_masks(shapes):
    threads = torch.get_num_threads()
    frames, label_maps = zip(*(draw(index) for index in range(4)), strict=True)
    try:
        torch.set_num_threads(1)
        assert not isinstance(PersamTracker(shapes, PersamOptions()), EncodingAheadTracker)
        torch.set_num_threads(2)
        tracker = PersamTracker(shapes, PersamOptions())
        assert isinstance(tracker, EncodingAheadTracker)
        with ThreadPoolExecutor(2) as pool:
            ahead = [encoding for (encoding,) in pool.map(lambda frame: tracker.encode_ahead([frame]), frames)]
        runs = []
        for encodings in (tracker.encode(frames), ahead):
            tracker.start(frames[0], label_maps[0], encodings[0])
            steps = [tracker.step(frame, given) for frame, given in zip(frames[1:], encodings[1:], strict=True)]
            runs.append([merge_objects(prediction, SIZE) for prediction in steps])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(one, other) for one, other in zip(*runs, strict=True))


test_contract = contract_test("persam", options={"checkpoint": CHECKPOINT}, min_iou=0.5, warm_up=4)
test_contract_with_learnt_weights = contract_test(
    "persam-f", options={"checkpoint": CHECKPOINT, "epochs": 50}, warm_up=4
)


@pytest.mark.parametrize(
    "options", [{"lost": float("nan")}, {"found": float("inf")}, {"rate": float("nan")}, {"rate": float("inf")}]
)
def test_options_that_are_no_finite_numbers_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        PersamFOptions(**options)
