"""The trackers keep the contract, and equal transformers' own session that keeps everything."""

import importlib
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import vos
from vos.host.tracker_making import make_tracker
from vos.plugin import TrackerError, WeightsError
from vos.testing import check_plugin, tiny_sequence, tracker_checks
from vos_hf_video.models import load_model
from vos_hf_video.options import IMAGENET
from vos_hf_video.tracker import HfVideoTracker


@pytest.mark.parametrize("name", ["edgetam"], indirect=True)  # one adapter serves all; this model is the quickest
def test_contract(model, options):
    # 5 pointers and 3 memories are kept: memory is steady after 8 frames.
    for check in tracker_checks(lambda: HfVideoTracker(model, options), size=(32, 48), warm_up=8):
        if check.clause != "accuracy":  # random weights track nothing
            check()


@pytest.mark.parametrize("name", ["sam2", "sam3-tracker"], indirect=True)
@pytest.mark.parametrize("clause", ["ids", "later-objects", "corrections", "fresh-start"])
def test_contract_of_the_other_models(model, options, clause):
    checks = tracker_checks(lambda: HfVideoTracker(model, options), size=(32, 48), warm_up=8)
    next(check for check in checks if check.clause == clause)()


def test_the_plugin_offers_the_three_trackers():
    assert check_plugin("vos_hf_video") == ["edgetam", "sam2", "sam3-tracker"]


class Oracle:
    """transformers' own sessions, one an object, used as the library documents: nothing is dropped."""

    def __init__(self, model, tracker):
        self.model, self.tracker, self.sessions = model, tracker, {}

    def prompt(self, index, frame, label_map):
        module = importlib.import_module(type(self.model).__module__)
        kind = getattr(module, type(self.model).__name__.replace("Model", "InferenceSession"))
        for i in vos.object_ids(label_map):
            session = self.sessions.setdefault(i, kind(video_height=64, video_width=64, dtype=torch.float32))
            mask = torch.from_numpy(label_map == i)[None, None].float()
            session.add_mask_inputs(session.obj_id_to_idx(i), index, mask)
            session.obj_with_new_inputs = [i]
            session.frames_tracked_per_obj[0].pop(index, None)
            session.output_dict_per_obj[0]["non_cond_frame_outputs"].pop(index, None)
            self.model(session, frame=self.tracker.pixels([frame])[0], frame_idx=index)

    def run(self, index, frame, *, reverse=False):
        pixels = self.tracker.pixels([frame])[0]
        return {
            i: self.model(session, frame=pixels, frame_idx=index, reverse=reverse).pred_masks[0, 0].numpy()
            for i, session in self.sessions.items()
        }


def close_to(prediction, expected):
    """Memories are stored as bfloat16, so that a rounding of float32 elsewhere may show in the third digit."""
    for object_id, logits in zip(prediction.object_ids, prediction.logits, strict=True):
        np.testing.assert_allclose(logits, expected[object_id], atol=0.02 * np.abs(logits).max())


def only(label_map, *ids):
    return np.where(np.isin(label_map, ids), label_map, 0).astype(np.uint8)


def test_equal_to_sessions_that_keep_everything_with_every_event(monkeypatch, model, options):
    """An object is added on frame 2, one is corrected on frame 4, one ended on frame 6; 5 frames are remembered."""
    sequence = tiny_sequence("moving", size=(64, 64), object_ids=(3, 5, 7))
    count = 14
    frames = [sequence.frame(t % len(sequence.images)) for t in range(count)]
    maps = [sequence.label_maps[t % len(sequence.images)] for t in range(count)]
    annotations = {2: only(maps[2], 7), 4: only(maps[5], 3)}

    def run(oracle=None):
        tracker = HfVideoTracker(model, options)
        tracker.start(frames[0], only(maps[0], 3, 5), tracker.encode(frames[:1])[0])
        if oracle:
            oracle.prompt(0, frames[0], only(maps[0], 3, 5))
        for t in range(1, count):
            prediction = tracker.step(frames[t], tracker.encode([frames[t]])[0])
            yield prediction
            if oracle:
                close_to(prediction, oracle.run(t, frames[t]))
            if t in annotations:
                tracker.annotate(frames[t], annotations[t])
                if oracle:
                    oracle.prompt(t, frames[t], annotations[t])
            if t == 6:
                tracker.forget(5)

    bounded = list(run(Oracle(model, HfVideoTracker(model, options))))
    monkeypatch.setattr("vos_hf_video.tracker.drop_unreachable", lambda *_: None)
    for prediction, other in zip(bounded, run(), strict=True):
        assert prediction.object_ids == other.object_ids
        assert np.array_equal(prediction.logits, other.logits)
    assert bounded[-1].object_ids == (3, 7)
    assert np.ptp([prediction.logits.mean() for prediction in bounded]) > 0.01, "the frames do differ"


def test_backward_equals_the_models_own_reverse(model, options):
    sequence = tiny_sequence("moving", size=(64, 64))
    frames = [sequence.frame(t) for t in range(6)]
    tracker = HfVideoTracker(model, options)
    oracle = Oracle(model, tracker)
    oracle.prompt(5, frames[5], sequence.label_maps[5])
    tracker.start(frames[5], sequence.label_maps[5], tracker.encode(frames[5:])[0])
    for t in (4, 3, 2, 1, 0):
        prediction = tracker.step(frames[t], tracker.encode([frames[t]])[0])
        close_to(prediction, oracle.run(t, frames[t], reverse=True))


def test_memory_is_flat(model, options):
    sequence = tiny_sequence("moving", size=(64, 64))
    tracker = HfVideoTracker(model, options)
    encodings = tracker.encode([sequence.frame(t) for t in range(4)])
    tracker.start(sequence.frame(0), sequence.label_maps[0], encodings[0])
    sizes = []
    for t in range(1, 20):
        tracker.step(sequence.frame(t % 4), encodings[t % 4])
        sizes.append(held(tracker._session))
    assert sizes[-1] == sizes[10], "5 pointers and 3 memories are kept, whatever the length"
    assert not tracker._session.processed_frames


def held(session):
    """Numbers of tensors and of bytes that the session's outputs hold, and of frames in its tables."""
    tensors = [
        tensor
        for outputs in session.output_dict_per_obj.values()
        for by_time in outputs.values()
        for stored in by_time.values()
        for tensor in stored.values()
        if tensor is not None
    ]
    frames = sum(len(tracked) for tracked in session.frames_tracked_per_obj.values())
    return len(tensors), sum(tensor.numel() * tensor.element_size() for tensor in tensors), frames


def test_an_object_added_after_all_were_forgotten_begins_on_its_own_frame(model, options):
    sequence = tiny_sequence("moving", size=(64, 64), object_ids=(4,))
    frames = list(sequence.frames())
    answers = []
    for first in (0, 3):  # in the second run, frame 3 is the first of the session
        tracker = HfVideoTracker(model, options)
        tracker.start(frames[first], sequence.label_maps[first], tracker.encode([frames[first]])[0])
        if first == 0:
            tracker.forget(4)
            for frame in frames[1:4]:
                assert tracker.step(frame, tracker.encode([frame])[0]).object_ids == ()
            tracker.annotate(frames[3], sequence.label_maps[3])
        answers.append(tracker.step(frames[4], tracker.encode(frames[4:5])[0]).logits)
    np.testing.assert_allclose(*answers, atol=1e-3, rtol=1e-5)


def test_images_are_prepared_as_the_library_does(name, model, options):
    from transformers import Sam2ImageProcessor

    mean, std = options.mean_std
    processor = Sam2ImageProcessor(size={"height": 64, "width": 64}, image_mean=mean, image_std=std)
    assert (processor.image_mean == Sam2ImageProcessor().image_mean) == (options.mean_std == IMAGENET)
    for size, worst in (((64, 64), 1e-5), ((48, 96), 1 / 255 / min(std) + 1e-5)):  # it rounds resized images
        frame = tiny_sequence("moving", size=size).frame(0)
        expected = processor(images=frame.image.copy(), return_tensors="pt").pixel_values[0]
        torch.testing.assert_close(HfVideoTracker(model, options).pixels([frame])[0], expected, atol=worst, rtol=0)


def test_from_a_folder_through_the_host(name, folder, capfd):
    sequence = tiny_sequence("later", length=4)
    results = list(
        vos.stream(
            sequence,
            list(sequence.annotations),
            tracker=name,
            options={"model": str(folder), "encode_batch": 2},
            runtime=vos.Runtime(device="cpu", precision="bf16"),
            plugins=vos.load_plugins(["vos_hf_video"]),
        )
    )
    assert [label_map.shape for _, label_map in results] == [(48, 64)] * 4
    assert "Loading weights" not in capfd.readouterr().err, "no progress bar where there is no terminal"


def test_a_run_with_other_weights_is_not_taken_for_the_same(name, folder, tmp_path):
    """``--resume`` skips a finished run only where the weights are the same."""
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    digests = []
    for _ in range(2):
        made = make_tracker(name, {"model": str(model)}, vos.Runtime(device="cpu"), vos.load_plugins(["vos_hf_video"]))
        digests.append(made.tracker.details)
        state = load_file(model / "model.safetensors")
        save_file({key: value * 1.5 for key, value in state.items()}, model / "model.safetensors", {"format": "pt"})
    assert digests[0].keys() == digests[1].keys() == {"config.json", "model.safetensors"}
    assert digests[0]["model.safetensors"] != digests[1]["model.safetensors"]


def test_features_that_are_no_numbers_end_the_run_instead_of_the_objects(options, folder):
    model = load_model(type(options)(model=str(folder)), torch.device("cpu"), torch.float32)
    next(model.vision_encoder.parameters()).data.fill_(torch.inf)
    with pytest.raises(TrackerError, match="no numbers for this image in float32. With --precision fp16 try bf16"):
        HfVideoTracker(model, options).encode([tiny_sequence("moving").frame(0)])


def test_compiling_covers_the_encoders(monkeypatch, options, folder):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, *_, **__: compiled.append(type(module).__name__))
    load_model(type(options)(model=str(folder), compile=True), torch.device("cpu"), torch.float32)
    assert len(compiled) == 2
    assert compiled[1].endswith("MemoryEncoder")


def test_a_folder_without_the_model_is_refused(tmp_path, folder, options):
    options = type(options)(model=str(tmp_path))
    with pytest.raises(WeightsError, match="not this kind of model"):
        load_model(options, torch.device("cpu"), torch.float32)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="cannot be loaded from it"):
        load_model(options, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("held", "given", "message"),
    [
        ("sam3_video", "sam2", 'holds "sam3_video" weights, tracker sam2 needs "sam2" weights. Use -t sam3-tracker'),
        ("sam2_video", "sam3-tracker", 'tracker sam3-tracker needs "sam3" weights. Use -t sam2'),
        ("sam2_video", "edgetam", 'tracker edgetam needs "edgetam" weights. Use -t sam2'),
    ],
)
def test_a_model_of_another_of_the_trackers_is_refused_before_it_is_loaded(tmp_path, held, given, message):
    (tmp_path / "config.json").write_text(f'{{"model_type": "{held}"}}')
    (tmp_path / "model.safetensors").touch()
    plugins = vos.load_plugins(["vos_hf_video"])
    sequence = tiny_sequence("moving", length=2)
    options = {"model": str(tmp_path)}
    with pytest.raises(WeightsError, match=message) as caught:
        next(vos.stream(sequence, list(sequence.annotations), tracker=given, options=options, plugins=plugins))
    assert "\n" not in str(caught.value)
