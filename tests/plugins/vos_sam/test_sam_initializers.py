"""Initializers with a model that truly segments drawn shapes."""

import json

import cv2
import numpy as np
import pytest
import torch

import vos
from vos.plugin import EmptyMaskError, Initializer, InputError, OptionError, VosError
from vos.registry.options import make_options
from vos_sam import vos_initializers
from vos_sam.checkpoint import load_sam
from vos_sam.detections import read_detections
from vos_sam.edges import EdgesInitializer, thin_edges
from vos_sam.everything import EverythingInitializer, grid_points, propose
from vos_sam.initializers import BoxesInitializer, MaskInitializer, PointsInitializer, parse_boxes, parse_points
from vos_sam.model import SegmentAnything
from vos_sam.options import BoxesOptions, EdgesOptions, EverythingOptions, MaskOptions, PointsOptions

SIZE = (120, 160)


@pytest.fixture(scope="module")
def shapes(shapes_checkpoint):
    return SegmentAnything(load_sam(shapes_checkpoint))


@pytest.fixture(scope="module")
def scene():
    """A red disc (1) and a blue square (2) on grey."""
    label_map = np.zeros(SIZE, np.uint8)
    cv2.circle(label_map, (45, 50), 24, 1, -1)
    cv2.rectangle(label_map, (95, 55), (138, 98), 2, -1)
    colours = np.array([[105, 112, 104], [214, 48, 44], [40, 88, 222]], np.float32)
    image = cv2.GaussianBlur(colours[label_map], (0, 0), 0.6) + np.random.default_rng(0).normal(0, 4, (*SIZE, 3))
    return vos.Frame(0, image.clip(0, 255).astype(np.uint8), "scene"), label_map


def iou(ours, exact, object_id, ours_id=None):
    a, b = ours == (ours_id or object_id), exact == object_id
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("granularity", ["best", "whole"])
def test_points(shapes, scene, granularity):
    frame, exact = scene
    options = PointsOptions(points="1:45,50,+;2:110,75;1:5,5,-", granularity=granularity)
    ours = PointsInitializer(options, shapes).initialize(frame)
    assert ours.dtype == np.uint8
    assert vos.object_ids(ours) == (1, 2)
    assert min(iou(ours, exact, 1), iou(ours, exact, 2)) > 0.75


def test_granularities_are_ordered_by_size(shapes, scene):
    frame, _ = scene
    sizes = []
    for granularity in ("subpart", "part", "whole"):
        options = PointsOptions(points="7:45,50", granularity=granularity)
        try:
            sizes.append(int((PointsInitializer(options, shapes).initialize(frame) == 7).sum()))
        except EmptyMaskError:
            sizes.append(0)
    assert sizes == sorted(sizes)


def test_boxes(shapes, scene):
    frame, exact = scene
    ours = BoxesInitializer(BoxesOptions(boxes="2:95,55,138,98; 1:21,26,69,74"), shapes).initialize(frame)
    assert min(iou(ours, exact, 1), iou(ours, exact, 2)) > 0.8


def test_boxes_that_another_program_detected(shapes, scene, tmp_path):
    frame, exact = scene
    results = [
        {"image_id": 0, "category_id": 7, "bbox": [95, 55, 44, 44], "score": 0.6},
        {"image_id": 0, "category_id": 3, "bbox": [21, 26, 49, 49], "score": 0.9},
        {"image_id": 0, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.2},
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.9},
    ]
    file = tmp_path / "detections.json"
    file.write_text(json.dumps(results))
    ours = BoxesInitializer(BoxesOptions(detections=file), shapes).initialize(frame)
    assert vos.object_ids(ours) == (1, 2), "the disc is likelier"
    assert min(iou(ours, exact, 1), iou(ours, exact, 2)) > 0.8
    both = BoxesInitializer(BoxesOptions(boxes="1:21,26,69,74;2:95,55,138,98"), shapes).initialize(frame)
    assert np.array_equal(ours, both), "a COCO box of width 44 ends on the 44th pixel"


def test_detections_of_a_data_set_are_found_by_name_and_filtered(scene, tmp_path):
    frame, _ = scene
    file = tmp_path / "coco.json"
    annotation = {"image_id": 4, "bbox": [150, -5, 30, 20]}
    data = {
        "images": [
            {"id": 0, "file_name": "a/other.jpg", "width": 80, "height": 60},
            {"id": 4, "file_name": "a/scene.jpg", "width": 160, "height": 120},
        ],
        "annotations": [{**annotation, "category_id": 1, "track_id": 9}, {**annotation, "category_id": 2}],
        "categories": [{"id": 1, "name": "Dog"}, {"id": 2, "name": "cat"}],
    }
    file.write_text(json.dumps(data))
    (box,) = read_detections(file, frame, categories="dog").values()
    assert box.tolist() == [150, 0, 159, 14], "cut off at the frame's border"
    assert list(read_detections(file, frame, categories="1")) == [9], "its own track_id"
    assert list(read_detections(file, frame)) == [1, 2]
    boxes = [160, 5, 9, 9], [-9, 5, 9, 9], [5, 120, 9, 9], [159, 119, 9, 9]
    outside = [{"image_id": 0, "bbox": box} for box in boxes]
    file.write_text(json.dumps({"annotations": outside, "images": None, "categories": None}))
    (box,) = read_detections(file, frame).values()
    assert box.tolist() == [159, 119, 159, 119], "the others lie outside the frame"
    file.write_text(json.dumps([{"image_id": 0, "bbox": [1, 1, 2, 2], "category_id": "1", "score": None}]))
    assert list(read_detections(file, frame, min_score=0.9, categories="1")) == [1], "without a score it has 1"
    for text, options, message in (
        ("[]", {}, "it has none"),
        ('[{"image_id": 0, "bbox": [1, 1, 2, 2], "score": "high"}]', {}, "score high is not a number"),
        (json.dumps(data), {"categories": "cow"}, 'no category "cow" .it has dog, cat'),
        (json.dumps(data), {"min_score": 1.5}, "none of the 2 boxes of frame scene"),
        ('[{"image_id": 3, "bbox": [1, 2, 0, 4]}]', {}, "is not x, y, width, height in pixels"),
        ('[{"image_id": 3, "bbox": [1]}, {"image_id": 2, "bbox": [1]}]', {}, "no image scene in it.*it has 3, 2"),
        ('{"annotations": 3}', {}, "not COCO detections"),
        ("[[", {}, "cannot be read as JSON"),
        (json.dumps(data).replace("160", "320"), {}, "image scene is 320x120 in it, the frame is 160x120"),
        ('{"images": [{"id": 4, "file_name": "scene.jpg"}], "annotations": []}', {}, "no box of frame scene in it"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_detections(file, frame, **options)
    with pytest.raises(OptionError, match="boxes and detections are both given"):
        BoxesInitializer(BoxesOptions(boxes="1:0,0,9,9", detections=file), None)


def test_a_rough_mask_is_refined(shapes, scene, tmp_path):
    frame, exact = scene
    rough = np.where(cv2.erode(exact, np.ones((9, 9), np.uint8)) > 0, exact, 0).astype(np.uint8)
    vos.write_label_map(tmp_path / "rough.png", rough)
    ours = MaskInitializer(MaskOptions(mask=tmp_path / "rough.png"), shapes).initialize(frame)
    for object_id in (1, 2):
        assert iou(ours, exact, object_id) > max(0.75, iou(rough, exact, object_id))


def test_everything(shapes, scene):
    frame, exact = scene
    options = EverythingOptions(points_per_side=8, predicted_iou=0.7, stability=0.8, min_share=0.01)
    ours = EverythingInitializer(options, shapes).initialize(frame)
    found = [max(iou(ours, exact, own, its) for its in vos.object_ids(ours)) for own in (1, 2)]
    assert min(found) > 0.75
    sizes = [int((ours == i).sum()) for i in vos.object_ids(ours)]
    assert vos.object_ids(ours) == tuple(range(1, len(sizes) + 1))
    one = EverythingOptions(points_per_side=8, predicted_iou=0.7, stability=0.8, min_share=0.01, max_objects=1)
    assert vos.object_ids(EverythingInitializer(one, shapes).initialize(frame)) == (1,)


def test_proposals_are_rated_and_not_doubled(shapes, scene):
    frame, _ = scene
    (embedding,) = shapes.encode([frame.image])
    every = propose(shapes, embedding, 4)
    rated = every.predicted_iou
    assert torch.equal(rated, rated.sort(descending=True).values)
    assert 0 < len(rated) < 48
    strict = propose(shapes, embedding, 4, predicted_iou=0.8, stability=0.9)
    assert (strict.predicted_iou >= 0.8).all()
    assert (strict.stability >= 0.9).all()
    points = grid_points(embedding, 4)
    assert points[0].tolist() == [19.5, 14.5]
    assert len(points) == 16


def test_edges_lie_on_the_outlines(shapes, scene):
    frame, exact = scene
    initializer = EdgesInitializer(EdgesOptions(points_per_side=8), shapes)
    strength = initializer.edges(frame)
    assert strength.dtype == np.float32
    assert strength.max() <= 1
    outline = cv2.morphologyEx(exact, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    near = cv2.dilate(outline.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    strong = strength > 0.7
    assert (strong & near).sum() / strong.sum() > 0.85
    reached = cv2.dilate(strong.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert (reached & outline).sum() / outline.sum() > 0.7
    label_map = initializer.initialize(frame)
    np.testing.assert_array_equal(label_map > 0, strength >= 0.1)


def test_thinning_leaves_a_line_one_pixel_wide():
    strength = np.zeros((40, 40), np.float32)
    strength[:, 18:23] = [0.3, 0.7, 1.0, 0.7, 0.3]
    thin = thin_edges(strength)
    assert (thin[5:-5] > 0).sum(axis=1).max() == 1
    assert thin[20].argmax() == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sam-points needs points: -O"),
        ("1,2,3", '"1,2,3" is not id:x,y,\\+ with an id from 1 to 254'),
        ("0:2,3", "id from 1 to 254"),
        ("²:2,3", '"²:2,3" is not id:x,y,\\+ with an id from 1 to 254'),
        (f"{5000 * '9'}:2,3", "with an id from 1 to 254"),
        ("1:²,3", '"1:²,3" is not id:x,y,\\+'),
        ("1:2", '"1:2" is not id:x,y,\\+'),
        ("1:a,3", '"1:a,3" is not id:x,y,\\+'),
        ("1:nan,3", '"1:nan,3" is not id:x,y,\\+'),
        ("1:2,3,-", "object 1 has only points beside it"),
    ],
)
def test_points_that_do_not_read(text, message):
    with pytest.raises(OptionError, match=message):
        parse_points(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ; ", "sam-boxes needs boxes"),
        ("1:2,3,4", "is not id:x0,y0,x1,y1"),
        ("1:9,9,4,20", 'box "1:9,9,4,20" is empty'),
        ("1:1,1,4,4;1:2,2,5,5", "object 1 has two boxes"),
    ],
)
def test_boxes_that_do_not_read(text, message):
    with pytest.raises(OptionError, match=message):
        parse_boxes(text)


def test_prompts_outside_the_frame(shapes, scene):
    frame, _ = scene
    with pytest.raises(OptionError, match="object 3: point 200,10 lies outside the frame, which is 160x120"):
        PointsInitializer(PointsOptions(points="3:200,10"), shapes).initialize(frame)
    with pytest.raises(OptionError, match="object 3: box corner 20,120 lies outside"):
        BoxesInitializer(BoxesOptions(boxes="3:2,2,20,120"), shapes).initialize(frame)
    with pytest.raises(OptionError, match="needs a rough mask: -O mask=PATH"):
        MaskInitializer(MaskOptions(), shapes)


def test_the_specs_make_initializers(shapes_checkpoint, tmp_path):
    given = {
        "sam-points": {"points": "1:3,4"},
        "sam-boxes": {"boxes": "1:3,4,9,9"},
        "sam-mask": {"mask": str(tmp_path / "m.png")},
        "sam-everything": {"max_objects": "3"},
        "sam-edges": {},
    }
    for spec in vos_initializers():
        options = make_options(spec.options, {**given[spec.name], "checkpoint": str(shapes_checkpoint)}, spec.name)
        assert isinstance(spec.factory(options, vos.Runtime(device="cpu")), Initializer)
    for options_type, wrong in (
        (EverythingOptions, {"max_objects": 255}),
        (EdgesOptions, {"points_per_side": 0}),
        (BoxesOptions, {"min_score": "nan"}),
    ):
        with pytest.raises(OptionError):
            make_options(options_type, wrong, "it")


@pytest.mark.parametrize(("name", "options"), [("sam-points", {"points": "1:a"}), ("sam-boxes", {"boxes": "1:2,3"})])
def test_a_prompt_is_checked_before_weights_are_looked_for(name, options, tmp_path, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(tmp_path))
    with pytest.raises(OptionError, match=r"is not id:x"):
        vos.initialize(np.zeros((9, 9, 3), np.uint8), name, options=options)


def test_a_checkpoint_beside_a_model_is_refused():
    with pytest.raises(OptionError, match=r"checkpoint \(a.pth\) and model \(vit_l\) are both given"):
        vos.initialize(np.zeros((9, 9, 3), np.uint8), "sam-points", options={"checkpoint": "a.pth", "model": "vit_l"})


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 5.0, float("nan")])
def test_a_threshold_that_makes_every_pixel_an_edge_or_none_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold is .*, expected above 0, up to 1"):
        EdgesOptions(threshold=threshold)


@pytest.mark.parametrize("name", ["predicted_iou", "stability", "min_share", "max_share"])
def test_shares_and_ratings_are_from_0_to_1(name):
    for value in (-0.1, 88.0, float("nan")):
        with pytest.raises(ValueError, match=f"{name} is .*, expected 0 to 1"):
            EverythingOptions(**{name: value})


def test_an_embedding_that_is_no_number_is_said_and_not_that_nothing_was_found(shapes_checkpoint):
    sam = SegmentAnything(load_sam(shapes_checkpoint), torch.float16)
    sam._sam.image_encoder.neck[0].weight.fill_(torch.inf)
    with pytest.raises(VosError, match="no numbers for this image in float16. With --precision fp16 try bf16 or fp32"):
        sam.encode([np.zeros((20, 30, 3), np.uint8)])
