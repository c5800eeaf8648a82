import contextlib
import json

import numpy as np
import pytest

import vos
from vos.plugin import AnnotationError, InputError, OptionError, OutputExistsError
from vos.testing import StubTracker, tiny_sequence

SEQUENCE = tiny_sequence("still", length=9)


def marked(**rows):
    """A mask with a line for each object, such as a1=5: object 1 in row 5."""
    label_map = np.zeros(SEQUENCE.size, np.uint8)
    for name, row in rows.items():
        label_map[row, :4] = int(name[1:])
    return label_map


def track(folder, annotations, **more):
    return vos.track(SEQUENCE, annotations, tracker=more.pop("tracker", StubTracker()), output=folder, **more)


def rows(folder):
    """The rows of each object by frame, as the mask files have them."""
    found = {}
    for path in sorted((folder / SEQUENCE.name).glob("*.png")):
        label_map = vos.read_label_map(path, allow_empty=True)
        found[int(path.stem)] = {i: int(np.flatnonzero((label_map == i).any(1))[0]) for i in vos.object_ids(label_map)}
    return found


@pytest.fixture
def earlier(tmp_path):
    track(tmp_path, {0: marked(o1=1, o2=2)})
    return tmp_path


def test_from_tracks_the_frames_from_the_correction_on_and_keeps_the_others(earlier):
    tracker = StubTracker()
    before = (earlier / SEQUENCE.name / "00005.png").stat().st_mtime_ns
    summary = track(earlier, {0: marked(o1=1, o2=2), 6: marked(o1=9)}, from_frame=6, tracker=tracker)
    assert rows(earlier) == {i: {1: 1 if i < 6 else 9, 2: 2} for i in range(9)}
    assert tracker.calls == [("start", 0), ("step", 6), ("annotate", 6), ("step", 7), ("step", 8)]
    assert (earlier / SEQUENCE.name / "00005.png").stat().st_mtime_ns == before
    record = json.loads((earlier / SEQUENCE.name / "run.json").read_text())
    assert summary.frames == 3
    assert (record["frames"], record["mask_files"], record["annotated"]) == (9, 9, [0, 6])
    assert record["selection"] == {"from": 6}


def test_from_takes_objects_without_a_new_mask_from_the_earlier_masks(earlier):
    path = earlier / SEQUENCE.name / "00006.png"
    vos.write_label_map(path, marked(o1=1, o2=20, o7=30))
    track(earlier, {0: marked(o1=1, o2=2), 6: marked(o1=9)}, from_frame=6)
    assert rows(earlier)[8] == {1: 9, 2: 20}


def test_from_both_ways_changes_the_corrected_object_back_to_the_middle_and_nothing_else(earlier):
    vos.write_label_map(earlier / SEQUENCE.name / "00004.png", marked(o1=1, o2=22))
    track(earlier, {0: marked(o1=1, o2=2), 6: marked(o1=9)}, from_frame=6, both_ways=True)
    expected = {i: {1: 1 if i < 4 else 9, 2: 2} for i in range(9)}
    expected[4][2] = 22
    assert rows(earlier) == expected


def test_from_gives_other_writers_every_frame(earlier, tmp_path):
    path = tmp_path / "report.csv"
    writers = ["davis", ("report", {"path": str(path)})]
    track(earlier, {0: marked(o1=1, o2=2), 6: marked(o1=9)}, from_frame=6, writers=writers)
    assert [line.split(",")[0] for line in path.read_text().splitlines()[1::2]] == [str(i) for i in range(9)]


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize(
    ("settings", "given", "expected"),
    [
        ({"step": 2}, {0: marked(o1=3)}, [0, 2, 4, 6, 8]),
        ({"start": 3}, {3: marked(o1=3)}, [3, 4, 5, 6, 7, 8]),
        ({}, {3: marked(o1=3)}, [3, 4, 5, 6, 7, 8]),
        ({"start": 2, "both_ways": True}, {4: marked(o1=3)}, [2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_masks_that_another_run_left_are_no_part_of_a_continued_one(
    earlier, tmp_path, settings, given, expected, replay
):
    track(earlier, given, overwrite=True, **settings)
    settings = {name: value for name, value in settings.items() if name != "both_ways"}
    report = tmp_path / "report.csv"
    writers = ["davis", ("report", {"path": str(report)})] if replay else ["davis"]
    track(earlier, {**given, 6: marked(o1=9)}, from_frame=6, writers=writers, **settings)
    if replay:
        assert [int(line.split(",")[0]) for line in report.read_text().splitlines()[1:]] == expected
    assert json.loads((earlier / SEQUENCE.name / "run.json").read_text())["frames"] == len(expected)
    vos.export(earlier / SEQUENCE.name, "npz", tmp_path / "masks.npz")
    assert np.load(tmp_path / "masks.npz")["indices"].tolist() == expected


@pytest.mark.parametrize(("objects", "expected"), [({"o1": 9}, range(3, 9)), ({"o2": 9}, range(9))])
def test_a_continued_run_both_ways_has_the_frames_before_the_first_mask_if_it_tracks_them(
    earlier, tmp_path, objects, expected
):
    given = {3: marked(o1=3)}
    track(earlier, given, overwrite=True)
    track(earlier, {**given, 6: marked(**objects)}, from_frame=6, both_ways=True)
    for name, more in (("six", {}), ("seven", {7: marked(o1=12)})):
        if more:
            track(earlier, {**given, 6: marked(**objects), **more}, from_frame=7)
        assert json.loads((earlier / SEQUENCE.name / "run.json").read_text())["frames"] == len(expected)
        vos.export(earlier / SEQUENCE.name, "npz", tmp_path / f"{name}.npz")
        assert np.load(tmp_path / f"{name}.npz")["indices"].tolist() == list(expected)


def test_from_before_the_masks_of_a_run_that_was_stopped_on_its_way_backward_needs_both_ways(tmp_path):
    first, both = {5: marked(o1=5)}, {3: marked(o1=3), 5: marked(o1=5)}
    with pytest.raises(vos.TrackerError):
        track(tmp_path, first, both_ways=True, tracker=StubTracker(fail_at=2))
    with pytest.raises(InputError, match="on its way backward and holds no mask of frame 0. Add --both-ways"):
        track(tmp_path, both, from_frame=3)
    assert sorted(rows(tmp_path)) == [3, 4]
    track(tmp_path, both, from_frame=3, both_ways=True)
    assert sorted(rows(tmp_path)) == list(range(9))


def test_a_new_object_goes_on_from_its_frame_in_an_earlier_run(earlier):
    track(earlier, {0: marked(o1=1, o2=2), 3: marked(o3=12)}, from_frame=3, both_ways=True)
    assert rows(earlier) == {i: {1: 1, 2: 2, 3: 12} for i in range(9)}


def test_a_correction_that_was_stopped_is_finished_before_a_later_one(earlier):
    given = {0: marked(o1=1, o2=2), 3: marked(o1=9)}
    with pytest.raises(vos.TrackerError):
        track(earlier, given, from_frame=3, tracker=StubTracker(fail_at=5))
    later = {**given, 7: marked(o2=12)}
    with pytest.raises(InputError, match=r"the run from frame 3 on was stopped, .* with --from 3"):
        track(earlier, later, from_frame=7)
    track(earlier, given, from_frame=3)
    track(earlier, later, from_frame=7)
    assert rows(earlier) == {i: {1: 1 if i < 3 else 9, 2: 2 if i < 7 else 12} for i in range(9)}


def test_what_does_not_fit_is_refused_and_changes_nothing(earlier, tmp_path):
    before = rows(earlier)
    given = {0: marked(o1=1, o2=2), 6: marked(o1=9)}
    with pytest.raises(InputError, match="no mask is given for frame 5"):
        track(earlier, given, from_frame=5)
    with pytest.raises(InputError, match="earlier run has a mask of frame 0 too"):
        track(earlier, {6: marked(o1=9)}, from_frame=6)
    with pytest.raises(InputError, match=r"lacks the mask of frame 3, and frames before 6 would keep theirs.*--from 3"):
        track(earlier, {**given, 3: marked(o1=5)}, from_frame=6)
    with pytest.raises(OutputExistsError, match="another max_side in its selection"):
        track(earlier, given, from_frame=6, max_side=20)
    with pytest.raises(InputError, match="and there is none"):
        track(tmp_path / "new", given, from_frame=6)
    with pytest.raises(OptionError, match="without --resume"):
        track(earlier, given, from_frame=6, resume=True)
    record = (earlier / SEQUENCE.name / "run.json").read_bytes()
    (earlier / SEQUENCE.name / "00006.png").write_text("drawn over")
    with pytest.raises(AnnotationError, match=r"00006.png: not a picture"):
        track(earlier, given, from_frame=6)
    assert (earlier / SEQUENCE.name / "run.json").read_bytes() == record
    (earlier / SEQUENCE.name / "00006.png").unlink()
    with pytest.raises(InputError, match="holds no mask of frame 6, where"):
        track(earlier, given, from_frame=6)
    assert (earlier / SEQUENCE.name / "run.json").read_bytes() == record
    assert rows(earlier) == {i: held for i, held in before.items() if i != 6}


class Unsure(StubTracker):
    """Has low scores for object 2 in frames 2 to 6, until it is annotated again."""

    unsure = (2, 3, 4, 5, 6)

    def annotate(self, frame, label_map):
        super().annotate(frame, label_map)
        self.unsure = ()

    def step(self, frame):
        prediction = super().step(frame)
        scores = [0.5 if object_id == 2 and frame.index in self.unsure else 0.9 for object_id in prediction.object_ids]
        return vos.Prediction.from_label_map(prediction.label_map, prediction.object_ids, scores)


@pytest.mark.parametrize("fail_at", [None, 6])
@pytest.mark.parametrize("report", [False, True])
def test_from_has_the_frames_to_look_at_of_the_earlier_run_before_it(tmp_path, report, fail_at):
    with contextlib.suppress(vos.TrackerError):
        track(tmp_path, {0: marked(o1=1, o2=2)}, tracker=Unsure(fail_at=fail_at))
    record = tmp_path / SEQUENCE.name / "run.json"
    if fail_at is not None:  # a kill leaves no spans in the record
        record.write_text(json.dumps(json.loads(record.read_text()) | {"state": "running", "look_at": []}))
    more = {"from_frame": 5, "overwrite": True}
    if report:
        more["writers"] = ["davis", ("report", {"path": str(tmp_path / "report.csv")})]
    given = {0: marked(o1=1, o2=2), 5: marked(o1=1, o2=2)}
    with pytest.raises(vos.TrackerError):
        track(tmp_path, given, tracker=Unsure(fail_at=7), **more)
    summary = track(tmp_path, given, tracker=Unsure(), **more)
    assert [(span.object_id, span.first, span.last) for span in summary.doubts] == [(2, 2, 4)]
