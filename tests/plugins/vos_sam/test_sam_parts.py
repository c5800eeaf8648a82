"""Parts of the initializers on their own, on masks made by hand: choosing, placing, prompting, thinning."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from segment_anything.modeling.image_encoder import get_rel_pos

import vos
from vos_sam import everything
from vos_sam.checkpoint import load_sam
from vos_sam.decoder import Decoded
from vos_sam.edges import EdgesInitializer, thin_edges
from vos_sam.encoders.vit_attention import _for_positions
from vos_sam.everything import EverythingInitializer, Proposals, propose
from vos_sam.initializers import MaskInitializer, _agreement, choose_mask, parse_points
from vos_sam.model import Embedding, SegmentAnything
from vos_sam.options import EdgesOptions, EverythingOptions, MaskOptions
from vos_sam.view import View

SIZE = (120, 160)
VIEW = View(SIZE, 160)
"""The input is as wide as the frame: a pixel of the decoder's 80 x 80 is 2 x 2 of the frame; 20 rows are padding."""


@pytest.fixture(scope="module")
def shapes(shapes_checkpoint):
    return SegmentAnything(load_sam(shapes_checkpoint))


@pytest.fixture(scope="module")
def scene(shapes):
    """A red disc that the frame cuts, and a blue square, on grey."""
    label_map = np.zeros(SIZE, np.uint8)
    cv2.circle(label_map, (8, 50), 24, 1, -1)
    cv2.rectangle(label_map, (95, 55), (138, 98), 2, -1)
    colours = np.array([[105, 112, 104], [214, 48, 44], [40, 88, 222]], np.float32)
    image = cv2.GaussianBlur(colours[label_map], (0, 0), 0.6) + np.random.default_rng(0).normal(0, 4, (*SIZE, 3))
    frame = vos.Frame(0, image.clip(0, 255).astype(np.uint8), "scene")
    return frame, label_map, shapes.encode([frame.image])[0]


def blank(size=(20, 20)):
    return Embedding(torch.zeros(1, *size), VIEW)


def rectangles(*corners):
    """Logits of 5 in (top, left, bottom, right) of the decoder's 80 x 80, -5 elsewhere."""
    low_res = torch.full((len(corners), 80, 80), -5.0)
    for plane, (top, left, bottom, right) in zip(low_res, corners, strict=True):
        plane[top:bottom, left:right] = 5
    return low_res


def test_a_crop_holds_every_cell_that_the_frame_touches():
    maps = torch.arange(400).view(20, 20)
    assert torch.equal(View((60, 107), 160).crop(maps), maps[:12])  # 90 of the input's rows, 8 to a cell
    assert torch.equal(View((107, 60), 160).crop(maps), maps[:, :12])


@pytest.mark.parametrize("size", [(1, 500), (500, 1)])
def test_a_narrow_strip_keeps_a_row_of_the_input(shapes, size):
    view = View(size, 160)
    assert view.input_size == (max(1, size[0] * 160 // 500), max(1, size[1] * 160 // 500))
    (embedding,) = shapes.encode([np.zeros((*size, 3), np.uint8)])
    assert embedding.view.upsample(torch.zeros(1, 80, 80)).shape == (1, *size)


def test_granularity_is_by_area_within_the_frame_and_best_by_rating():
    low_res = rectangles((10, 10, 30, 30), (10, 10, 50, 50), (10, 10, 20, 20))[None]
    low_res[0, 2, 60:] = 5  # all of the padding: as large as can be, and nothing to see
    decoded = Decoded(low_res, torch.tensor([[0.4, 0.3, 0.9]]))
    for granularity, row in (("subpart", 2), ("part", 0), ("whole", 1), ("best", 2)):
        assert torch.equal(choose_mask(decoded, blank(), granularity)[0], low_res[0, row])


def test_points_are_on_an_object_or_beside_it():
    prompts = parse_points("2:120,80,+; 1:3,4.5 ;2:30,40,-")
    assert list(prompts) == [2, 1]
    assert prompts[2].points_xy.tolist() == [[120, 80], [30, 40]]
    assert prompts[2].point_labels.tolist() == [1, 0]
    assert (prompts[1].points_xy.tolist(), prompts[1].point_labels.tolist()) == ([[3, 4.5]], [1])


def test_agreement_is_intersection_over_union():
    rough = rectangles((10, 10, 20, 20), (0, 0, 40, 40)) > 0
    masks = torch.stack([rectangles((0, 0, 60, 60), (10, 10, 20, 30)), rectangles((0, 0, 40, 20), (0, 0, 0, 0))]) > 0
    torch.testing.assert_close(_agreement(masks, rough), torch.tensor([[100 / 3600, 0.5], [0.5, 0.0]]))


def test_a_rough_mask_prompts_with_its_innermost_pixel_its_box_and_itself(shapes):
    mask = np.zeros(SIZE, np.bool_)
    mask[31:80, :45] = True  # the frame's left edge is an edge of the object too
    prompt = MaskInitializer(MaskOptions(mask="unread.png"), shapes)._prompt(mask, blank())
    ((x, y),) = prompt.points_xy
    assert (x, y) == (22, pytest.approx(55, abs=3))
    assert prompt.box_xyxy.tolist() == [0, 31, 44, 79]
    expected = torch.full((80, 80), -10.0)
    expected[15:40, :23] = 10
    expected[15, :22] = expected[16:40, 22] = 0  # half covered
    expected[15, 22] = -5  # a quarter
    torch.testing.assert_close(prompt.low_res_logits, expected)


def test_a_refined_mask_is_the_one_that_agrees_asked_for_again(shapes, scene):
    frame, exact, embedding = scene
    rough = cv2.erode(exact, np.ones((9, 9), np.uint8))
    initializer = MaskInitializer(MaskOptions(mask="unread.png"), shapes)
    prompts = [initializer._prompt(rough == i, embedding) for i in (1, 2)]
    masks = shapes.decode(embedding, prompts).low_res_logits
    given = torch.stack([prompt.low_res_logits for prompt in prompts]) > 0
    best = _agreement(masks > 0, given).argmax(dim=1)
    again = [replace(p, low_res_logits=m[b]) for p, m, b in zip(prompts, masks, best, strict=True)]
    logits = embedding.view.upsample(shapes.decode(embedding, again, multimask=False).low_res_logits[:, 0])
    expected = np.where(logits.amax(dim=0) > 0, logits.argmax(dim=0) + 1, 0)
    np.testing.assert_array_equal(initializer.refine(frame, rough), expected)


def place(low_res, stability=None, **options):
    stability = torch.ones(len(low_res)) if stability is None else torch.tensor(stability)
    initializer = EverythingInitializer(EverythingOptions(**options), None)
    frame = vos.Frame(0, np.zeros((*SIZE, 3), np.uint8), "0")
    return initializer._place(frame, blank(), Proposals(low_res, torch.ones(len(low_res)), stability))


def at(label_map, row, column):
    """The id at a pixel of the decoder's."""
    return int(label_map[2 * row, 2 * column])


def test_the_largest_masks_come_first_and_none_lies_over_another():
    low_res = rectangles((5, 40, 25, 50), (5, 5, 35, 35), (5, 28, 25, 42), (40, 5, 50, 75), (25, 33, 45, 45))
    ours = place(low_res, min_share=0.01)
    # In pixels of the decoder's: the square 900, the band 700, the third 280, the fifth 240, the first 200.
    assert (at(ours, 20, 20), at(ours, 45, 60)) == (1, 2)
    assert at(ours, 10, 38) == 0  # half of the third lies in the square: left out
    assert at(ours, 38, 43) == 0  # more than a fifth of the fifth lies in the square and the band: left out
    assert at(ours, 10, 45) == 3
    assert vos.object_ids(ours) == (1, 2, 3)
    # A tenth may be another's; those pixels stay the other's.
    ours = place(rectangles((5, 5, 35, 35), (5, 33, 35, 53)), min_share=0.01)
    assert (at(ours, 20, 34), at(ours, 20, 40)) == (1, 2)


def test_what_is_placed_is_bounded_by_share_count_and_stability():
    low_res = rectangles((0, 0, 60, 70), (5, 5, 25, 25), (40, 5, 50, 15), (40, 40, 42, 42))
    kept = {"min_share": 0.01, "max_share": 0.8}
    ours = place(low_res, **kept)  # 0.875 of the frame is too large, 0.0008 too small
    assert (at(ours, 10, 10), at(ours, 45, 10), at(ours, 41, 41), at(ours, 55, 60)) == (1, 2, 0, 0)
    assert vos.object_ids(place(low_res, **kept, max_objects=1)) == (1,)
    # Four times as large, and a tenth as stable.
    ours = place(low_res, [1.0, 0.1, 1.0, 1.0], **kept)
    assert (at(ours, 10, 10), at(ours, 45, 10)) == (2, 1)


def test_boxes_and_duplicates():
    low_res = rectangles((10, 20, 30, 50), (10, 20, 30, 49), (40, 0, 60, 80), (11, 21, 30, 50))
    assert everything._boxes(low_res > 0).tolist()[:3] == [[20, 10, 50, 30], [20, 10, 49, 30], [0, 40, 80, 60]]
    rated = torch.tensor([0.5, 0.9, 0.6, 0.7])
    assert everything._without_duplicates(low_res > 0, rated).tolist() == [1, 2]


def test_proposals_are_those_of_all_points_and_as_stable_as_they_say(shapes, scene, monkeypatch):
    _, _, embedding = scene
    found = propose(shapes, embedding, 8)
    shown = embedding.view.crop(found.low_res_logits)
    stable = (shown > 1).sum(dim=(1, 2)) / (shown > -1).sum(dim=(1, 2)).clamp(min=1)
    torch.testing.assert_close(found.stability, stable)
    monkeypatch.setattr(everything, "PROMPTS_PER_CALL", 64)
    at_once = propose(shapes, embedding, 8)
    torch.testing.assert_close(at_once.predicted_iou, found.predicted_iou, atol=1e-5, rtol=0)
    bound = float(found.stability.quantile(0.5))
    assert found.predicted_iou[found.stability < bound].max() > found.predicted_iou.min()
    strict = propose(shapes, embedding, 8, stability=bound)
    assert strict.stability.min() >= bound


def test_edges_are_nowhere_but_on_the_masks_own_boundaries(shapes, scene):
    """A boundary pixel has both the mask and its outside among its neighbours within the frame."""
    frame, _, embedding = scene
    strength = EdgesInitializer(EdgesOptions(points_per_side=6), shapes).edges(frame)
    assert strength.max() == 1
    allowed = np.zeros(SIZE, np.bool_)
    touching = 0
    for low_res in propose(shapes, embedding, 6).low_res_logits:
        mask = np.pad((embedding.view.upsample(low_res[None])[0] > 0).numpy(), 1, mode="edge")
        touching += bool(mask[:, 0].any())
        around = np.lib.stride_tricks.sliding_window_view(mask, (3, 3))
        allowed |= around.any(axis=(2, 3)) & ~around.all(axis=(2, 3))
    assert touching
    assert strength[allowed].any()
    assert not strength[~allowed].any()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("profile", [[0.3, 0.7, 1.0, 0.7, 0.3], [0.5, 1.0, 1.0, 0.5]])
def test_a_line_of_any_width_is_thinned_to_one_pixel(profile, turned):
    strength = np.zeros((40, 40), np.float32)
    strength[:, 18 : 18 + len(profile)] = profile
    thin = thin_edges(np.ascontiguousarray(strength.T)).T if turned else thin_edges(strength)
    assert ((thin[5:-5] > 0).sum(axis=1) == 1).all()
    assert (thin[5:-5].max(axis=1) == 1).all()


@pytest.mark.parametrize(("length", "count"), [(27, 14), (27, 20), (27, 5)])
def test_relative_positions_of_another_length_are_resized_as_the_official_encoder_does(length, count):
    table = torch.randn(length, 6, generator=torch.Generator().manual_seed(count))
    torch.testing.assert_close(_for_positions(table, count), get_rel_pos(count, count, table))
