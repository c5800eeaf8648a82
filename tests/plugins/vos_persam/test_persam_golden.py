"""PerSAM against the release's recorded intermediates: every one that is stored, to its tolerance."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vos.host.merging import merge_objects
from vos_persam.guidance import official_guidance
from vos_persam.images import REFERENCE_MASK_VALUE
from vos_persam.official import MASK_VALUE, OfficialTracker
from vos_persam.options import PersamFOptions, PersamOptions
from vos_persam.personal import PersonalOptions, PersonalSegmenter
from vos_persam.target import at_frame_size, official_cells, similarity
from vos_sam.view import View


def most_pixels_equal(ours, stored):
    assert ours.shape == stored.shape
    assert (ours != stored).mean() <= 1e-3


def check_stage(golden, prefix, stage, row=0):
    """Compare one object's stage with what is stored of it: scores, logits, choice, box, mask input."""
    checked = golden.check(f"{prefix}/scores", stage.decoded.predicted_iou[row])
    assert checked
    logits = stage.decoded.low_res_logits[row]
    stored = golden.find(f"{prefix}/low_res_logits")
    if stored is not None:
        # Videos store the finally chosen mask alone, images all of them.
        golden.check(f"{prefix}/low_res_logits", stage.low_res_logits[row] if stored.ndim == 2 else logits)
    for name in ("best_idx", "chosen"):
        if f"{prefix}/{name}" in golden:
            assert int(stage.chosen[row]) == int(golden[f"{prefix}/{name}"])
    prompt = stage.prompts[row]
    if f"{prefix}/box" in golden:
        assert np.abs(prompt.box_xyxy - golden[f"{prefix}/box"]).max() == 0
    if prompt.low_res_logits is not None:
        golden.check(f"{prefix}/mask_input", prompt.low_res_logits)
    mask_input = f"{prefix}/mask_input_sub4"
    if mask_input in golden:
        given = prompt.low_res_logits[..., ::4, ::4]
        np.testing.assert_allclose(given, golden[mask_input].reshape(given.shape), atol=2e-3, rtol=1e-3)


def unpacked(golden, prefix):
    shape = golden[f"{prefix}/masks_shape"]
    return np.unpackbits(golden[f"{prefix}/masks_packed"])[: np.prod(shape)].reshape(shape).astype(bool)


@pytest.fixture(scope="module")
def reference(golden):
    return (golden("persam_image")["ref_mask"] > 0).astype(np.uint8)


def test_images(tiny, images, golden, reference):
    stored = golden("persam_image")
    values = stored.numbers("mask{}/")
    assert values, "a recording names its runs maskVALUE/..."
    for value in values:
        check_images(tiny, images, stored, reference, value)


def check_images(tiny, images, stored, reference, value):
    """Check one run of persam.py, whose annotation was painted with ``value``."""
    segmenter = PersonalSegmenter(tiny, images[0], reference, PersonalOptions(reference_mask_value=value))
    (embedding,) = tiny.encode([images[0]])
    cells = official_cells(reference > 0, embedding.view, tiny.grid, value)
    assert stored.check(f"mask{value}/ref_mask_feat", cells)
    np.testing.assert_array_equal(cells > 0, stored[f"mask{value}/ref_mask_feat_selected"])
    assert stored.check(f"mask{value}/target_embedding", segmenter.pooled)
    assert stored.check(f"mask{value}/target_feat", segmenter.targets)
    assert stored.check("features_ref", embedding.features[None])

    stages = []
    segmenter.on_stages = stages.append
    for index, image in enumerate(images):
        name = f"mask{value}/test{index}"
        (embedding,) = tiny.encode([image])
        assert tuple(stored[f"{name}/input_size"]) == embedding.view.input_size
        assert tuple(stored[f"{name}/original_size"]) == embedding.view.size
        maps = similarity(embedding.features, segmenter.targets)
        full = at_frame_size(maps, embedding.view)
        assert stored.check(f"{name}/sim_64", maps)
        stored.check(f"{name}/sim_original", full[0])
        stored.check(f"{name}/features", embedding.features[None])
        stored.check(f"{name}/attn_sim", official_guidance(maps, embedding.view, segmenter.pooled).attention)

        label_map = segmenter.segment(image)
        points = stages[-1][0].prompts[0].points_xy
        found, expected = full[0][points[:, 1], points[:, 0]], stored[f"{name}/points"]
        # Where points differ they must be ties: as similar.
        torch.testing.assert_close(found, full[0][expected[:, 1], expected[:, 0]], atol=1e-6, rtol=0)
        np.testing.assert_array_equal(stages[-1][0].prompts[0].point_labels, stored[f"{name}/labels"])
        if not np.array_equal(points, expected):
            continue
        for number, stage in enumerate(stages[-1], start=1):
            check_stage(stored, f"{name}/stage{number}", stage)
            masks = (embedding.view.upsample(stage.decoded.low_res_logits[0]) > 0).numpy()
            most_pixels_equal(masks, unpacked(stored, f"{name}/stage{number}"))
        most_pixels_equal(label_map.astype(bool), stored[f"{name}/final_mask"])
    assert not stored.unread(f"mask{value}/")


def check_history(golden, prefix, history):
    np.testing.assert_allclose(history.weights, golden[f"{prefix}weights_before_step_per_epoch"], atol=1e-4)
    np.testing.assert_allclose(history.dice, golden[f"{prefix}dice_loss_per_epoch"], atol=1e-5)
    np.testing.assert_allclose(history.focal, golden[f"{prefix}focal_loss_per_epoch"], atol=1e-5)


def test_images_with_learnt_weights(tiny, images, golden, reference):
    stored = golden("persam_f_image")
    epochs, rate = int(stored["train_epoch"]), float(stored["lr"])
    options = PersonalOptions(learnt=True, epochs=epochs, rate=rate, reference_mask_value=REFERENCE_MASK_VALUE)
    segmenter = PersonalSegmenter(tiny, images[0], reference, options)
    assert stored.check("target_feat", segmenter.targets)
    check_history(stored, "", segmenter.histories[0])
    np.testing.assert_allclose(segmenter.mask_weights[0], stored["final_weights_all3"].ravel(), atol=1e-4)
    (embedding,) = tiny.encode([images[0]])
    maps = similarity(embedding.features, segmenter.targets)
    assert stored.check("train_sim_64", maps)
    assert stored.check("train_sim_original", at_frame_size(maps, embedding.view)[0])
    (prompt,) = segmenter._prompts(embedding, maps)
    np.testing.assert_array_equal(prompt.points_xy, stored["train_points"])
    trained = tiny.decode(embedding, [prompt])
    assert stored.check("train_low_res_logits", trained.low_res_logits[0])
    np.testing.assert_allclose(trained.predicted_iou[0], stored["train_scores"], atol=1e-4)

    stages = []
    segmenter.on_stages = stages.append
    for index, image in enumerate(images):
        (embedding,) = tiny.encode([image])
        assert stored.check(f"test{index}/sim_64", similarity(embedding.features, segmenter.targets))
        label_map = segmenter.segment(image)
        first, second, third = stages[-1]
        np.testing.assert_array_equal(first.prompts[0].points_xy, stored[f"test{index}/points"])
        np.testing.assert_array_equal(first.prompts[0].point_labels, stored[f"test{index}/labels"])
        for number, stage in enumerate((first, second, third), start=1):
            check_stage(stored, f"test{index}/stage{number}", stage)
        weighted = embedding.view.upsample(second.prompts[0].low_res_logits[None])[0] > 0
        most_pixels_equal(weighted.numpy(), stored[f"test{index}/stage1/weighted_mask"])
        most_pixels_equal(label_map.astype(bool), stored[f"test{index}/final_mask"])
    assert not stored.unread("test")
    assert not stored.unread("train_sim")


def track(tiny, stored, prefix, frames, embeddings, options, *, wrap_areas=True):
    """Run the release's tracker over the recorded frames, and check every stage of every slot."""
    tracker = OfficialTracker(tiny, options, wrap_areas=wrap_areas)
    seen = {}
    tracker.on_stages = lambda index, stages: seen.__setitem__(index, stages)
    labels = stored["first_frame_labels"]
    tracker.start(frames[0], labels, embeddings[0])
    objects = int(labels.max())
    assert stored.numbers(f"{prefix}obj{{}}/") == list(range(1, objects + 1))
    assert tuple(stored["input_size"]) == embeddings[0].view.input_size
    for k in range(objects):
        cells = official_cells(labels == k + 1, embeddings[0].view, tiny.grid, MASK_VALUE)
        assert stored.check(f"{prefix}obj{k + 1}/ref_mask_feat", cells)
        np.testing.assert_array_equal(cells > 0, stored[f"{prefix}obj{k + 1}/ref_mask_feat_selected"])
        assert stored.check(f"{prefix}obj{k + 1}/target_feat", tracker.target_features[k : k + 1])
    for index in stored.numbers(f"{prefix}frame{{}}/"):
        prediction = tracker.step(frames[index], embeddings[index])
        most_pixels_equal(merge_objects(prediction, frames[index].size), stored[f"{prefix}label_maps"][index])
        check_slots(stored, f"{prefix}frame{index}", seen[index], embeddings[index].view, options, wrap_areas)
    assert not stored.unread(f"{prefix}frame")
    return tracker, seen


def check_slots(stored, prefix, stages, view: View, options, wrap_areas):
    slots = len(stages[0].prompts)
    for slot in range(slots):
        name = f"{prefix}/slot{slot}"
        assert slots == int(stored[f"{name}/n_slots"])
        prompt = stages[0].prompts[slot]
        np.testing.assert_array_equal(prompt.points_xy, stored[f"{name}/points"])
        np.testing.assert_array_equal(prompt.point_labels, stored[f"{name}/labels"])
        for number, stage in enumerate(stages, start=1):
            if number == 1 and isinstance(options, PersamFOptions):
                stage_ok = stored.check(f"{name}/stage1/scores", stage.decoded.predicted_iou[slot])
                assert stage_ok
                np.testing.assert_array_equal(prompt.box_xyxy, stored[f"{name}/stage1/box"])
                weighted = view.upsample(stages[1].prompts[slot].low_res_logits[None]) > 0
                area = int(stored[f"{name}/stage1/weighted_mask_area"])
                assert abs(int(weighted.sum()) - area) <= 1e-3 * weighted.numel()
            else:
                check_stage(stored, f"{name}/stage{number}", stage, slot)
            areas = (view.upsample(stage.decoded.low_res_logits[slot]) > 0).sum(dim=(1, 2)).numpy()
            assert np.abs(areas - stored[f"{name}/stage{number}/areas"]).max() <= 1e-3 * view.size[0] * view.size[1]
            used = f"{name}/stage{number}/areas_as_used"
            if used in stored:
                same = np.array_equal(areas, stored[f"{name}/stage{number}/areas"])
                expected = stored[used]
                assert not same or np.array_equal(areas % 256 if wrap_areas else areas, expected)


def recorded_options(stored, kind):
    """The options that a recording's arguments stand for; ``persam`` has no use for the others."""
    arguments = {name: stored[f"args/{name}"] for name in ("topk", "threshold", "exp", "box_prompt", "center")}
    assert (arguments["exp"], arguments["box_prompt"], arguments["center"]) == (MASK_VALUE, 1, 1)
    options = kind(topk=int(arguments["topk"]), margin=int(arguments["threshold"]))
    if kind is PersamFOptions:
        options = replace(options, epochs=int(stored["args/epoch"]), rate=float(stored["args/lr"]))
    return options


def tags(stored):
    """The runs of a recording: ``area_fixed`` compares areas as they are, others modulo 256."""
    found = {name.split("/")[0] for name in stored.arrays if name.endswith("/label_maps")}
    assert found
    return {f"{tag}/": tag != "area_fixed" for tag in sorted(found)}


def test_video(tiny, golden, frames, embeddings):
    stored = golden("persam_video")
    assert stored.check("features_frame0", embeddings[0].features[None])
    options = recorded_options(stored, PersamOptions)
    for prefix, wrap_areas in tags(stored).items():
        track(tiny, stored, prefix, frames, embeddings, options, wrap_areas=wrap_areas)


def test_video_where_an_object_is_lost_and_labels_shift(tiny, golden, frames, embeddings):
    stored = golden("persam_video_lost_object")
    for prefix, wrap_areas in tags(stored).items():
        options = recorded_options(stored, PersamOptions)
        _, seen = track(tiny, stored, prefix, frames, embeddings, options, wrap_areas=wrap_areas)
        slots = [len(seen[index][0].prompts) for index in stored.numbers(f"{prefix}frame{{}}/")]
        assert slots[-1] < slots[0], "this recording loses an object"


def test_video_with_learnt_weights(tiny, golden, frames, embeddings):
    stored = golden("persam_video_f")
    options = recorded_options(stored, PersamFOptions)
    tracker, seen = track(tiny, stored, "", frames, embeddings, options)
    (training,) = seen[0]
    for k in range(len(tracker.histories)):
        name = f"obj{k + 1}"
        check_history(stored, f"{name}/", tracker.histories[k])
        np.testing.assert_allclose(tracker.mask_weights[k], stored[f"{name}/final_weights_all3"].ravel(), atol=1e-4)
        prompt = training.prompts[k]
        np.testing.assert_array_equal(prompt.points_xy, stored[f"{name}/train_points"])
        np.testing.assert_array_equal(prompt.point_labels, stored[f"{name}/train_labels"])
        np.testing.assert_array_equal(prompt.box_xyxy, stored[f"{name}/train_box"])
        assert stored.check(f"{name}/train_low_res_logits", training.decoded.low_res_logits[k])
        np.testing.assert_allclose(training.decoded.predicted_iou[k], stored[f"{name}/train_scores"], atol=1e-4)
