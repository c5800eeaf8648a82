"""Boxes, points, scribbles, polygons and rough masks become masks without weights."""

import threading
import time

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import vos
from vos.plugin import EmptyMaskError, OptionError
from vos_grabcut.clicks.segment import ClickConfig, ClickSegmenter, _surroundings
from vos_grabcut.prompts import parse_prompts
from vos_grabcut.rough_mask import read_rough_mask

SIZE = (120, 160)


@pytest.fixture(scope="module")
def scene():
    """A blue ellipse and an orange square on a textured green ground, and their exact masks."""
    rng = np.random.default_rng(0)
    image = np.empty((*SIZE, 3), np.uint8)
    image[:] = (60, 120, 70)
    ellipse, square = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    cv2.ellipse(ellipse, (50, 60), (26, 34), 20, 0, 360, 1, -1)
    cv2.rectangle(square, (105, 30), (140, 70), 1, -1)
    image[ellipse > 0] = (40, 70, 190)
    image[square > 0] = (230, 140, 40)
    noisy = np.clip(image + rng.normal(0, 9, image.shape), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.GaussianBlur(noisy, (3, 3), 0)), ellipse > 0, square > 0


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"boxes": "1:20,20,82,98"}, 0.93),
        ({"points": "1:50,60,+"}, 0.95),
        ({"scribbles": "1:40,45 50,60 58,80 +"}, 0.95),
        ({"boxes": "1:20,20,82,98", "points": "1:50,60,+;1:22,22,-"}, 0.95),
    ],
)
def test_marks_give_the_object(scene, options, least):
    image, ellipse, _ = scene
    assert iou(vos.initialize(image, "grabcut", options) == 1, ellipse) > least


def test_clicks_find_the_object_and_a_click_beside_takes_a_part_away(scene):
    image, ellipse, square = scene
    found = vos.initialize(image, "clicks", {"points": "1:50,60,+;2:122,50,+"})
    assert iou(found == 1, ellipse) > 0.8
    assert iou(found == 2, square) > 0.5
    less = vos.initialize(image, "clicks", {"points": "1:50,60,+;1:50,40,-"})
    assert less[60, 50] == 1
    assert less[40, 50] == 0
    assert np.array_equal(less, vos.initialize(image, "clicks", {"points": "1:50,60,+;1:50,40,-"}))


def test_a_box_finds_the_object_in_it_and_marks_correct_that(scene):
    image, ellipse, square = scene
    found = vos.initialize(image, "clicks", {"boxes": "1:20,20,82,98;2:100,25,145,75"})
    assert iou(found == 1, ellipse) > 0.9
    assert iou(found == 2, square) > 0.9
    less = vos.initialize(image, "clicks", {"boxes": "1:20,20,82,98", "points": "1:50,40,-;1:60,80,+"})
    assert (less[40, 50], less[80, 60]) == (0, 1)


def test_a_loose_box_keeps_what_the_decoder_finds(scene):
    image, _, square = scene
    assert iou(vos.initialize(image, "clicks", {"boxes": "1:80,5,159,95"}) == 1, square) > 0.95


@pytest.mark.parametrize("initializer", ["clicks", "grabcut"])
def test_a_box_is_clipped_to_the_frame(scene, initializer):
    found = vos.initialize(scene[0], initializer, {"boxes": "1:-1e20,-300,1e20,500"})
    assert np.array_equal(found, vos.initialize(scene[0], initializer, {"boxes": "1:0,0,159,119"}))


def test_a_box_adds_an_object_to_a_mask_and_corrects_none_of_it(scene, tmp_path):
    image, ellipse, square = scene
    vos.write_label_map(tmp_path / "present.png", np.where(square, 2, 0).astype(np.uint8))
    found = vos.initialize(image, "clicks", {"boxes": "1:20,20,82,98", "mask": tmp_path / "present.png"})
    assert iou(found == 1, ellipse) > 0.9
    assert np.array_equal(found == 2, square)
    with pytest.raises(OptionError, match="object 2 is in .*present.png already; correct it by marks"):
        vos.initialize(image, "clicks", {"boxes": "2:100,25,145,75", "mask": tmp_path / "present.png"})


@pytest.mark.parametrize("initializer", ["clicks", "grabcut"])
def test_a_click_on_one_object_is_beside_the_others(scene, initializer):
    image, ellipse, _ = scene
    found = vos.initialize(image, initializer, {"points": "1:45,40,+;2:55,80,+"})
    assert ellipse[40, 45]
    assert ellipse[80, 55]
    assert (found[40, 45], found[80, 55]) == (1, 2)


@pytest.mark.parametrize(("points", "spot", "wanted"), [("1:50,80,+", (80, 50), True), ("1:92,60,-", (60, 92), False)])
def test_a_click_corrects_the_present_mask_where_it_lies(scene, tmp_path, points, spot, wanted):
    image, ellipse, square = scene
    present = np.where(square, 2, 0).astype(np.uint8)
    present[ellipse & (np.arange(SIZE[0])[:, None] < 70)] = 1  # its lower part is missing,
    present[45:75, 80:100] = 1  # and a part of the ground is in it
    vos.write_label_map(tmp_path / "present.png", present)
    found = vos.initialize(image, "clicks", {"points": points, "mask": tmp_path / "present.png"})
    assert (found[spot] == 1) == wanted
    assert np.array_equal(found == 2, square)
    assert iou(found == 1, ellipse) > iou(present == 1, ellipse) + 0.05
    kept = (present == 1) & (np.arange(SIZE[1]) < 60)
    assert (found[kept] == 1).all()


@pytest.mark.parametrize("points", ["1:50,70,+", "1:50,70,+;2:122,50,+", "2:122,50,+;1:50,70,+", "1:50,70,+;2:50,70,-"])
def test_a_correcting_click_in_another_object_takes_the_region_from_it(scene, tmp_path, points):
    image, ellipse, square = scene
    present = np.where(square, 2, 0).astype(np.uint8)
    present[ellipse] = 1
    present[ellipse & (np.arange(SIZE[0])[:, None] > 65)] = 2  # the smaller object has spilt into the larger one
    vos.write_label_map(tmp_path / "present.png", present)
    found = vos.initialize(image, "clicks", {"points": points, "mask": tmp_path / "present.png"})
    assert (found[ellipse & (present == 2)] == 1).mean() > 0.9
    assert (found[square] == 2).all()
    drop = ellipse.astype(np.uint8)
    cv2.circle(drop, (50, 70), 4, 2, -1)
    vos.write_label_map(tmp_path / "present.png", drop)
    with pytest.raises(EmptyMaskError, match="other objects cover all of object 2"):
        vos.initialize(image, "clicks", {"points": "1:50,70,+", "mask": tmp_path / "present.png"})


def test_a_correcting_click_takes_no_pixel_of_an_object_that_it_does_not_lie_in(scene, tmp_path):
    image, ellipse, _ = scene
    rows, columns = np.indices(SIZE)
    present = np.where(ellipse & (rows > 80), 1, 0).astype(np.uint8)
    present[(ellipse & (columns > 55) & (rows <= 80)) | (rows > 100)] = 2
    vos.write_label_map(tmp_path / "present.png", present)
    for prompts in ({"points": "1:40,60,+"}, {"boxes": "3:20,20,82,98"}):
        found = vos.initialize(image, "clicks", {**prompts, "mask": tmp_path / "present.png"})
        assert np.array_equal(found == 2, present == 2)
        assert found[60, 40] in (1, 3)


@pytest.mark.parametrize("initializer", ["clicks", "grabcut"])
def test_a_box_around_a_small_thin_object_finds_it(scene, initializer):
    image = scene[0].copy()
    small = np.zeros(SIZE, np.uint8)
    cv2.ellipse(small, (70, 100), (8, 2), 30, 0, 360, 1, -1)
    image[small > 0] = (2.0 * image[small > 0] + np.array((110, 110, 60))) / 3
    x, y, width, height = cv2.boundingRect(small)
    found = vos.initialize(image, initializer, {"boxes": f"1:{x},{y},{x + width - 1},{y + height - 1}"})
    assert iou(found == 1, small > 0) > 0.6


@pytest.mark.parametrize("corner", [np.s_[:9, :12], np.s_[-9:, -12:], np.s_[200:209, -1:]])
def test_the_crop_of_a_small_object_at_the_border_is_enlarged_no_more_than_elsewhere(corner):
    config, mask = ClickConfig(), np.zeros((480, 640), bool)
    mask[corner] = True
    region = _surroundings(mask, config)
    assert mask[region].sum() == mask.sum()
    assert min(mask[region].shape) >= round(config.side / config.most_scale)


@pytest.mark.parametrize("xy", ["159.8,119.8", "159.8,60", "80,119.8"])
def test_a_mark_in_the_last_half_pixel_is_drawn(scene, xy):
    for name in ("clicks", "grabcut"):
        x, y = (int(float(value)) for value in xy.split(","))
        assert vos.initialize(scene[0], name, {"points": f"1:{xy},+"})[y, x] == 1


@pytest.mark.parametrize(
    ("size", "encoded"),
    [((1, 500), (64, 2048)), ((500, 1), (2048, 64)), ((100, 1000), (192, 2048)), ((480, 854), (384, 704))],
)
def test_the_long_side_of_a_strip_is_bounded(size, encoded):
    segmenter, sizes = ClickSegmenter(), []

    def network(pixels):
        sizes.append(tuple(pixels.shape[2:]))
        return {stride: torch.ones(1, 2, 4, 4) for stride in (4, 8, 16, 32)}

    segmenter._network = network
    segmenter._encode(np.zeros((*size, 3), np.uint8), b"", np.s_[0 : size[0], 0 : size[1]])
    assert sizes == [encoded]


def test_a_click_on_a_strip_of_one_row():
    image = np.full((1, 500, 3), 90, np.uint8)
    image[:, 100:200] = (220, 30, 30)
    label_map = vos.initialize(image, "clicks", {"points": "1:150,0,+;1:400,0,-"})
    assert label_map[0, 150] == 1
    assert label_map[0, 400] == 0


def test_two_objects_each_get_their_pixels(scene):
    image, ellipse, square = scene
    label_map = vos.initialize(image, "grabcut", {"boxes": "3:20,20,82,98;7:100,25,145,75"})
    assert vos.object_ids(label_map) == (3, 7)
    assert iou(label_map == 3, ellipse) > 0.93
    assert iou(label_map == 7, square) > 0.9


def test_marks_are_kept_and_the_same_marks_give_the_same_mask(scene):
    image = scene[0]
    options = {"scribbles": "1:50,60 60,60 +;1:50,40 60,40 -"}
    first, second = (vos.initialize(image, "grabcut", options) for _ in range(2))
    assert np.array_equal(first, second)
    assert first[60, 55] == 1
    assert first[40, 55] == 0


def test_a_rough_mask_is_fitted_to_the_image(scene, tmp_path):
    image, ellipse, _ = scene
    rough = cv2.dilate(ellipse.astype(np.uint8), np.ones((9, 9)))
    drawn = np.zeros((*SIZE, 3), np.uint8)
    drawn[rough > 0] = (255, 0, 0)
    Image.fromarray(cv2.GaussianBlur(drawn, (5, 5), 0)).save(tmp_path / "rough.png")
    fitted = vos.initialize(image, "grabcut", {"mask": tmp_path / "rough.png"}) > 0
    assert iou(fitted, ellipse) > iou(rough > 0, ellipse) + 0.05
    assert iou(fitted, ellipse) > 0.93


def test_painted_colours_are_objects_and_soft_edges_are_not(tmp_path, caplog):
    drawn = np.zeros((*SIZE, 4), np.uint8)
    drawn[20:60, 20:60] = (255, 40, 0, 255)
    drawn[70:100, 90:150] = (0, 200, 255, 255)
    drawn[19, 20:60] = (128, 20, 0, 255)
    drawn[61, 20:60] = (255, 40, 0, 90)
    Image.fromarray(drawn).save(tmp_path / "painted.png")
    with caplog.at_level("INFO", "vos.grabcut"):
        label_map = read_rough_mask(tmp_path / "painted.png", SIZE)
    assert (label_map == 1).sum() == 30 * 60
    assert (label_map == 2).sum() in (40 * 40, 41 * 40)
    assert "#ff2800 is object 2" in caplog.text


def test_a_polygon_is_filled(scene):
    label_map = vos.initialize(scene[0], "polygon", {"polygons": "2:10,10 50,10 50,40 10,40"})
    assert (label_map == 2).sum() == 41 * 31


def test_a_polygon_within_another_is_in_front_in_any_order(scene):
    small, large = "1:10,10 50,10 50,50", "2:0,0 100,0 100,100 0,100"
    label_map = vos.initialize(scene[0], "polygon", {"polygons": f"{small};{large}"})
    assert label_map[12, 45] == 1
    assert label_map[45, 12] == 2
    assert np.array_equal(label_map, vos.initialize(scene[0], "polygon", {"polygons": f"{large};{small}"}))


def test_an_object_that_others_cover_is_refused(scene):
    twice = "1:10,10 50,10 50,50;2:10,10 50,10 50,50"
    with pytest.raises(EmptyMaskError, match="other objects cover all of object 1"):
        vos.initialize(scene[0], "polygon", {"polygons": twice})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grabcut", {}, "needs marks"),
        ("clicks", {}, "needs marks"),
        ("clicks", {"points": "1:5,5,-"}, "only marks beside it"),
        ("grabcut", {"boxes": "1:5,5,5,9"}, "is empty"),
        ("grabcut", {"boxes": "0:1,1,5,9"}, "id from 1 to 254"),
        ("grabcut", {"points": "1:5,5,-"}, "only marks beside it"),
        ("grabcut", {"points": "1:500,5,+"}, "outside the frame of 160x120"),
        ("grabcut", {"scribbles": "1:a,b"}, "is not id:x,y x,y"),
        ("polygon", {"polygons": "1:5,5 6,6"}, "2 corners"),
        ("polygon", {}, "needs polygons"),
    ],
)
def test_prompts_that_do_not_fit_are_said(scene, name, options, message):
    with pytest.raises(OptionError, match=message):
        vos.initialize(scene[0], name, options)


def test_threads_share_the_encodings_one_at_a_time(scene, monkeypatch):
    segmenter, at_work, most = ClickSegmenter(), [], []
    encode = segmenter._encode

    def watched(*arguments):
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.05)
        answer = encode(*arguments)
        at_work.pop()
        return answer

    monkeypatch.setattr(segmenter, "_encode", watched)
    prompts = parse_prompts("", "1:50,60,+", "")[1]
    threads = [threading.Thread(target=segmenter.segment, args=(scene[0], prompts)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_nothing_painted_and_another_size_are_said(tmp_path):
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(vos.InputError, match="nothing is painted"):
        read_rough_mask(tmp_path / "black.png", SIZE)
    with pytest.raises(vos.InputError, match="160x120, the frame is 80x60"):
        read_rough_mask(tmp_path / "black.png", (60, 80))


def test_missing_weights_name_what_needs_none(scene, tmp_path):
    runtime = vos.Runtime(cache=tmp_path)
    with pytest.raises(
        vos.InputError, match=r"Without weights: clicks, grabcut, polygon, primary-object \(--clicks, --box, --scribble"
    ):
        vos.initialize(scene[0], "sam-points", {"points": "1:5,5,+"}, runtime=runtime)
