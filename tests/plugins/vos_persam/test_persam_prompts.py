"""Prompts of each decoding of ``persam``, and the conditions under which it accepts the mask.

The tiny model truly segments drawn shapes, so prompts can be compared with where the shapes are.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vos.host.merging import merge_objects
from vos.testing import tiny_sequence
from vos_persam import PersamFOptions, PersamOptions, cascade
from vos_persam.cascade import ABSENT_LOGIT
from vos_persam.guidance import Guidance, guidance_for
from vos_persam.mask_weights import fit_mask_weights
from vos_persam.official import OfficialTracker
from vos_persam.target import (
    cell_weights,
    center_of,
    coverage,
    expanded,
    mean_embedding,
    peak_embedding,
    similar_points,
    similarity,
    unit,
)
from vos_persam.tracker import PersamTracker, TrackedObject
from vos_sam.model import Embedding
from vos_sam.prompt import Prompt
from vos_sam.view import View

SEQUENCE = tiny_sequence(size=(120, 160), length=4, object_ids=(1, 2, 3))
IDS = SEQUENCE.object_ids


@pytest.fixture(scope="module")
def encoded(shapes):
    frames = list(SEQUENCE.frames())
    return list(zip(frames, shapes.encode([frame.image for frame in frames]), strict=True))


@pytest.fixture(scope="module")
def started(shapes, encoded):
    """Target embeddings of the first frame's objects, computed from the exact label map."""
    (_, embedding), first = encoded[0], SEQUENCE.label_maps[0]
    weights = [cell_weights(coverage(first == i, embedding.view, shapes.grid)) for i in IDS]
    return SimpleNamespace(
        targets=torch.stack([peak_embedding(embedding.features, w) for w in weights]),
        pooled=torch.stack([mean_embedding(embedding.features, w) for w in weights]),
    )


def run(tracker, encoded, length=3):
    """Track: predictions, label maps, and each frame's stages by index."""
    stages, predictions = {}, []
    tracker.on_stages = stages.__setitem__
    tracker.start(encoded[0][0], SEQUENCE.label_maps[0], encoded[0][1])
    for frame, embedding in encoded[1:length]:
        predictions.append(tracker.step(frame, embedding))
    return SimpleNamespace(
        predictions=predictions, stages=stages, label_maps=[merge_objects(p, SEQUENCE.size) for p in predictions]
    )


def box_of(mask):
    y, x = np.nonzero(np.asarray(mask))
    return np.array([x.min(), y.min(), x.max(), y.max()])


@pytest.mark.parametrize(
    "options",
    [
        PersamOptions(),
        PersamOptions(negative=True),
        PersamOptions(center=False, topk=3),
        PersamOptions(box=False, margin=4),
        PersamOptions(margin=3, negative=True),
        PersamFOptions(epochs=5),
    ],
    ids=["persam", "negative", "no centre", "no box", "margin", "persam-f"],
)
def test_the_first_decoding_asks_with_similar_points_and_the_last_box(shapes, encoded, started, options):
    tracked = run(PersamTracker(shapes, options), encoded)
    last = SEQUENCE.label_maps[0]
    for (frame, embedding), label_map in zip(encoded[1:], tracked.label_maps, strict=False):
        view = embedding.view
        maps = similarity(embedding.features, unit(started.targets))
        nearest, farthest = similar_points(maps, view, options.topk), similar_points(maps, view, 1, largest=False)
        for row, prompt in enumerate(tracked.stages[frame.index][0].prompts):
            around = expanded(box_of(last == IDS[row]), options.margin, view)
            points, labels = list(nearest[row]), [1] * options.topk
            if options.center:
                points, labels = [*points, center_of(around)], [*labels, 1]
            if options.negative:
                points, labels = [*points, *farthest[row]], [*labels, 0]
            np.testing.assert_allclose(prompt.points_xy, points)
            assert prompt.point_labels.tolist() == labels
            assert (prompt.box_xyxy is not None) == options.box
            if options.box:
                np.testing.assert_array_equal(prompt.box_xyxy, around)
        last = label_map


def test_points_on_the_object_and_the_point_beside_it_lie_there(shapes, encoded):
    tracked = run(PersamTracker(shapes, PersamOptions(topk=1, center=False, negative=True)), encoded)
    for index, stages in tracked.stages.items():
        for object_id, prompt in zip(IDS, stages[0].prompts, strict=True):
            for (x, y), label in zip(prompt.points_xy.round().astype(int), prompt.point_labels, strict=True):
                assert (SEQUENCE.label_maps[index][y, x] == object_id) == bool(label)


def largest(view, decoded):
    return (view.upsample(decoded.low_res_logits) > 0).sum(dim=(2, 3)).argmax(dim=1)


def test_three_decodings_go_from_the_largest_mask_to_the_best_rated_with_its_box(tiny, golden, frames, embeddings):
    """With the model whose best rated mask is not its largest one."""
    tracker, stages = PersamTracker(tiny, PersamOptions()), {}
    tracker.on_stages = stages.__setitem__
    tracker.start(frames[0], golden("persam_video")["first_frame_labels"], embeddings[0])
    for frame, embedding in zip(frames[1:4], embeddings[1:4], strict=True):
        prediction = tracker.step(frame, embedding)
        first, second, third = stages[frame.index]
        assert torch.equal(first.chosen, largest(embedding.view, first.decoded))
        assert not torch.equal(first.chosen, first.decoded.predicted_iou.argmax(dim=1))
        for stage in (second, third):
            assert stage.decoded.predicted_iou.shape == (2, 3)
            assert torch.equal(stage.chosen, stage.decoded.predicted_iou.argmax(dim=1))
        masks = embedding.view.upsample(second.low_res_logits) > 0
        for row, (one, two, three) in enumerate(zip(first.prompts, second.prompts, third.prompts, strict=True)):
            assert one.low_res_logits is None
            assert two.box_xyxy is None
            np.testing.assert_array_equal(three.box_xyxy, box_of(masks[row]))
            assert torch.equal(two.low_res_logits, first.decoded.low_res_logits[row, first.chosen[row]])
            assert torch.equal(three.low_res_logits, second.decoded.low_res_logits[row, second.chosen[row]])
            for later in (two, three):
                np.testing.assert_array_equal(later.points_xy, one.points_xy)
                np.testing.assert_array_equal(later.point_labels, one.point_labels)
        np.testing.assert_array_equal(prediction.logits, embedding.view.upsample(third.low_res_logits).numpy())
        np.testing.assert_array_equal(prediction.scores, third.predicted_iou.clamp(0, 1).numpy())


def test_learnt_weights_mix_the_first_masks_and_an_empty_mixture_takes_the_last_box(shapes, encoded):
    tracker = PersamTracker(shapes, PersamFOptions(epochs=5))
    stages = {}
    tracker.on_stages = stages.__setitem__
    tracker.start(encoded[0][0], SEQUENCE.label_maps[0], encoded[0][1])
    chosen = [(0.5, 0.2, 0.3), (0.1, 0.9, 0.0), (0.0, 0.0, 0.0)]
    for tracked, weights in zip(tracker._objects, chosen, strict=True):
        tracked.weights = weights
    frame, embedding = encoded[1]
    tracker.step(frame, embedding)
    first, second, third = stages[1]
    mixed = torch.einsum("kmhw,km->khw", first.decoded.low_res_logits, torch.tensor(chosen))
    torch.testing.assert_close(torch.stack([p.low_res_logits for p in second.prompts]), mixed, atol=1e-4, rtol=0)
    for row in (0, 1):
        np.testing.assert_array_equal(second.prompts[row].box_xyxy, box_of(embedding.view.upsample(mixed)[row] > 0))
    # Nothing is above 0 in the third object's mixture.
    np.testing.assert_array_equal(second.prompts[2].box_xyxy, first.prompts[2].box_xyxy)
    assert third.prompts[2].box_xyxy is not None


def test_weights_are_fitted_to_each_objects_own_mask(shapes, encoded, started):
    tracker = PersamTracker(shapes, PersamFOptions(epochs=7, rate=0.01))
    (frame, embedding), first = encoded[0], SEQUENCE.label_maps[0]
    tracker.start(frame, first, embedding)
    nearest = similar_points(similarity(embedding.features, unit(started.targets)), embedding.view, 1)
    for tracked, own in zip(tracker._objects, nearest, strict=True):
        mask = first == tracked.object_id
        around = expanded(box_of(mask), 10, embedding.view)
        prompt = cascade.Prompt(np.concatenate([own, center_of(around)[None]]), None, around)
        logits = embedding.view.upsample(shapes.decode(embedding, [prompt]).low_res_logits[0])
        assert tracked.weights == pytest.approx(fit_mask_weights(logits, mask, epochs=7, rate=0.01), abs=1e-4)
        assert abs(tracked.weights[0] - 1 / 3) > 0.01


def test_a_mask_that_is_empty_before_its_box_is_taken(shapes, encoded):
    _, embedding = encoded[1]
    prompts = [cascade.Prompt(np.array([[40, 30]]))] * 2
    low_res = torch.full((2, 80, 80), -3.0)
    low_res[0, 10:20, 30:50] = 3
    boxes = {0: None, 1: np.array([4, 5, 60, 70])}
    stage = cascade.refine_with_box(shapes, embedding, prompts, low_res, boxes.__getitem__)
    np.testing.assert_array_equal(stage.prompts[0].box_xyxy, box_of(embedding.view.upsample(low_res)[0] > 0))
    np.testing.assert_array_equal(stage.prompts[1].box_xyxy, boxes[1])
    without = cascade.refine_with_box(shapes, embedding, prompts, low_res, lambda row: None)
    assert without.prompts[1].box_xyxy is None


@pytest.mark.parametrize("size", [(480, 640), (400, 300)])
def test_boxes_of_a_frame_larger_than_the_input(size):
    """Found at the input's size, they are those of the frame's to a pixel of the input's."""
    view = View(size, 160)
    low_res = torch.full((1, 80, 80), -1.0)
    low_res[0, 12:30, 8:41] = 1.0
    (box,) = cascade.mask_boxes(Embedding(torch.zeros(1, 20, 20), view), low_res)
    exact = box_of(view.upsample(low_res)[0].numpy() > 0)
    assert np.abs(box - exact).max() <= np.ceil(max(size) / 160 / 2)


def test_guidance_lies_where_the_similarity_does():
    view = View((60, 107), 160)
    maps = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0)) / 2
    maps[0, 3, 17], maps[1, 10, 2] = 1, 1
    maps[:, 12:] = 9  # the padding counts for nothing
    embeddings = torch.randn(2, 8)
    guidance = guidance_for(maps, view, embeddings)
    assert guidance.target_embedding is embeddings
    assert guidance.attention.argmax(dim=1).tolist() == [3 * 20 + 17, 10 * 20 + 2]
    attention = guidance.attention.view(2, 20, 20)
    assert not attention[:, 12:].any()
    for own, given in zip(attention[:, :12].logit(), maps[:, :12], strict=True):
        np.testing.assert_allclose(own, (given - given.mean()) / given.std(), atol=1e-4)


def test_the_first_decoding_alone_is_guided_by_each_objects_own_map(shapes, encoded, started):
    tracked = run(PersamTracker(shapes, PersamOptions(guided=True)), encoded, length=2)
    _, embedding = encoded[1]
    first, second, third = tracked.stages[1]
    maps = similarity(embedding.features, unit(started.targets))
    own = guidance_for(maps, embedding.view, started.pooled)
    guided = shapes.decode(embedding, first.prompts, hooks=own).low_res_logits
    plain = shapes.decode(embedding, first.prompts).low_res_logits
    torch.testing.assert_close(first.decoded.low_res_logits, guided, atol=1e-4, rtol=0)
    assert (guided - plain).abs().amax(dim=(1, 2, 3)).min() > 0.1
    for stage in (second, third):
        torch.testing.assert_close(
            stage.decoded.low_res_logits, shapes.decode(embedding, stage.prompts).low_res_logits, atol=1e-4, rtol=0
        )


def test_memory_is_the_share_of_the_new_frame(shapes, encoded, started):
    """Share 0 keeps the first frame's target, share 1 takes the new frame's, and others lie between, in proportion."""
    kept = {}
    for share in (0.0, 0.25, 1.0):
        tracker = PersamTracker(shapes, PersamOptions(memory=share))
        tracked = run(tracker, encoded, length=2)
        kept[share] = SimpleNamespace(
            target=torch.stack([t.target for t in tracker._objects]),
            pooled=torch.stack([t.pooled for t in tracker._objects]),
        )
    (_, embedding), ours = encoded[1], tracked.label_maps[0]
    weights = [cell_weights(coverage(ours == i, embedding.view, shapes.grid)) for i in IDS]
    fresh = {"target": peak_embedding, "pooled": mean_embedding}
    for name, before in (("target", started.targets), ("pooled", started.pooled)):
        after = torch.stack([fresh[name](embedding.features, w) for w in weights])
        torch.testing.assert_close(getattr(kept[0.0], name), before)
        torch.testing.assert_close(getattr(kept[1.0], name), after)
        torch.testing.assert_close(getattr(kept[0.25], name), 0.75 * before + 0.25 * after)
        assert (after - before).norm(dim=1).min() > 0.05


def test_an_object_is_lost_below_one_bound_and_found_above_another():
    tracked = TrackedObject(1, torch.ones(2), torch.ones(2), np.zeros(4), True, inside=0.9, outside=0.1, rival=0.5)
    assert [tracked.lost_below(share) for share in (0, 0.25, 1)] == pytest.approx([0.1, 0.3, 0.9])
    assert [tracked.found_above(share) for share in (0, 0.5, 1)] == pytest.approx([0.5, 0.7, 0.9])
    hidden = replace(tracked, rival=0.95)  # something else looks more like it than it does itself
    assert [hidden.found_above(share) for share in (0, 0.5, 1)] == pytest.approx([0.9] * 3)


def test_the_scale_of_lost_and_found_is_measured_in_the_annotated_frame(shapes):
    """Cells of known similarity: 1 on the object, rising from 0 to 0.9 elsewhere, more alike still in the padding."""
    view = View((120, 160), 160)
    angles = torch.zeros(20, 20)
    mask = np.zeros(view.size, bool)
    mask[32:48, 64:96] = True
    other = torch.from_numpy(~mask[::8, ::8])
    cosines = torch.linspace(0, 0.9, int(other.sum()))
    angles[:15][other] = torch.arccos(cosines)
    embedding = Embedding(torch.stack([torch.cos(angles), torch.sin(angles)]), view)
    tracker = PersamTracker(shapes, PersamOptions())
    frame = next(SEQUENCE.frames())
    tracker.start(frame, mask.astype(np.uint8), embedding)
    (tracked,) = tracker._objects
    assert tracked.inside == pytest.approx(1)
    assert tracked.outside == pytest.approx(0.45, abs=1e-4)
    assert tracked.rival == pytest.approx(0.9 * 0.99, abs=1e-4)


def test_a_lost_object_is_asked_for_by_points_alone_and_found_by_the_other_bound(shapes, encoded, started):
    """Nothing is twice as alike as the object: all are lost in frame 1, and ``found`` alone decides in frame 2."""
    options = PersamOptions(lost=2.0, negative=True, memory=0.5)
    tracker = PersamTracker(shapes, options)
    lost = run(tracker, encoded, length=2).predictions[0]
    assert not lost.present.any()
    assert not lost.scores.any()
    for tracked, target, object_id in zip(tracker._objects, started.targets, IDS, strict=True):
        torch.testing.assert_close(tracked.target, target)
        np.testing.assert_array_equal(tracked.box, box_of(SEQUENCE.label_maps[0] == object_id))

    tracked = run(PersamTracker(shapes, options), encoded)
    for prompt in tracked.stages[2][0].prompts:
        assert prompt.box_xyxy is None
        assert prompt.point_labels.tolist() == [1, 1, 0]
    found = tracked.predictions[1]
    assert found.present.all()
    assert found.scores.all()

    never = run(PersamTracker(shapes, replace(options, found=2.0)), encoded)
    assert list(never.stages) == [1]
    assert not never.predictions[1].present.any()
    assert (never.predictions[1].logits == ABSENT_LOGIT).all()


def test_a_lost_object_is_not_found_on_one_that_is_there(shapes):
    """Twins: the second leaves and is lost; only the first is left to be found, and it has an id already."""
    still = tiny_sequence("still", size=(120, 160), length=2, object_ids=(1,))
    alone, mask = still.images[0], still.label_maps[0] > 0
    both, first = alone.copy(), still.label_maps[0].copy()
    both[:, :80][mask[:, 80:]] = alone[mask]
    first[:, :80][mask[:, 80:]] = 2
    assert (first == 2).sum() == mask.sum()
    tracker = PersamTracker(shapes, PersamOptions())
    frames = [replace(still.frame(0), image=both), still.frame(1)]
    embeddings = shapes.encode([frame.image for frame in frames])
    tracker.start(frames[0], first, embeddings[0])
    tracker._objects[1].present = False
    stages = {}
    tracker.on_stages = stages.__setitem__
    prediction = tracker.step(frames[1], embeddings[1])
    assert len(stages[1][0].prompts) == 2  # it was looked for,
    assert ((prediction.logits[1] > 0) & mask).sum() > 0.5 * mask.sum()  # and the other's mask was the answer
    assert prediction.present.tolist() == [True, False]


@pytest.mark.parametrize(("columns", "found"), [(9, True), (11, False)])
def test_what_is_mostly_anothers_is_not_found(shapes, encoded, columns, found):
    """The lost object's mask is 20 columns wide; those that the other one holds decide."""
    tracker = PersamTracker(shapes, PersamOptions())
    embedding = encoded[0][1]
    tracker.start(encoded[0][0], np.where(SEQUENCE.label_maps[0] == 3, 0, SEQUENCE.label_maps[0]), embedding)
    tracker._objects[1].present = False
    low_res = torch.full((2, 80, 80), -5.0)
    low_res[0, :20, :40] = 5
    low_res[1, :20, 40 - columns : 60 - columns] = 5
    like = torch.ones(2, 20, 20)
    present = tracker._present(embedding, like, low_res, embedding.view.upsample(low_res), [0, 1])
    assert present.tolist() == [True, found]


def test_compat_takes_topk_and_margin(shapes, encoded):
    tracked = run(OfficialTracker(shapes, PersamOptions(topk=3, margin=4)), encoded, length=2)
    for prompt, object_id in zip(tracked.stages[1][0].prompts, IDS, strict=True):
        around = expanded(box_of(SEQUENCE.label_maps[0] == object_id), 4, encoded[0][1].view)
        np.testing.assert_array_equal(prompt.box_xyxy, around)
        np.testing.assert_array_equal(prompt.points_xy[3:], [center_of(around)])


def test_each_object_is_guided_by_its_own_similarity_and_target(tiny, images):
    (embedding,) = tiny.encode([images[1]])
    generator = torch.Generator().manual_seed(0)
    guidance = Guidance(torch.rand(3, 64 * 64, generator=generator), torch.randn(3, 32, generator=generator))
    prompts = [Prompt(np.array([[100, 90]]))] * 3
    together = tiny.decode(embedding, prompts, hooks=guidance)
    for row, prompt in enumerate(prompts):
        own = Guidance(guidance.attention[row : row + 1], guidance.target_embedding[row : row + 1])
        alone = tiny.decode(embedding, [prompt], hooks=own)
        torch.testing.assert_close(together.low_res_logits[row], alone.low_res_logits[0], atol=1e-4, rtol=0)
        for attention, target in (
            (guidance.attention[row - 1], own.target_embedding),
            (own.attention, -own.target_embedding),
        ):
            other = tiny.decode(embedding, [prompt], hooks=Guidance(attention.view(1, -1), target))
            assert (other.low_res_logits - alone.low_res_logits).abs().max() > 1e-2
