from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import vos
from vos.host.merging import merge_objects
from vos.plugin import BoolArray
from vos_propagation.config import CrossingConfig, PropagationOptions
from vos_propagation.ops.point_tracks import PointTracks
from vos_propagation.pipeline import PropagationTracker
from vos_propagation.stages.crossings import Contacts, Crossings, divided
from vos_propagation.stages.distractors import DistractorPair

CONFIG = CrossingConfig()
SIZE = (96, 160)
GRID = (20, 60)


def cells(*columns: slice) -> BoolArray:
    """Mark parts of 10 rows."""
    mask = np.zeros(GRID, bool)
    for column in columns:
        mask[5:15, column] = True
    return mask


def points_on(mask: BoolArray, started: int = 100) -> PointTracks:
    tracks = PointTracks.on(mask, np.zeros((*GRID, 2), np.float32))
    tracks.started = started
    return tracks


LEFT, RIGHT = slice(5, 15), slice(40, 50)
NOTHING = cells()


def owners(first: BoolArray, second: BoolArray, points: list[PointTracks], usual: tuple[int, int]) -> list[BoolArray]:
    masks = np.stack([first, second])
    for part, giver, taker in divided(masks, points, usual, CONFIG):
        assert (masks[giver] & part).sum() == part.sum()
        masks[giver] &= ~part
        masks[taker] |= part
    return list(masks)


def test_a_part_without_points_goes_to_the_object_that_is_missing() -> None:
    first, second = owners(cells(LEFT, RIGHT), NOTHING, [points_on(cells(RIGHT)), points_on(NOTHING)], (100, 100))
    assert (first == cells(RIGHT)).all()
    assert (second == cells(LEFT)).all()


def test_a_part_goes_to_the_object_whose_points_are_on_it_and_its_remains_go_back() -> None:
    # The second object has kept a strip of the first one.
    strip, rest = slice(40, 42), slice(42, 50)
    points = [points_on(cells(RIGHT)), points_on(cells(slice(6, 9)))]
    first, second = owners(cells(LEFT, rest), cells(strip), points, (100, 100))
    assert (first == cells(RIGHT)).all()
    assert (second == cells(LEFT)).all()


@pytest.mark.parametrize("usual", [(160, 100), (110, 140)])
def test_nothing_changes_hands_where_areas_would_not_come_clearly_nearer(usual: tuple[int, int]) -> None:
    # What a pole cuts off an object stays with it as long as the other one is there.
    masks = cells(LEFT, slice(20, 26)), cells(RIGHT)
    points = [points_on(cells(LEFT)), points_on(cells(RIGHT))]
    assert all((a == b).all() for a, b in zip(owners(*masks, points, usual), masks, strict=True))


def test_a_part_with_the_objects_own_points_stays_where_the_other_is_missing() -> None:
    masks = cells(LEFT, RIGHT), NOTHING
    points = [points_on(cells(LEFT, slice(40, 46))), points_on(NOTHING)]
    assert all((a == b).all() for a, b in zip(owners(*masks, points, (200, 100)), masks, strict=True))


def test_small_parts_are_not_divided() -> None:
    masks = cells(slice(40, 41), LEFT), NOTHING
    points = [points_on(cells(LEFT)), points_on(NOTHING)]
    assert all((a == b).all() for a, b in zip(owners(*masks, points, (110, 110)), masks, strict=True))


def test_without_points_nothing_is_divided() -> None:
    masks = cells(LEFT, RIGHT), NOTHING
    points = [points_on(NOTHING), points_on(NOTHING)]
    assert all((a == b).all() for a, b in zip(owners(*masks, points, (100, 100)), masks, strict=True))


def test_a_hidden_object_may_come_out_from_behind_any_in_contact_with_the_one_that_hides_it() -> None:
    contacts = Contacts()
    for pair in ((1, 2), (2, 3)):
        contacts.points[pair] = points_on(NOTHING), points_on(NOTHING)
    assert contacts.may_come_out((1, 3), 0.1, 1.0)
    assert contacts.may_come_out((1, 3), 1.0, 0.1)
    assert not contacts.may_come_out((1, 3), 1.0, 1.0)
    assert not contacts.may_come_out((1, 4), 0.1, 1.0)
    contacts.forget(2)
    assert not contacts.points


@pytest.mark.parametrize(("usual", "expected"), [(300.0, True), (20.0, False)])
def test_a_pair_is_in_contact_where_one_is_hidden_behind_another(usual: float, expected: bool) -> None:
    # 1 touches 2, and 2 touches 3.
    masks = np.stack([cells(slice(8, 10)), cells(slice(10, 30)), cells(slice(30, 50))])
    grey = np.zeros(GRID, np.uint8)
    frame: Any = SimpleNamespace(
        logits_s4=torch.from_numpy(masks).float(),
        flow_s4=np.zeros((*GRID, 2), np.float32),
        features=SimpleNamespace(grey=grey),
    )
    pairs = [DistractorPair(first, second, 1.0) for first, second in ((0, 1), (0, 2), (1, 2))]
    sequence: Any = SimpleNamespace(object_ids=[1, 2, 3], distractors=pairs, features=SimpleNamespace(grey=grey))
    stage = Crossings(CONFIG)
    stage.contacts.usual_areas = {1: usual, 2: 200.0, 3: 200.0}
    stage(frame, sequence)
    assert sorted(stage.contacts.points) == [(1, 2), (2, 3)]
    stage(frame, sequence)
    assert ((1, 3) in stage.contacts.points) == expected


def crossing(index: int) -> tuple[vos.Frame, vos.LabelMap]:
    """Draw two equal squares of 40 px that change places; 1 goes to the right, in front of 2."""
    image = np.linspace(60, 120, SIZE[1], dtype=np.float32)[None, :, None].repeat(SIZE[0], 0).repeat(3, 2)
    image, label_map = image.astype(np.uint8), np.zeros(SIZE, np.uint8)
    noise = np.random.default_rng(1).normal(0, 25, (10, 10, 1))
    texture = np.clip(np.array([250, 40, 30]) + noise, 0, 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    for object_id, top, left in ((2, 34, 112 - 5 * index), (1, 28, 8 + 5 * index)):
        part = slice(top, top + 40), slice(left, left + 40)
        image[part], label_map[part] = texture, object_id
    return vos.Frame(index, image, f"{index:05d}"), label_map


def made(stages: str = "") -> PropagationTracker:
    options = PropagationOptions(side=2 * SIZE[0], stages=stages)
    return PropagationTracker(options, vos.Runtime(device="cpu"))


def tracked(tracker: PropagationTracker, first: int, end: int) -> vos.LabelMap:
    """Track up to a frame; from the annotation if ``first`` is 0."""
    if first == 0:
        frame, label_map = crossing(0)
        tracker.start(frame, label_map, tracker.encode([frame])[0])
    for index in range(max(1, first), end):
        frame, _ = crossing(index)
        label_map = merge_objects(tracker.step(frame, tracker.encode([frame])[0]), SIZE)
    return label_map


def overlaps(label_map: vos.LabelMap, truth: vos.LabelMap) -> list[float]:
    return [((label_map == i) & (truth == i)).sum() / ((label_map == i) | (truth == i)).sum() for i in (1, 2)]


def test_equal_objects_that_hide_each_other_keep_their_ids_and_without_the_stage_they_do_not() -> None:
    truth = crossing(20)[1]
    assert min(overlaps(tracked(made(), 0, 21), truth)) > 0.95
    assert min(overlaps(tracked(made("-crossings"), 0, 21), truth)) < 0.5


def test_a_run_that_goes_on_from_a_state_in_the_middle_of_a_crossing_gives_the_same_masks(tmp_path: Path) -> None:
    whole = made()
    tracked(whole, 0, 12)
    (stage,) = (stage for stage in whole.stages if isinstance(stage, Crossings))
    assert stage.contacts.points
    whole.save(tmp_path / "state")
    resumed = made()
    resumed.load(tmp_path / "state")
    assert (tracked(resumed, 12, 21) == tracked(whole, 12, 21)).all()


@pytest.mark.parametrize("change", ["annotate", "forget"])
def test_an_annotated_or_forgotten_object_is_in_no_contact(change: str) -> None:
    tracker = made()
    tracked(tracker, 0, 12)
    (stage,) = (stage for stage in tracker.stages if isinstance(stage, Crossings))
    assert stage.contacts.points
    if change == "forget":
        tracker.forget(2)
        assert sorted(stage.contacts.usual_areas) == [1]
    else:
        frame, label_map = crossing(11)
        tracker.annotate(frame, np.where(label_map == 2, 2, 0).astype(np.uint8))
    assert not stage.contacts.points
