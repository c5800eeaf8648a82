import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest
import torch

import vos
from vos.host.merging import merge_objects
from vos.plugin import EncodingAheadTracker, limit_threads
from vos.testing import check_tracker, tiny_sequence
from vos.types.runtime import Precision
from vos_propagation.backbone.features import FrameFeatures, working_size
from vos_propagation.backbone.working_resolution import side_for_objects
from vos_propagation.config import MemoryConfig, PropagationOptions, RedetectionConfig
from vos_propagation.frame_state import FrameState
from vos_propagation.memory.label_votes import Votes
from vos_propagation.pipeline import PropagationTracker
from vos_propagation.redetection import redetector
from vos_propagation.redetection.redetector import Redetector
from vos_propagation.stages.appearance import Appearance
from vos_propagation.stages.decoder import Decoder
from vos_propagation.stages.matching import Matching
from vos_propagation.stages.memory_update import MemoryUpdate
from vos_propagation.stages.redetection import Redetection
from vos_propagation.stages.stage import Stage

SIZE = (96, 160)


def make(precision: Precision = "auto", **options: object) -> PropagationTracker:
    chosen = PropagationOptions(**{"side": 2 * SIZE[0], **options})  # type: ignore[arg-type]
    return PropagationTracker(chosen, vos.Runtime(device="cpu", precision=precision))


def picture(
    *boxes: tuple[int, int, int], index: int = 0, zoom: int = 1, alike: bool = False
) -> tuple[vos.Frame, vos.LabelMap]:
    """Draw textured squares (id, top, left) of 40 px on a smooth ground, then everything ``zoom`` times as large."""
    ground = np.linspace(60, 120, SIZE[1], dtype=np.float32)[None, :, None] * np.ones((SIZE[0], 1, 3), np.float32)
    image, label_map = ground.astype(np.uint8), np.zeros(SIZE, np.uint8)
    for object_id, top, left in boxes:
        look = 1 if alike else object_id
        rng = np.random.default_rng(look)
        colour = np.array([[250, 40, 30], [30, 60, 250], [240, 220, 40]])[look - 1]
        texture = np.clip(colour + rng.normal(0, 25, (10, 10, 1)), 0, 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        part = (slice(top, top + 40), slice(left, left + 40))
        image[part], label_map[part] = texture, object_id
    image, label_map = (planes.repeat(zoom, 0).repeat(zoom, 1) for planes in (image, label_map))
    return vos.Frame(index, image, f"{index:05d}"), label_map


def step(tracker: PropagationTracker, frame: vos.Frame) -> tuple[vos.Prediction, vos.LabelMap]:
    prediction = tracker.step(frame, tracker.encode([frame])[0])
    return prediction, merge_objects(prediction, frame.size)


def start(tracker: PropagationTracker, frame: vos.Frame, label_map: vos.LabelMap) -> None:
    tracker.start(frame, label_map, tracker.encode([frame])[0])


StageT = TypeVar("StageT", bound=Stage)


def stage_of(tracker: PropagationTracker, kind: type[StageT]) -> StageT:
    return next(stage for stage in tracker.stages if isinstance(stage, kind))


def redetector_of(tracker: PropagationTracker) -> Redetector:
    return stage_of(tracker, Redetection).redetector


def votes_of(tracker: PropagationTracker, keys: torch.Tensor, support: torch.Tensor) -> tuple[Votes, Votes]:
    return stage_of(tracker, Matching).votes(keys, support, tracker.sequence.memory)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize("options", [{}, {"stages": "-decoder"}, {"quality": "fast"}, {"quality": "best"}])
def test_two_objects_are_tracked_and_keep_their_ids(options: dict[str, Any]) -> None:
    tracker = make(**options)
    start(tracker, *picture((1, 8, 8), (2, 48, 100)))
    for i in range(1, 7):
        frame, truth = picture((1, 8 + 3 * i, 8 + 3 * i), (2, 48 - 3 * i, 100), index=i)
        prediction, label_map = step(tracker, frame)
    assert prediction.object_ids == (1, 2)
    assert iou(label_map == 1, truth == 1) > 0.7
    assert iou(label_map == 2, truth == 2) > 0.7
    assert prediction.present is not None
    assert prediction.present.all()


def test_two_that_look_the_same_pass_each_other_and_keep_their_ids() -> None:
    tracker = make()
    start(tracker, *picture((1, 6, 8), (2, 50, 112), alike=True))
    for i in range(1, 9):
        frame, truth = picture((1, 6, 8 + 10 * i), (2, 50, 112 - 10 * i), index=i, alike=True)
        _, label_map = step(tracker, frame)
        assert iou(label_map == 1, truth == 1) > 0.95
        assert iou(label_map == 2, truth == 2) > 0.95


def test_three_that_look_the_same_are_not_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = make()
    at = (1, 8, 4), (2, 30, 60), (3, 50, 116)
    start(tracker, *picture(*at, alike=True))
    assert len(tracker.sequence.distractors) == 3
    searched = recorded(monkeypatch, redetector, "find_candidate")
    for i in range(1, 8):
        step(tracker, picture(*at, index=i, alike=True)[0])
    assert not searched
    assert [len(state.views) for state in redetector_of(tracker).states.values()] == [2, 2, 2]


def recorded(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[tuple[Any, ...]]:
    """Record the arguments of each call of a function, which still works."""
    given: list[tuple[Any, ...]] = []
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *arguments: given.append(arguments) or real(*arguments))
    return given


def test_scores_of_distractors_are_summed_for_all_stages_but_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered, searched = (recorded(monkeypatch, Redetector, name) for name in ("update_views", "step"))
    fused = recorded(monkeypatch, Decoder, "cues")
    tracker = make()
    at = (1, 8, 8), (2, 8, 100)
    start(tracker, *picture(*at, alike=True))
    for i in range(1, MemoryConfig().view_every + 1):
        step(tracker, picture(*at, index=i, alike=True)[0])
    (pair,) = tracker.sequence.distractors
    assert pair.appearance_similarity == 1
    own, together = fused[-1][1].target_score_s8, searched[-1][5]
    assert torch.equal(together, own.sum(0).expand_as(own))
    assert float(own.sum()) > 0
    assert torch.equal(remembered[-1][5], together)


def test_distractor_pairs_follow_annotations_and_forgotten_objects() -> None:
    tracker = make()
    frame, label_map = picture((1, 8, 8), (2, 8, 100), alike=True)
    start(tracker, frame, label_map)
    assert [(pair.first, pair.second) for pair in tracker.sequence.distractors] == [(0, 1)]
    tracker.forget(1)
    assert tracker.sequence.distractors == []
    frame, both = picture((2, 8, 100), (3, 50, 8), index=1, alike=True)
    step(tracker, frame)
    tracker.annotate(frame, np.where(both == 3, both, 0).astype(np.uint8))
    assert [(pair.first, pair.second) for pair in tracker.sequence.distractors] == [(0, 1)]
    start(tracker, *picture((1, 8, 8)))
    assert tracker.sequence.distractors == []


def test_the_target_model_scores_the_annotated_object_high() -> None:
    frame, label_map = picture((1, 8, 8))
    tracker = make()
    encoding = tracker.encode([frame])[0]
    tracker.start(frame, label_map, encoding)
    scores = tracker.sequence.memory.target_model.scores(encoding.samples)
    height, width = encoding.cells.shape[1:]
    share = cv2.resize((label_map > 0).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA).ravel()
    assert scores.shape == (2, encoding.samples.shape[1])
    assert float(scores[1][share > 0.9].mean()) > 0.8
    assert float(scores[1][share == 0].mean()) < 0.2


def test_an_object_that_vanishes_is_absent_and_is_found_again_elsewhere() -> None:
    tracker = make()
    start(tracker, *picture((1, 40, 8), (2, 30, 100)))
    for i in range(1, 6):
        prediction, label_map = step(tracker, picture((2, 30, 100), index=i)[0])
    assert not (label_map == 1).any()
    assert prediction.present is not None
    assert prediction.scores is not None
    assert prediction.present.tolist() == [False, True]
    assert prediction.scores[0] == 0
    for i in range(6, 10):
        frame, truth = picture((1, 8, 40), (2, 30, 100), index=i)
        prediction, label_map = step(tracker, frame)
    assert iou(label_map == 1, truth == 1) > 0.5
    assert iou(label_map == 2, truth == 2) > 0.7


def test_an_object_that_leaves_at_one_side_is_found_when_it_returns_at_another() -> None:
    tracker = make()
    start(tracker, *picture((1, 40, 90), (2, 8, 8)))
    for i in range(1, 7):
        step(tracker, picture((1, 40, min(119, 90 + 10 * i)), (2, 8, 8), index=i)[0])
    for i in range(7, 30):
        prediction, label_map = step(tracker, picture((2, 8, 8), index=i)[0])
        assert not (label_map == 1).any()
    for i in range(30, 36):
        frame, truth = picture((1, 50, 4 * (i - 30) + 8), (2, 8, 8), index=i)
        prediction, label_map = step(tracker, frame)
    assert prediction.object_ids == (1, 2)
    assert iou(label_map == 1, truth == 1) > 0.5
    assert iou(label_map == 2, truth == 2) > 0.7


def test_an_object_of_another_appearance_is_not_mistaken_for_the_one_that_left() -> None:
    tracker = make()
    frame, truth = picture((1, 40, 8), (2, 20, 100))
    start(tracker, frame, np.where(truth == 1, 1, 0).astype(np.uint8))
    for i in range(1, 12):
        prediction, label_map = step(tracker, picture((2, 20 + 2 * i, 100 - 5 * i), index=i)[0])
        assert i < 2 or not label_map.any()
    assert prediction.present is not None
    assert not prediction.present.any()


def ball(centre: int, colour: tuple[int, int, int], index: int) -> tuple[vos.Frame, vos.LabelMap]:
    """Draw a mottled ball, 32 px high and 40 px wide, on blurred noise; it may lie beyond the frame."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.uniform(60, 140, (24, 40, 3)).astype(np.float32), SIZE[::-1])
    wide = cv2.copyMakeBorder(ground, 0, 0, 100, 100, cv2.BORDER_REFLECT)
    y, x = np.mgrid[: SIZE[0], -100 : SIZE[1] + 100]
    inside = ((x - centre) / 20) ** 2 + ((y - 60) / 16) ** 2 < 1
    mottled = cv2.resize(rng.normal(0, 40, (6, 6, 3)).astype(np.float32), (40, 32), interpolation=cv2.INTER_CUBIC)
    part = (slice(44, 76), slice(centre + 80, centre + 120))
    wide[part] = np.where(inside[part][..., None], mottled + colour, wide[part])
    image = wide[:, 100:-100].clip(0, 255).astype(np.uint8)
    return vos.Frame(index, image, f"{index:05d}"), inside[:, 100:-100].astype(np.uint8)


@pytest.mark.parametrize(("own", "other"), [((220, 210, 50), (40, 200, 215)), ((220, 60, 50), (50, 60, 220))])
def test_a_newcomer_that_differs_in_colour_alone_is_not_taken_for_the_absent_object(
    own: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    tracker = make()
    start(tracker, *ball(110, own, 0))
    for i in range(1, 8):
        step(tracker, ball(110 + 12 * i, own, i)[0])
    for i in range(8, 12):
        _, label_map = step(tracker, ball(3 * i + 6, other, i)[0])
        assert not label_map.any()
    for i in range(12, 15):
        frame, truth = ball(282 - 12 * i, own, i)
        _, label_map = step(tracker, frame)
    assert iou(label_map == 1, truth == 1) > 0.9


def test_after_a_cut_to_another_scene_the_object_is_absent() -> None:
    tracker = make(side=SIZE[0])
    start(tracker, *picture((1, 40, 60)))
    for i in range(1, 4):
        step(tracker, picture((1, 40, 60), index=i)[0])
    noise = np.random.default_rng(5).integers(0, 255, (12, 20, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    for i in range(4, 8):
        _, label_map = step(tracker, vos.Frame(i, noise, f"{i:05d}"))
        assert not label_map.any()


@pytest.mark.parametrize("stages", ["", "-redetection"])
def test_a_mask_that_verification_rejects_is_dropped_and_others_stay(
    monkeypatch: pytest.MonkeyPatch, stages: str
) -> None:
    tracker = make(stages=stages)
    frame, truth = picture((1, 8, 8), (2, 48, 100), zoom=2)
    start(tracker, frame, truth)
    monkeypatch.setattr(Redetector, "reject_unlike", lambda *_: [0])
    _, label_map = step(tracker, frame)
    # Without the views of redetection nothing is verified.
    assert (label_map == 1).any() == bool(stages)
    assert iou(label_map == 2, truth == 2) > 0.9


def test_an_object_can_be_added_later_and_corrected() -> None:
    tracker = make()
    frame, truth = picture((1, 8, 8), (2, 48, 100))
    start(tracker, frame, np.where(truth == 1, truth, 0).astype(np.uint8))
    step(tracker, frame)
    tracker.annotate(frame, np.where(truth == 2, truth, 0).astype(np.uint8))
    prediction, label_map = step(tracker, frame)
    assert prediction.object_ids == (1, 2)
    assert iou(label_map == 1, truth == 1) > 0.8
    assert iou(label_map == 2, truth == 2) > 0.8
    swapped = np.where(truth == 1, 2, np.where(truth == 2, 1, 0)).astype(np.uint8)
    tracker.annotate(frame, swapped)
    for _ in range(3):
        _, label_map = step(tracker, frame)
    assert iou(label_map == 2, truth == 1) > 0.5


def test_earlier_annotations_stay_beside_a_correction_the_first_and_the_latest() -> None:
    tracker = make()
    frame, truth = picture((1, 8, 8), (2, 48, 100))
    start(tracker, frame, truth)
    alone = np.where(truth == 1, truth, 0).astype(np.uint8)
    for _ in range(5):
        step(tracker, frame)
        tracker.annotate(frame, alone)
    anchors = tracker.sequence.memory.anchors
    assert [anchor.object_ids for anchor in anchors] == [{1, 2}, {1}, {1}, {1}]
    _, label_map = step(tracker, frame)
    assert iou(label_map == 1, truth == 1) > 0.8
    assert iou(label_map == 2, truth == 2) > 0.8


def test_a_forgotten_object_is_gone_and_others_stay() -> None:
    tracker = make()
    frame, truth = picture((1, 8, 8), (2, 48, 100), (3, 50, 20), zoom=2)
    start(tracker, frame, truth)
    step(tracker, frame)
    tracker.forget(2)
    prediction, label_map = step(tracker, frame)
    assert prediction.object_ids == (1, 3)
    assert iou(label_map == 1, truth == 1) > 0.8
    assert iou(label_map == 3, truth == 3) > 0.8


def test_without_objects_nothing_is_tracked_until_the_next_annotation() -> None:
    tracker = make()
    frame, truth = picture((1, 8, 8), zoom=2)
    start(tracker, frame, truth)
    step(tracker, frame)
    tracker.forget(1)
    prediction, label_map = step(tracker, frame)
    assert prediction.object_ids == ()
    assert not label_map.any()
    tracker.annotate(frame, truth)
    prediction, label_map = step(tracker, frame)
    assert prediction.object_ids == (1,)
    assert iou(label_map == 1, truth == 1) > 0.8


def test_the_same_frames_give_the_same_masks_also_after_another_sequence() -> None:
    tracker = make()
    frames = [picture((1, 8 + 2 * i, 8), index=i) for i in range(4)]

    def run() -> list[bytes]:
        start(tracker, *frames[0])
        return [step(tracker, frame)[0].logits.tobytes() for frame, _ in frames[1:]]

    first = run()
    start(tracker, *picture((2, 30, 30), (3, 40, 100)))
    assert run() == first


def test_the_decoders_image_features_are_part_of_the_encoding() -> None:
    frame, _ = picture((1, 8, 8))
    tracker = make()
    (encoding,) = tracker.encode([frame])
    assert encoding.decoder_features is not None
    assert not encoding.levels, "the backbone's levels were kept"
    tracker.keep_levels = True
    (whole,) = tracker.encode([frame])
    with torch.inference_mode():
        expected = stage_of(tracker, Decoder).network.image_features(whole.levels)
    assert all(torch.equal(encoding.decoder_features[stride], expected[stride]) for stride in expected)
    assert make(stages="-decoder").encode([frame])[0].decoder_features is None


def test_masks_do_not_depend_on_the_order_of_encoding() -> None:
    """The motion found with them may then be since another frame than the one before."""
    clips = []
    for order in ((0, 1, 2, 3, 4), (0, 2, 1, 4, 3)):
        tracker = make()
        frames = [picture((1, 8 + 4 * i, 8 + 6 * i), (2, 48 - 3 * i, 100), index=i) for i in range(5)]
        encodings = {i: tracker.encode([frames[i][0]])[0] for i in order}
        tracker.start(*frames[0], encodings[0])
        clips.append([tracker.step(frames[i][0], encodings[i]).logits for i in range(1, 5)])
    for ordered, mixed in zip(*clips, strict=True):
        assert np.array_equal(ordered, mixed)


@pytest.fixture
def two_threads() -> Iterator[None]:
    with limit_threads(2):
        yield


def tracked(tracker: PropagationTracker, count: int = 12) -> list[np.ndarray]:
    sequence = tiny_sequence("moving", size=SIZE, length=count)
    return [label_map for _, label_map in vos.stream(sequence, sequence.label_maps[0], tracker=tracker)]


def test_features_computed_ahead_give_the_same_masks_each_time_and_threads_are_as_before(two_threads: None) -> None:
    runs = [tracked(make()) for _ in range(3)]
    for run in runs[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(run, runs[0], strict=True))
    assert torch.get_num_threads() == 2


def small_object(index: int) -> tuple[vos.Frame, vos.LabelMap]:
    """Draw an object of 40 px that goes right on a ground of 384 x 640."""
    frame, label_map = picture((1, 20, 20 + 4 * index), index=index)
    room = ((144, 144), (240, 240))
    return vos.Frame(index, np.pad(frame.image, (*room, (0, 0)), mode="edge"), frame.name), np.pad(label_map, room)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_small_object_enlarges_the_working_size_also_of_frames_encoded_before(ahead: bool, two_threads: None) -> None:
    tracker = PropagationTracker(PropagationOptions(quality="fast"), vos.Runtime(device="cpu"))
    encode = tracker.encode_ahead if ahead else tracker.encode
    frames, (label_map, *_) = zip(*(small_object(i) for i in range(4)), strict=True)

    def run(encodings: list[FrameFeatures]) -> list[np.ndarray]:
        tracker.start(frames[0], label_map, encodings[0])
        return [tracker.step(frame, given).logits for frame, given in zip(frames[1:], encodings[1:], strict=True)]

    before = encode(frames)
    assert {given.size for given in before} == {working_size(frames[0].size, 416)}
    first = run(before)
    wanted = working_size(frames[0].size, side_for_objects(416, label_map))
    assert first[0].shape == (1, *wanted)
    assert wanted[0] > 600
    after = encode(frames)
    assert {given.size for given in after} == {wanted}
    for one, other in zip(first, run(after), strict=True):
        assert np.array_equal(one, other)
    truth = small_object(3)[1]
    assert iou(merge_objects(vos.Prediction([1], first[-1]), frames[3].size) == 1, truth == 1) > 0.9
    whole = np.ones_like(label_map)
    tracker.start(frames[0], whole, after[0])
    assert tracker.step(frames[1], after[1]).logits.shape[1:] == before[1].size


def test_an_explicit_side_and_that_of_best_do_not_adapt_to_small_objects() -> None:
    frame, label_map = small_object(0)
    tracker = make(side=192)
    start(tracker, frame, label_map)
    assert step(tracker, small_object(1)[0])[0].logits.shape[1:] == (192, 320)
    assert not PropagationOptions(quality="best").config().adapt_resolution


def test_with_features_computed_ahead_each_of_the_two_gets_its_part_of_the_threads(
    two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[str, set[tuple[str, int]]] = {"encode": set(), "vote": set()}

    def note(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any) -> Any:
            where = threading.current_thread().name.rpartition("_")[0] or "here"
            used[name].add((where, torch.get_num_threads()))
            return function(*arguments)

        return noting

    tracker = make()
    monkeypatch.setattr(tracker, "_encoder", note("encode", tracker._encoder))
    matching = stage_of(tracker, Matching)
    monkeypatch.setattr(matching, "votes", note("vote", matching.votes))
    tracked(tracker)
    assert used == {"encode": {("vos-map-ahead", 1)}, "vote": {("here", 1)}}
    step_by_step = tiny_sequence("moving", size=SIZE, length=3)
    frames = list(step_by_step.frames())
    start(tracker, frames[0], step_by_step.label_maps[0])
    step(tracker, frames[1])
    assert used["encode"] == {("vos-map-ahead", 1), ("here", 2)}
    assert used["vote"] == {("here", 1), ("here", 2)}


def test_one_thread_is_not_shared() -> None:
    with limit_threads(1):
        assert not isinstance(make(), EncodingAheadTracker)
    with limit_threads(2):
        assert isinstance(make(), EncodingAheadTracker)


@torch.inference_mode()
def test_votes_without_query_cells_share_no_memory() -> None:
    tracker = make()
    frame, truth = picture((1, 8, 8))
    start(tracker, frame, truth)
    keys = tracker.sequence.memory.match_keys(tracker.encode([frame])[0])
    votes, first = votes_of(tracker, keys, torch.zeros(1, 2 * keys.shape[0], 2 * keys.shape[1]))
    votes.labels[1] = 1  # as the search does when it finds the object
    assert not first.labels[1].any()


def keep(tracker: PropagationTracker, encoding: FrameFeatures, prob: torch.Tensor) -> None:
    """Let the tracker of one object remember a frame with these labels."""
    frame = FrameState.begin(encoding, tracker.sequence)
    stage_of(tracker, Appearance)(frame, tracker.sequence)
    frame.__dict__["prob_s4"] = prob
    stage_of(tracker, MemoryUpdate)(frame, tracker.sequence)


@torch.inference_mode()
def test_a_rejected_mask_is_in_no_probability() -> None:
    tracker = make()
    frame, truth = picture((1, 8, 8))
    start(tracker, frame, truth)
    state = FrameState.begin(tracker.encode([frame])[0], tracker.sequence)
    state.logits_s4 = torch.full((1, *state.warped_s4.shape[1:]), 3.0)
    assert state.prob_s4[1].min() > 0.9
    assert state.prob_s8[1].min() > 0.9
    state.reject([0])
    assert state.prob_s4[1].max() < 0.01
    assert state.prob_s8[0].min() > 0.99


@torch.inference_mode()
def test_an_annotated_frame_outvotes_an_equally_similar_recent_one() -> None:
    tracker = make(stages="-decoder", context=1)
    frame, truth = picture((1, 8, 8), zoom=2)
    start(tracker, frame, truth)
    encoding = tracker.encode([frame])[0]
    nothing = torch.zeros(2, 48, 80)
    nothing[0] = 1
    keep(tracker, encoding, nothing)
    support = torch.from_numpy(cv2.resize(truth.astype(np.float32), (40, 24)))[None]
    votes, _ = votes_of(tracker, tracker.sequence.memory.match_keys(encoding), support)
    # Half would speak for it if its word counted no more than the other's; some cells less.
    assert votes.labels[1][support[0] == 1].min() > 0.5
    assert votes.labels[1][support[0] == 1].mean() > 0.65


@pytest.mark.parametrize(("name", "value"), [("side", 15), ("side", -1), ("context", 0)])
def test_an_invalid_option_is_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}, expected"):
        make(**{name: value})


def test_memory_is_bounded() -> None:
    tracker = make(context=3)
    frame, truth = picture((1, 8, 8))
    start(tracker, frame, truth)
    for i in range(30):
        step(tracker, picture((1, 8, 8 + i), index=i)[0])
    memory = tracker.sequence.memory
    assert (len(memory.recent), len(memory.spread)) == (2, 1)
    assert len(memory.anchors) == 1
    assert len(redetector_of(tracker).states[1].views) <= RedetectionConfig.latest_views + 1


def test_it_keeps_the_tracker_contract() -> None:
    check_tracker(make)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_masks_do_not_depend_on_the_programs_default_dtype(dtype: torch.dtype) -> None:
    sequence = tiny_sequence("moving", object_ids=(1, 2))

    def maps() -> list[vos.LabelMap]:
        return [m for _, m in vos.stream(sequence, sequence.label_maps[0], runtime=vos.Runtime(device="cpu"))]

    expected = maps()
    torch.set_default_dtype(dtype)
    try:
        differing = [np.count_nonzero(a != b) for a, b in zip(expected, maps(), strict=True)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert max(differing) <= 2  # rounding


def test_it_tracks_a_tiny_sequence_through_vos_stream() -> None:
    sequence = tiny_sequence("moving", size=(96, 128))
    pairs = list(vos.stream(sequence, sequence.annotations[0], tracker="propagation"))
    overlap = [iou(m > 0, t > 0) for (_, m), t in zip(pairs, sequence.label_maps, strict=True)]
    assert np.mean(overlap) > 0.6


def test_a_small_still_object_in_a_small_frame_does_not_erode() -> None:
    tracker = PropagationTracker(PropagationOptions(), vos.Runtime(device="cpu"))
    frame, truth = picture((1, 24, 40))
    start(tracker, frame, truth)
    for _ in range(20):
        _, label_map = step(tracker, frame)
    assert iou(label_map == 1, truth == 1) > 0.95


def test_logits_have_the_working_size() -> None:
    tracker = make()
    frame, truth = picture((1, 9, 10), zoom=2)
    start(tracker, frame, truth)
    prediction, label_map = step(tracker, frame)
    assert prediction.logits.shape == (1, 192, 320)
    # The square's sides lie between cells of 8 px; at 4 px a cell alone it would be off by half a cell in places.
    assert iou(label_map == 1, truth == 1) > 0.98


@pytest.mark.parametrize("object_id", [1, 2, 3])
@pytest.mark.parametrize("corner", [(9, 60), (40, 100)])
def test_a_drawn_square_on_smooth_ground_is_kept(object_id: int, corner: tuple[int, int]) -> None:
    """A memory readout that had learnt from real images alone lost such squares in the second frame."""
    tracker = make()
    frame, truth = picture((object_id, *corner), zoom=2)
    start(tracker, frame, truth)
    for _ in range(4):
        _, label_map = step(tracker, frame)
    assert iou(label_map == object_id, truth == object_id) > 0.97


def test_the_decoder_sees_the_found_region_of_an_object_in_place_of_its_last_mask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracker = make()
    frame, truth = picture((1, 8, 8), (2, 48, 100))
    start(tracker, frame, truth)
    region = torch.zeros(24, 40)
    region[2:6, 30:36] = 1

    def move(ids: object, cells: object, chroma: object, votes: torch.Tensor, *_: object) -> list[int]:
        votes[1] = region
        return [0]

    monkeypatch.setattr(redetector_of(tracker), "step", move)
    seen = recorded(monkeypatch, Decoder, "cues")
    step(tracker, frame)
    given = seen[-1][1]
    assert (given.warped_s8[0][region > 0] == 1).all()
    assert given.warped_s4[0, 4:12, 60:72].min() > 0.5
    assert given.warped_s8[1, 2:6, 30:36].max() < 0.1


def test_objects_that_share_every_cell_are_tracked() -> None:
    frame, _ = picture((1, 20, 20))
    rows, columns = np.indices(SIZE)
    label_map = (1 + (rows + columns) % 2).astype(np.uint8)
    results = [found for _, found in vos.stream(np.stack([frame.image] * 3), label_map, options={"quality": "fast"})]
    assert [found.shape for found in results] == [SIZE] * 3
