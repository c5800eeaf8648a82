import cv2
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image

import vos
from vos.host.merging import merge_objects
from vos.testing import contract_test, tiny_sequence
from vos_propagation import vos_trackers
from vos_propagation.config import DinoOptions
from vos_propagation.dino.protocol import CONTEXT, DinoTracker, propagate, protocol_size
from vos_propagation.dino.vit import TimmViT

PATCH, GRID = 32, (15, 20)


def tiny_vit(patch: int = PATCH) -> TimmViT:
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=0, patch_size=patch, img_size=4 * patch, depth=1)
    torch.nn.init.normal_(network.pos_embed, std=0.1)
    return TimmViT(network.eval().requires_grad_(False))


def make_tracker(**runtime: str) -> DinoTracker:
    return DinoTracker(tiny_vit(), vos.Runtime(device="cpu", **runtime))


test_contract = contract_test(make_tracker)


class Driver:
    """Runs a tracker over a tiny sequence, position by position."""

    def __init__(self, kind="still", ids=(1, 2), length=16, **runtime):  # type: ignore[no-untyped-def]
        self.tracker = make_tracker(**runtime)
        self.sequence = tiny_sequence(kind, size=(96, 128), length=length, object_ids=ids)

    def start(self, *ids: int) -> None:
        frame = self.sequence.frame(0)
        self.tracker.start(frame, self.truth(0, *ids), *self.tracker.encode([frame]))

    def step(self, position: int) -> vos.Prediction:
        frame = self.sequence.frame(position)
        return self.tracker.step(frame, *self.tracker.encode([frame]))

    def annotate(self, position: int, label_map: vos.LabelMap) -> None:
        self.tracker.annotate(self.sequence.frame(position), label_map)

    def truth(self, position: int, *ids: int) -> vos.LabelMap:
        label_map = self.sequence.label_maps[position]
        return np.where(np.isin(label_map, ids), label_map, 0).astype(np.uint8)

    def label_map(self, position: int) -> vos.LabelMap:
        return merge_objects(self.step(position), self.sequence.size)

    def memory(self) -> int:
        return len(self.tracker._anchors) + len(self.tracker._recent)


def iou(a, b) -> float:  # type: ignore[no-untyped-def]
    return float((a & b).sum() / (a | b).sum())


def naive(query, context, window, top_k, temperature):  # type: ignore[no-untyped-def]
    """The protocol cell by cell: exp, window, the k highest, normalised."""
    _, height, width = query.shape
    out = torch.zeros(len(context[0][1]), height, width)
    for y in range(height):
        for x in range(width):
            votes = [
                (float(torch.exp(query[:, y, x] @ cells[:, v, u] / temperature)), labels[:, v, u])
                for cells, labels in context
                for v in range(max(0, y - window), min(height, y + window + 1))
                for u in range(max(0, x - window), min(width, x + window + 1))
            ]
            best = sorted(votes, key=lambda vote: -vote[0])[:top_k]
            out[:, y, x] = sum(w * label for w, label in best) / sum(w for w, _ in best)
    return out


def test_votes_are_those_of_the_protocol_cell_by_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = [F.normalize(torch.randn(6, 7, 9, generator=generator), dim=0) for _ in range(3)]
    labels = [torch.softmax(torch.randn(3, 7, 9, generator=generator), 0) for _ in range(2)]
    context = list(zip(cells[1:], labels, strict=True))
    torch.testing.assert_close(propagate(cells[0], context, 2, 5, 0.1), naive(cells[0], context, 2, 5, 0.1))


def test_all_cells_as_similar_as_the_last_voter_vote() -> None:
    cells = torch.ones(1, 3, 4)
    labels = torch.rand(2, 3, 4)
    mean = labels.mean((1, 2), keepdim=True).expand(2, 3, 4)
    torch.testing.assert_close(propagate(cells, [(cells, labels)], 4, 5, 0.1), mean)


def test_a_cell_that_says_nothing_does_not_vote() -> None:
    generator = torch.Generator().manual_seed(0)
    query, *cells = [F.normalize(torch.randn(6, 5, 5, generator=generator), dim=0) for _ in range(3)]
    labels = torch.softmax(torch.randn(3, 5, 5, generator=generator), 0)
    silent = (cells[1], torch.zeros(3, 5, 5))
    spoken = propagate(query, [(cells[0], labels), silent], 2, 5, 0.1)
    torch.testing.assert_close(spoken, propagate(query, [(cells[0], labels)], 2, 5, 0.1))
    assert not propagate(query, [silent], 2, 5, 0.1).any()


def test_the_working_size_is_the_protocols() -> None:
    assert protocol_size((480, 854), 8) == (480, 832)
    assert protocol_size((1920, 1080), 16) == (832, 480)
    assert protocol_size((480, 854), 14) == (476, 826)


def published(sequence):  # type: ignore[no-untyped-def]
    """Planes of each later frame, as DINO's eval_video_segmentation.py at 04c0ad9 has them before its argmax."""
    network = tiny_vit().network
    network.set_input_size(img_size=(480, 640))
    network.pos_embed = tiny_vit_positions()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.228, 0.224, 0.225])

    def features(image):  # type: ignore[no-untyped-def]
        pixels = (cv2.resize(image[..., ::-1], (640, 480)).astype(np.float32)[..., ::-1] / 255 - mean) / std
        tokens = network.forward_features(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float())
        return F.normalize(tokens[0, 1:], dim=1)

    small = np.array(Image.fromarray(sequence.label_maps[0]).resize(GRID[::-1], Image.Resampling.NEAREST))
    first = F.one_hot(torch.from_numpy(small).long()).permute(2, 0, 1).float()
    y, x = torch.arange(300) // 20, torch.arange(300) % 20
    near = ((y[:, None] - y).abs() <= 12) & ((x[:, None] - x).abs() <= 12)
    queue: list[tuple[torch.Tensor, torch.Tensor]] = []
    first_features = features(sequence.images[0])
    for image in sequence.images[1:]:
        target = features(image)
        context = [(first_features, first), *queue[-7:]]
        affinity = torch.cat([torch.exp(target @ cells.T / 0.1) * near for cells, _ in context], dim=1)
        affinity[affinity < affinity.topk(5, dim=1).values[:, -1:]] = 0
        affinity /= affinity.sum(1, keepdim=True)
        labels = torch.cat([planes.flatten(1) for _, planes in context], dim=1) @ affinity.T
        labels = labels.reshape(-1, *GRID)
        queue.append((target, labels))
        large = F.interpolate(labels[None], scale_factor=PATCH, mode="bilinear")[0]
        large -= large.amin((1, 2), keepdim=True)
        yield large / large.amax((1, 2), keepdim=True)


def tiny_vit_positions() -> torch.nn.Parameter:
    vit = tiny_vit()
    vit.features(torch.zeros(1, 3, 480, 640))
    return vit.network.pos_embed


@torch.inference_mode()
def test_with_one_annotation_every_frame_is_the_published_protocols() -> None:
    run = Driver("crossing", length=12)
    run.start(1, 2)
    for position, planes in enumerate(published(run.sequence), start=1):
        logits = torch.from_numpy(run.step(position).logits.copy())
        label_map = torch.where((logits > 0).any(0), logits.argmax(0) + 1, 0)
        assert float((label_map != planes.argmax(0)).float().mean()) < 1e-4
        for row, object_id in ((0, 1), (1, 2)):
            others = planes[[i for i in range(3) if i != object_id]].amax(0)
            torch.testing.assert_close(logits[row], planes[object_id] - others, atol=1e-4, rtol=0)


def test_an_object_that_is_annotated_later_is_followed_beside_the_others() -> None:
    """In a still scene, where the first frame calls the second object background."""
    run = Driver(ids=(7, 3))
    run.start(7)
    assert set(np.unique(run.label_map(1))) == {0, 7}
    run.annotate(1, run.truth(1, 3))
    for position in range(2, 12):
        label_map = run.label_map(position)
        for object_id in (7, 3):
            assert iou(label_map == object_id, run.truth(position, object_id) > 0) > 0.6


def test_a_correction_moves_one_object_and_leaves_the_others() -> None:
    """Though two annotated frames, kept for other objects, know it at its old place."""
    run = Driver(ids=(1, 2, 3))
    run.start(1, 2, 3)
    run.step(1)
    run.annotate(1, run.truth(1, 3))
    before = run.label_map(2)
    moved = np.zeros_like(before)
    moved[64:, 96:] = 1
    run.annotate(2, moved)
    after = run.label_map(3)
    assert iou(after == 1, moved == 1) > 0.8
    for object_id in (2, 3):
        assert iou(after == object_id, (before == object_id) & (moved == 0)) > 0.8


def test_a_forgotten_object_leaves_background_and_its_id_may_return() -> None:
    run = Driver()
    run.start(1, 2)
    run.step(1)
    run.tracker.forget(1)
    prediction = run.step(2)
    assert prediction.object_ids == (2,)
    label_map = merge_objects(prediction, run.sequence.size)
    assert iou(label_map == 2, run.truth(2, 2) > 0) > 0.6
    assert not label_map[run.truth(2, 1) > 0].any()
    run.annotate(2, run.truth(2, 1))
    assert iou(run.label_map(3) == 1, run.truth(3, 1) > 0) > 0.6
    run.tracker.forget(1)
    run.tracker.forget(2)
    assert run.step(4).object_ids == ()
    run.annotate(4, run.truth(4, 2))
    assert iou(run.label_map(5) == 2, run.truth(5, 2) > 0) > 0.6


def test_memory_is_one_annotated_frame_for_each_object_and_the_last_seven() -> None:
    run = Driver("moving")
    run.start(1, 2)
    for position in range(1, 13):
        run.step(position)
    assert run.memory() == 1 + CONTEXT
    run.annotate(12, run.truth(12, 1))
    assert run.memory() == 2
    for position in range(4):
        run.step(position)
        run.annotate(position, run.truth(position, 1))
        assert run.memory() == 2
    run.annotate(3, run.truth(3, 1, 2))
    assert run.memory() == 1
    run.tracker.forget(1)
    run.tracker.forget(2)
    assert run.memory() == 0


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_features_are_in_the_runtimes_precision_and_labels_are_not(precision: str, dtype: torch.dtype) -> None:
    half, full = Driver("moving", precision=precision), Driver("moving")
    assert half.tracker.encode([half.sequence.frame(0)])[0].dtype == dtype
    for run in (half, full):
        run.start(1, 2)
    for position in range(1, 4):
        assert np.mean(half.label_map(position) != full.label_map(position)) < 0.02
    assert half.tracker._recent[-1][1].dtype == torch.float32


def test_features_of_nan_are_an_error_and_no_empty_masks() -> None:
    run = Driver("moving")
    with torch.no_grad():
        next(run.tracker._vit.network.parameters()).fill_(float("nan"))
    with pytest.raises(vos.TrackerError, match="gives NaN for this image in float32.*weights are damaged"):
        run.tracker.encode([run.sequence.frame(0)])


def test_the_option_chooses_the_backbone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "vit.pth")
    spec = next(spec for spec in vos_trackers() if spec.name == "dino")
    options = DinoOptions(backbone=f"test_vit:{tmp_path / 'vit.pth'}")
    tracker = spec.factory(options, vos.Runtime(device="cpu"))
    frame = tiny_sequence(size=(96, 128)).frame(0)
    (encoding,) = tracker.encode([frame])
    assert encoding.shape == (64, 30, 40)
    torch.testing.assert_close(encoding.norm(dim=0), torch.ones(30, 40))
