"""SAM 2 keeps the contract, and gives what transformers' own session gives that keeps everything."""

import gc

import numpy as np
import pytest
import torch
from transformers import Sam2ImageProcessor, Sam2VideoProcessor, Sam2VideoVideoProcessor
from vos_sam2.tracker import Sam2Tracker, load_model

import vos
from vos.plugin import WeightsError
from vos.testing import CLAUSES, check_plugin, tiny_sequence, tracker_checks

TRACKER_CLAUSES = [check.clause for check in tracker_checks(lambda: None)]


@pytest.fixture
def make(tiny_model):
    return lambda: Sam2Tracker(tiny_model)


@pytest.mark.parametrize("clause", TRACKER_CLAUSES)
def test_contract(clause, make):
    check = next(check for check in tracker_checks(make) if check.clause == clause)
    not_for_it = check()
    if clause != "accuracy":  # random weights track nothing
        assert not_for_it is None, "SAM 2 has every capability"


def test_the_plugin_can_be_listed():
    assert "light-import" in CLAUSES
    assert check_plugin("vos_sam2") == ["sam2"]


class Everything:
    """transformers' own streaming session, as its documentation shows it: keeps every frame and memory."""

    def __init__(self, model):
        size = {"height": 64, "width": 64}
        self.model = model
        self.processor = Sam2VideoProcessor(
            Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size), target_size=64
        )
        self.session = self.processor.init_video_session(inference_device="cpu", dtype=torch.float32)

    def prompt(self, index, label_map):
        ids = list(vos.object_ids(label_map))
        masks = [label_map == i for i in ids]
        self.processor.add_inputs_to_inference_session(self.session, index, ids, input_masks=masks)

    def run(self, pixels, index):
        return self.model(self.session, frame=pixels, frame_idx=index).pred_masks[:, 0].numpy()


def track(tracker, sequence, count):
    frames = [sequence.frame(t % len(sequence.images)) for t in range(count)]
    tracker.start(frames[0], sequence.label_maps[0], tracker.encode(frames[:1])[0])
    return [tracker.step(frame, tracker.encode([frame])[0]) for frame in frames[1:]]


def test_the_same_as_a_session_that_keeps_everything(tiny_model, make):
    """Over more frames than any memory reaches back: what is dropped was never looked at."""
    sequence = tiny_sequence("moving", size=(64, 64))
    count = 2 * tiny_model.config.max_object_pointers_in_encoder
    everything = Everything(tiny_model)
    everything.prompt(0, sequence.label_maps[0])
    frames = [sequence.frame(t % len(sequence.images)) for t in range(count)]
    tracker = make()
    expected = [everything.run(tracker._pixels([frame])[0], t) for t, frame in enumerate(frames)][1:]
    predictions = track(tracker, sequence, count)
    assert len(everything.session.processed_frames) == count
    for prediction, logits in zip(predictions, expected, strict=True):
        assert np.array_equal(prediction.logits, logits)
    assert np.ptp([p.logits.mean() for p in predictions]) > 0.01, "the frames do differ"


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (200, 300)])
def test_images_are_prepared_as_transformers_does(tiny_model, make, size):
    frame = tiny_sequence("moving", size=size).frame(0)
    expected = Everything(tiny_model).processor(images=frame.image.copy(), return_tensors="pt").pixel_values[0]
    worst = 1 / 255 / 0.224 if size != (64, 64) else 1e-5  # it rounds a resized image to whole numbers
    torch.testing.assert_close(make()._pixels([frame])[0], expected, atol=worst, rtol=0)


def test_what_is_kept_does_not_grow(tiny_model, make):
    sequence = tiny_sequence("moving", size=(64, 64))
    tracker = make()
    track(tracker, sequence, 20)
    stored = tensors_of(tracker)
    track(tracker, sequence, 45)
    assert tensors_of(tracker) == stored
    assert not tracker._session.processed_frames


def tensors_of(tracker):
    """Number of tensors and of their bytes that the session holds."""
    gc.collect()
    found = [
        tensor
        for memory in tracker._session.output_dict_per_obj.values()
        for outputs in memory.values()
        for stored in outputs.values()
        for tensor in stored.values()
        if tensor is not None
    ]
    return len(found), sum(tensor.numel() * tensor.element_size() for tensor in found)


def test_an_object_added_later_is_a_memory_that_stays(tiny_model, make):
    sequence = tiny_sequence("later", size=(64, 64), object_ids=(5, 3))
    tracker = make()
    frames = list(sequence.frames())
    tracker.start(frames[0], sequence.label_maps[0], tracker.encode(frames[:1])[0])
    for frame in frames[1:3]:
        tracker.step(frame, tracker.encode([frame])[0])
    tracker.annotate(frames[2], sequence.annotations[1].label_map)
    memories = tracker._session.output_dict_per_obj
    assert [list(memories[i]["cond_frame_outputs"]) for i in (0, 1)] == [[0], [2]]
    assert tracker.step(frames[3], tracker.encode(frames[3:4])[0]).object_ids == (5, 3)


def test_a_correction_changes_its_object_alone(make):
    sequence = tiny_sequence("moving", size=(64, 64))
    frames = list(sequence.frames())
    answers = []
    for corrected in (False, True):
        tracker = make()
        tracker.start(frames[0], sequence.label_maps[0], tracker.encode(frames[:1])[0])
        tracker.step(frames[1], tracker.encode(frames[1:2])[0])
        if corrected:
            tracker.annotate(frames[1], np.where(sequence.label_maps[5] == 2, 2, 0).astype(np.uint8))
        answers.append(tracker.step(frames[2], tracker.encode(frames[2:3])[0]).logits)
    assert np.array_equal(answers[0][0], answers[1][0])
    assert not np.array_equal(answers[0][1], answers[1][1])


def test_forgetting_leaves_the_others_as_they_were(make):
    sequence = tiny_sequence("moving", size=(64, 64), object_ids=(4, 5, 6))
    frames = list(sequence.frames())
    answers = []
    for forgotten in ((), (5,), (4, 5, 6)):
        tracker = make()
        tracker.start(frames[0], sequence.label_maps[0], tracker.encode(frames[:1])[0])
        tracker.step(frames[1], tracker.encode(frames[1:2])[0])
        for object_id in forgotten:
            tracker.forget(object_id)
        answers.append(tracker.step(frames[2], tracker.encode(frames[2:3])[0]))
    assert answers[1].object_ids == (4, 6)
    assert np.allclose(answers[0].logits[[0, 2]], answers[1].logits, atol=1e-5)
    assert answers[2].object_ids == ()


def test_an_object_added_after_all_were_forgotten_begins_on_its_own_frame(make):
    sequence = tiny_sequence("moving", size=(64, 64), object_ids=(4,))
    frames = list(sequence.frames())
    answers = []
    for first in (0, 3):  # in the second run, frame 3 is the first that the model sees
        tracker = make()
        tracker.start(frames[first], sequence.label_maps[first], tracker.encode([frames[first]])[0])
        if first == 0:
            tracker.forget(4)
            for frame in frames[1:4]:
                tracker.step(frame, tracker.encode([frame])[0])
            tracker.annotate(frames[3], sequence.label_maps[3])
        answers.append(tracker.step(frames[4], tracker.encode(frames[4:5])[0]).logits)
    assert np.allclose(*answers, atol=1e-5)


def test_from_a_folder_through_the_host(tiny_folder):
    sequence = tiny_sequence("later", length=5)
    plugins = vos.load_plugins(["vos_sam2"])
    results = list(
        vos.stream(
            sequence,
            list(sequence.annotations),
            tracker="sam2",
            options={"model": str(tiny_folder), "encode_batch": 2},
            runtime=vos.Runtime(device="cpu"),
            plugins=plugins,
        )
    )
    assert [label_map.shape for _, label_map in results] == [(48, 64)] * 5


def test_bf16_is_a_wish_that_is_kept(tiny_folder):
    model = load_model(str(tiny_folder), torch.device("cpu"), torch.bfloat16)
    predictions = track(Sam2Tracker(model), tiny_sequence(), 3)
    assert all(np.isfinite(prediction.logits).all() for prediction in predictions)


def test_a_folder_without_the_model_is_told(tmp_path, tiny_folder):
    with pytest.raises(WeightsError, match="not this kind of model"):
        load_model(str(tmp_path), torch.device("cpu"), torch.float32)
    (tmp_path / "config.json").write_text((tiny_folder / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="cannot be loaded as a SAM 2 video model"):
        load_model(str(tmp_path), torch.device("cpu"), torch.float32)
