"""Text to objects: against the library's own pre- and post-processing, and by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import vos
from vos.plugin import EmptyMaskError, OptionError, VosError, WeightsError, load_plugins
from vos.testing import check_plugin
from vos_grounded.detections import Detections, choose_objects
from vos_grounded.detectors import GroundingDino, Owlv2
from vos_grounded.grounded_sam import GroundedSamInitializer
from vos_grounded.models import load
from vos_grounded.options import GroundedSamOptions, Sam3TextOptions, TextOptions
from vos_grounded.sam3 import load_initializer

CPU = vos.Runtime(device="cpu")
IMAGE = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
FRAME = vos.Frame(0, IMAGE, "00000")


@pytest.fixture(scope="module")
def dino(dino_folder):
    return load(dino_folder, "GroundingDinoForObjectDetection", "GroundingDinoProcessor", CPU)


def test_the_plugin_offers_both():
    assert check_plugin("vos_grounded") == ["grounded-sam", "sam3-text"]


@torch.inference_mode()
def test_grounding_dino_equals_the_library(dino):
    found = GroundingDino(dino).detect(IMAGE, ["Dog", "red ball"])
    prepared = dino.processor(images=IMAGE.copy(), text="dog. red ball.", return_tensors="pt")
    output = dino.network(**prepared)
    (expected,) = dino.processor.post_process_grounded_object_detection(output, threshold=-1, target_sizes=[(48, 80)])
    torch.testing.assert_close(found.boxes, expected["boxes"])
    # [CLS] dog . red ball . [SEP]
    tokens = output.logits[0].sigmoid()
    torch.testing.assert_close(found.scores, tokens[:, [1, 3, 4]].amax(dim=1))
    assert torch.equal(found.phrases, (tokens[:, 3:5].amax(dim=1) > tokens[:, 1]).long())


def test_grounding_dino_reads_many_phrases_in_several_texts(dino):
    detector = GroundingDino(dino)
    phrases = ["dog", "cat", "red", "ball"] * 3
    texts = list(detector._texts(phrases))
    assert [first for first, *_ in texts] == [0, 11]
    assert sum(len(spans) for *_, spans in texts) == 12
    found = detector.detect(IMAGE, phrases)
    assert len(found.scores) == 2 * 20
    torch.testing.assert_close(found.boxes[20:], detector.detect(IMAGE, phrases[11:]).boxes)
    assert set(found.phrases[20:].tolist()) == {11}
    with pytest.raises(OptionError, match='phrase "dog dog.*has 30 tokens, Grounding DINO reads 1 to 21'):
        detector.detect(IMAGE, ["dog " * 30])


@torch.inference_mode()
def test_owlv2_equals_the_library(owl_folder):
    loaded = load(owl_folder, "Owlv2ForObjectDetection", "Owlv2Processor", CPU)
    found = Owlv2(loaded).detect(IMAGE, ["dog", "cat"])
    text = [["a photo of a dog", "a photo of a cat"]]
    output = loaded.network(**loaded.processor(text=text, images=IMAGE.copy(), return_tensors="pt"))
    sizes = torch.tensor([[48, 80]])
    (expected,) = loaded.processor.post_process_grounded_object_detection(output, threshold=-1, target_sizes=sizes)
    torch.testing.assert_close(found.boxes, expected["boxes"])
    torch.testing.assert_close(found.scores, expected["scores"])
    assert torch.equal(found.phrases, expected["labels"])
    with pytest.raises(OptionError, match="OWLv2 reads 24"):
        Owlv2(loaded).detect(IMAGE, ["dog " * 30])


@torch.inference_mode()
def test_sam3_equals_the_library_and_is_read_from_the_video_models_folder(sam3_folder):
    options = Sam3TextOptions(text="dog; red", model=str(sam3_folder), threshold=0.0, nms=1.0)
    initializer = load_initializer(options, CPU)
    network, processor = initializer._loaded.network, initializer._loaded.processor
    found, logits = initializer._segment(FRAME)
    for row, phrase in enumerate(("dog", "red")):
        output = network(
            **{
                name: value
                for name, value in processor(images=IMAGE.copy(), text=phrase, return_tensors="pt").items()
                if name != "original_sizes"
            }
        )
        (expected,) = processor.post_process_instance_segmentation(output, threshold=0.0, target_sizes=[(48, 80)])
        mine = slice(6 * row, 6 * row + 6)
        torch.testing.assert_close(found.boxes[mine], expected["boxes"])
        torch.testing.assert_close(found.scores[mine], expected["scores"])
        torch.testing.assert_close(logits[mine], output.pred_masks[0])
    assert (found.phrases == torch.arange(12) // 6).all()

    kept = load_initializer(Sam3TextOptions(text="dog", model=str(sam3_folder), threshold=0.0, max_per_phrase=1), CPU)
    kept._segment = lambda frame: (
        Detections(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0.9]), torch.tensor([0]), torch.tensor([0.9])),
        torch.tensor([[[3.0, -3.0]]]),
    )
    label_map = kept.initialize(FRAME)
    assert label_map[:, :39].all()
    assert not label_map[:, 41:].any()


def found(*boxes, highest=(0.9, 0.5)):
    corners, scores, phrases = zip(*boxes, strict=True)
    fields = (torch.tensor(corners, dtype=torch.float32), *map(torch.tensor, (scores, phrases, highest)))
    return Detections(*fields)


def test_boxes_are_chosen_by_threshold_overlap_and_phrase(caplog):
    all_boxes = found(
        ((0, 0, 10, 10), 0.5, 1),
        ((0, 0, 10, 9), 0.9, 0),  # IoU 0.9 with the first
        ((20, 0, 30, 10), 0.6, 0),
        ((40, 0, 50, 10), 0.3, 1),
        ((60, 0, 70, 10), 0.2, 1),
        ((-50, 0, 0.5, 10), 0.99, 0),  # half a pixel of it is in the frame
    ).inside((48, 80))
    assert len(all_boxes.scores) == 5
    phrases = ["dog", "ball"]
    assert choose_objects(all_boxes, phrases, TextOptions(), 0.3, FRAME).tolist() == [1, 2, 3]
    assert choose_objects(all_boxes, phrases, TextOptions(nms=0.95), 0.3, FRAME).tolist() == [1, 2, 0, 3]
    assert choose_objects(all_boxes, phrases, TextOptions(max_per_phrase=1), 0.1, FRAME).tolist() == [1, 3]
    with_cat = replace(all_boxes, highest=torch.tensor([0.9, 0.5, 0.0]))
    assert choose_objects(with_cat, [*phrases, "cat"], TextOptions(), 0.55, FRAME).tolist() == [1, 2]
    assert "frame 00000: found no ball (at most 0.50) and no cat (at most 0.00) with" in caplog.text
    with pytest.raises(EmptyMaskError, match="found no dog .at most 0.90. and no ball .*Try other words"):
        choose_objects(all_boxes, phrases, TextOptions(), 0.95, FRAME)


def test_a_phrase_on_the_boxes_of_a_likelier_one_is_said_with_its_own_probability(caplog, dino):
    boxes = found(((0, 0, 10, 10), 0.8, 0), highest=(0.8, 0.7))
    assert choose_objects(boxes, ["dog", "animal"], TextOptions(), 0.35, FRAME).tolist() == [0]
    assert "found no animal (at most 0.70, on no box of its own in the frame) with a probability of 0.35" in caplog.text
    with pytest.raises(VosError, match="the probabilities are not numbers. With --precision fp16 try bf16 or fp32"):
        choose_objects(replace(boxes, highest=torch.tensor([torch.nan])), ["dog"], TextOptions(), 0, FRAME)
    both = GroundingDino(dino).detect(IMAGE, ["dog", "cat"])
    alone = GroundingDino(dino).detect(IMAGE, ["cat"])
    assert both.highest.shape == (2,)
    assert both.highest.max() == both.scores.max()
    torch.testing.assert_close(alone.highest, alone.scores.max()[None])


@pytest.mark.parametrize("options", [GroundedSamOptions, Sam3TextOptions])
def test_options_that_fit_no_text_are_refused(options):
    for threshold in (-0.1, 35, float("nan")):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            options(text="dog", threshold=threshold)
    with pytest.raises(ValueError, match=r"text is 'chien \\udce9', which is not UTF-8"):
        options(text="chien \udce9")


def test_frames_of_three_rows_are_read_as_images(dino, owl_folder, sam3_folder):
    """Left to themselves, the library's processors take three rows for three channels."""
    frame = vos.Frame(0, np.random.default_rng(1).integers(0, 255, (3, 40, 3), dtype=np.uint8), "00000")
    owl = load(owl_folder, "Owlv2ForObjectDetection", "Owlv2Processor", CPU)
    sam3 = load_initializer(Sam3TextOptions(text="dog", model=str(sam3_folder)), CPU)
    for loaded, run in (
        (dino, lambda: GroundingDino(dino).detect(frame.image, ["dog"])),
        (owl, lambda: Owlv2(owl).detect(frame.image, ["dog"])),
        (sam3._loaded, lambda: sam3._segment(frame)),
    ):
        expected = loaded.processor.image_processor(images=Image.fromarray(frame.image), return_tensors="pt")
        module = next(one for one in loaded.network.modules() if isinstance(one, torch.nn.Conv2d))
        seen = []
        hook = module.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        run()
        hook.remove()
        height, width = expected.pixel_values.shape[2:]
        torch.testing.assert_close(seen[0][..., :height, :width], expected.pixel_values)  # a network may pad


class StubDetector:
    threshold = 0.35

    def detect(self, image, phrases):
        return found(((95, 55, 139, 99), 0.8, 1), ((21, 26, 70, 75), 0.9, 0), ((22, 27, 69, 74), 0.5, 1))


def test_boxes_become_masks_in_the_order_of_the_phrases(shapes_sam, scene):
    frame, exact = scene
    initializer = GroundedSamInitializer(GroundedSamOptions(text="disc; square"), StubDetector(), shapes_sam)
    ours = initializer.initialize(frame)
    assert vos.object_ids(ours) == (1, 2), "the third box overlaps the first"
    for object_id in (1, 2):
        a, b = ours == object_id, exact == object_id
        assert (a & b).sum() / (a | b).sum() > 0.8


def test_from_folders_through_the_host(dino_folder, shapes_checkpoint):
    options = {"text": "dog; red ball", "model": str(dino_folder), "checkpoint": str(shapes_checkpoint)}
    plugins = load_plugins()
    label_map = vos.initialize(FRAME, "grounded-sam", {**options, "threshold": 0.05}, runtime=CPU, plugins=plugins)
    assert vos.object_ids(label_map)
    with pytest.raises(OptionError, match="grounded-sam needs a text"):
        vos.initialize(FRAME, "grounded-sam", {**options, "text": " ;"}, runtime=CPU, plugins=plugins)


def test_everything_that_is_missing_is_said_at_once(tmp_path, owl_folder):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "groupvit"}))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    runtime = vos.Runtime(device="cpu", cache=tmp_path)
    with pytest.raises(WeightsError) as caught:
        vos.initialize(FRAME, "grounded-sam", {"text": "dog", "model": str(tmp_path)}, runtime=runtime)
    assert "`vos weights fetch vit_b` gets them" in str(caught.value)
    assert 'model type is "groupvit", expected grounding-dino or owlv2' in str(caught.value)
