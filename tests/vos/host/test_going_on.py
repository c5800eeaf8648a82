"""Going on in the middle of a run that was stopped."""

import contextlib
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import vos
from vos.host.outputs import saved_states
from vos.plugin import OptionError, OutputExistsError, hookimpl, load_plugins, make_tracker, read_state, write_state
from vos.testing import StubTracker, tiny_sequence

PLUGINS = load_plugins()


class Sliding(StubTracker):
    """Moves the annotation by one column a frame: a mask tells how many frames the tracker has seen."""

    def step(self, frame):
        prediction = super().step(frame)
        self._label_map = np.roll(self._label_map, 1, axis=1)
        return prediction


class Forgetful(Sliding):
    """Saves nothing."""

    save = load = None


@pytest.fixture(autouse=True)
def states_are_frequent(monkeypatch):
    monkeypatch.setattr(saved_states, "EVERY_FRAMES", 4)


@pytest.fixture
def sequence():
    return tiny_sequence("moving", length=14)


def masks(folder):
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*.png")}


def track_from(sequence, annotations, **more):
    return vos.track(sequence, annotations, plugins=PLUGINS, **more)


def track(sequence, output, tracker, **more):
    return track_from(sequence, sequence.label_maps[0], tracker=tracker, output=output, **more)


def stop(sequence, output, fail_at, kind=Sliding, **more):
    with pytest.raises(vos.TrackerError):
        track(sequence, output, kind(fail_at=fail_at), **more)
    return output / sequence.name


def resumed(folder):
    return json.loads((folder / "run.json").read_text())["resumed"]


@pytest.mark.parametrize(
    ("fail_at", "more"),
    [(2, {}), (12, {}), (12, {"step": 2}), (2, {"both_ways": True}), (12, {"both_ways": True})],
)
def test_a_stopped_run_goes_on_exactly(sequence, tmp_path, fail_at, more):
    annotation = vos.Annotation(sequence.label_maps[0], 8 if "both_ways" in more else 0)
    unbroken = track_from(sequence, annotation, tracker=Sliding(), output=tmp_path / "a", **more)
    with pytest.raises(vos.TrackerError):
        track_from(sequence, annotation, tracker=Sliding(fail_at=fail_at), output=tmp_path / "b", **more)
    tracker = Sliding()
    summary = track_from(sequence, annotation, tracker=tracker, output=tmp_path / "b", resume=True, **more)
    folder = tmp_path / "b" / sequence.name
    assert masks(folder) == masks(tmp_path / "a" / sequence.name)
    assert summary.frames == unbroken.frames
    assert not (folder / ".state").exists()
    before = summary.run.frames_before
    assert resumed(folder) == ([{"frames_before": before, "from": "state"}] if before else [])
    assert (("load", None) in tracker.calls) == bool(before)
    assert len([call for call in tracker.calls if call[0] == "step"]) <= unbroken.frames - before


def test_a_tracker_that_exits_at_its_state_begins_anew(sequence, tmp_path, caplog):
    class Exits(Sliding):
        def load(self, path):
            sys.exit(2)

    stop(sequence, tmp_path, 6, Exits)
    assert track(sequence, tmp_path, Exits(), resume=True).frames == 14
    assert "this saved state is not used (SystemExit: 2); the run begins anew" in caplog.text


def test_a_state_of_a_process_without_torch_is_used_in_one_with_it(sequence, tmp_path):
    folder = stop(sequence, tmp_path, 6)
    edit_record(folder, threads=None)
    track(sequence, tmp_path, Sliding(), resume=True)
    assert resumed(folder) == [{"frames_before": 4, "from": "state"}]


class Uneven(StubTracker):
    """Object 1 grows and shrinks, both vanish in some frames, and scores rise and fall, by the index alone."""

    def step(self, frame):
        given = super().step(frame).label_map
        drawn = given * np.uint8(frame.index not in (4, 11))
        drawn[given == 1] = 0
        drawn[10 : 20 + 5 * (frame.index % 4), 10:30] = 1
        return vos.Prediction.from_label_map(
            drawn, (1, 2), [0.8 + 0.02 * (frame.index % 10), 0.95 - 0.03 * frame.index]
        )


class UnevenForgetful(Uneven):
    save = load = None


@pytest.mark.parametrize("kind", [Uneven, UnevenForgetful])
@pytest.mark.parametrize("more", [{}, {"step": 2}, {"both_ways": True}])
def test_a_run_that_goes_on_has_the_frames_to_look_at_of_an_unbroken_one(tmp_path, kind, more):
    sequence = tiny_sequence("moving", length=14, size=(96, 128))
    annotation = vos.Annotation(sequence.label_maps[0], 4 if "both_ways" in more else 0)
    unbroken = track_from(sequence, annotation, tracker=kind(), output=tmp_path / "a", **more)
    assert {reason for span in unbroken.doubts for reason in span.reasons} >= {"changes size", "low score", "vanishes"}
    for fail_at in range(1, 14):
        output = tmp_path / str(fail_at)
        with contextlib.suppress(vos.TrackerError):
            track_from(sequence, annotation, tracker=kind(fail_at=fail_at), output=output, **more)
            continue  # a frame that is not tracked
        with contextlib.suppress(vos.TrackerError):
            track_from(sequence, annotation, tracker=kind(fail_at=12), output=output, resume=True, **more)
        # Frames that were tracked and not written, as a kill leaves them.
        for path in sorted((output / sequence.name).glob("[!.]*.png"))[9:]:
            path.unlink()
        summary = track_from(sequence, annotation, tracker=kind(), output=output, resume=True, **more)
        assert summary.doubts == unbroken.doubts, fail_at


def test_a_run_without_the_log_of_doubts_begins_anew(tmp_path, caplog):
    sequence = tiny_sequence("moving", length=14, size=(96, 128))
    unbroken = track(sequence, tmp_path / "a", Uneven())
    for kind in (Uneven, UnevenForgetful):
        log = stop(sequence, tmp_path / kind.__name__, 10, kind) / ".state" / "doubts.jsonl"
        log.write_text(log.read_text()[:30])
        summary = track(sequence, tmp_path / kind.__name__, kind(), resume=True)
        assert (summary.run.frames_before, summary.doubts) == (0, unbroken.doubts)
    assert caplog.text.count("this saved state is not used") == 1


def test_objects_that_come_and_end_are_known_after_going_on(sequence, tmp_path):
    later = np.where(sequence.label_maps[0] == 2, 3, 0).astype(np.uint8)
    given = [vos.Annotation(sequence.label_maps[0], 0), vos.Annotation(later, 5), vos.Annotation(later, 10)]
    more = {"ends": {3: 7, 1: 2}}
    track_from(sequence, given, tracker=Sliding(), output=tmp_path / "a", **more)
    with pytest.raises(vos.TrackerError):
        track_from(sequence, given, tracker=Sliding(fail_at=9), output=tmp_path / "b", **more)
    summary = track_from(sequence, given, tracker=Sliding(), output=tmp_path / "b", resume=True, **more)
    assert summary.run.frames_before == 8
    assert masks(tmp_path / "b" / sequence.name) == masks(tmp_path / "a" / sequence.name)


def test_a_tracker_without_state_starts_from_the_last_mask_that_shows_every_object(sequence, tmp_path, caplog):
    folder = stop(sequence, tmp_path, 6, Forgetful)
    vos.write_label_map(folder / "00005.png", np.where(sequence.label_maps[0] == 1, 1, 0).astype(np.uint8))
    tracker = Forgetful()
    summary = track(sequence, tmp_path, tracker, resume=True)
    assert tracker.calls[0] == ("start", 4)
    assert (summary.frames, len(masks(folder))) == (14, 14)
    assert resumed(folder) == [{"frames_before": 5, "from": "mask"}]
    assert "cannot save its state and starts again from the mask of frame 4" in caplog.text
    folder = stop(sequence, tmp_path / "exact", 6, Forgetful)
    assert track(sequence, tmp_path / "exact", Forgetful(), resume="exact").run.frames_before == 0
    assert resumed(folder) == []


class Listing:
    """Makes a file for each frame; a full disk stops it at one frame."""

    per_frame = True

    def __init__(self, fail_at=None):
        self.fail_at = fail_at

    def open(self, run):
        self.folder = run.output

    def write(self, frame, label_map, prediction):
        if frame.index == self.fail_at:
            raise vos.OutputError("no space")
        (self.folder / f"{frame.name}.txt").write_text(str(frame.index))

    def close(self):
        pass

    def abort(self, error):
        pass


def test_a_frame_that_one_writer_could_not_write_is_not_taken_for_done(sequence, tmp_path):
    with pytest.raises(vos.WriterError, match="frame 00005"):
        track(sequence, tmp_path, Forgetful(), writers=["davis", Listing(fail_at=5)])
    summary = track(sequence, tmp_path, Forgetful(), writers=["davis", Listing()], resume=True)
    assert summary.run.frames_before == 5
    listed = sorted(path.stem for path in (tmp_path / sequence.name).glob("*.txt"))
    assert listed == [f"{index:05d}" for index in range(14)]


def edit_record(folder, **change):
    path = folder / ".state" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def other_version(folder):
    edit_record(folder, versions={"vos": "0.0.1"})


def damaged(folder):
    (folder / ".state" / "00000003.state").write_bytes(b"PK" + bytes(100))


def a_frame_that_never_was(folder):
    edit_record(folder, frame_index="../../etc")


def no_record(folder):
    (folder / ".state" / "state.json").write_text("[" * 100_000)


def missing_mask(folder):
    (folder / "00001.png").unlink()


def refused_by_the_tracker(folder):
    state = folder / ".state" / "00000003.state"
    write_state(state, {"another": np.zeros(3)}, {})
    edit_record(folder, sha256=hashlib.sha256(state.read_bytes()).hexdigest())


def saved_with_more_threads(folder):
    edit_record(folder, threads=torch.get_num_threads() + 1)


@pytest.mark.parametrize(
    "harm",
    [
        other_version,
        damaged,
        a_frame_that_never_was,
        no_record,
        missing_mask,
        refused_by_the_tracker,
        saved_with_more_threads,
    ],
)
def test_a_state_that_cannot_be_trusted_is_refused_in_a_line(sequence, tmp_path, caplog, harm):
    folder = stop(sequence, tmp_path, 6)
    harm(folder)
    caplog.clear()
    summary = track(sequence, tmp_path, Sliding(), resume=True)
    assert (summary.frames, summary.run.frames_before) == (14, 0)
    (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "this saved state is not used" in said
    assert "\n" not in said


def test_a_video_that_now_has_another_size_is_another_run(sequence, tmp_path):
    images, folders = sequence.save(tmp_path)
    with pytest.raises(vos.TrackerError):
        track_from(images, folders / "00000.png", tracker=Sliding(fail_at=6), output=tmp_path / "out")
    before = masks(tmp_path / "out" / images.name)
    shutil.rmtree(images)
    larger = tiny_sequence("moving", length=14, size=(80, 112))
    larger.save(tmp_path / "other")[0].rename(images)
    again = {"tracker": Sliding(), "output": tmp_path / "out", "resume": True}
    with pytest.raises(OutputExistsError, match="holds a run with another set of masks, by its digest") as refused:
        track_from(images, larger.label_maps[0], **again)
    assert "\n" not in str(refused.value)
    with pytest.raises(vos.InputError, match="00000.png"):
        track_from(images, folders / "00000.png", **again)
    assert masks(tmp_path / "out" / images.name) == before


def test_a_link_in_place_of_the_states_folder_harms_nothing(sequence, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a.state").write_text("mine")
    folder = stop(sequence, tmp_path, 6)
    shutil.rmtree(folder / ".state")
    (folder / ".state").symlink_to(mine)
    track(sequence, tmp_path, Sliding(), resume=True)
    assert (mine / "a.state").read_text() == "mine"


def test_a_state_that_cannot_be_saved_is_a_warning(sequence, tmp_path, caplog):
    class Unable(Sliding):
        def save(self, path):
            raise ValueError("too\nmuch")

    assert track(sequence, tmp_path, Unable()).frames == 14
    assert caplog.text.count("cannot be saved") == 1


def test_another_output_of_a_finished_run_leaves_its_masks(sequence, tmp_path):
    track(sequence, tmp_path, Sliding())
    folder = tmp_path / sequence.info.name
    before = masks(folder)
    assert len(before) == 14
    track(sequence, tmp_path, Sliding(), writers=["tar"], resume="exact")
    assert masks(folder) == before
    assert (folder / "masks.tar").is_file()
    assert track(sequence, tmp_path, Sliding(), writers=["tar"], resume="exact").skipped
    track(sequence, tmp_path, Sliding(), writers=["tar"], overwrite=True)
    assert not masks(folder), "of the run that is replaced"


def test_another_output_of_a_stopped_run_takes_the_place_of_its_masks(sequence, tmp_path):
    folder = stop(sequence, tmp_path, 9)
    assert masks(folder)
    track(sequence, tmp_path, Sliding(), writers=["tar"], resume="exact")
    assert not masks(folder), "a part of the masks would pass for those of a finished run"


class RefusesToBegin:
    def open(self, run):
        raise OptionError("no such codec")

    def write(self, frame, label_map, prediction):
        pass

    def close(self):
        pass

    def abort(self, error):
        pass


class RefusesToStart:
    @hookimpl
    def vos_run_started(self, run):
        raise OptionError("not today")


def test_a_state_stays_where_an_observer_refuses_a_run(sequence, tmp_path):
    with pytest.raises(vos.TrackerError):
        track(sequence, tmp_path, Sliding(fail_at=9))
    with pytest.raises(OptionError, match="not today"):
        track(sequence, tmp_path, Sliding(), overwrite=True, observers=[RefusesToStart()])
    assert track(sequence, tmp_path, Sliding(), resume=True).run.frames_before == 8


@pytest.mark.parametrize("more", [{"resume": True}, {"overwrite": True}, {"from_frame": 6}])
def test_a_state_stays_where_a_writer_refuses_to_begin(sequence, tmp_path, more):
    with pytest.raises(vos.TrackerError):
        track(sequence, tmp_path, Sliding(fail_at=9))
    given = {0: sequence.label_maps[0]} | ({6: sequence.label_maps[6]} if "from_frame" in more else {})
    with pytest.raises(OptionError, match="no such codec"):
        track_from(sequence, given, tracker=Sliding(), output=tmp_path, writers=["davis", RefusesToBegin()], **more)
    assert track(sequence, tmp_path, Sliding(), resume=True).run.frames_before == 8


def test_outputs_of_all_frames_in_one_file_begin_anew(sequence, tmp_path):
    writers = ["davis", ("report", {"path": tmp_path / "r.csv"})]
    stop(sequence, tmp_path, 6, writers=writers)
    assert track(sequence, tmp_path, Sliding(), writers=writers, resume=True).run.frames_before == 0


def test_state_files_run_no_code_and_claim_no_more_than_they_hold(tmp_path):
    path = tmp_path / "state"
    write_state(path, {"a": np.asfortranarray(np.arange(6.0).reshape(2, 3))}, {"x": 0.1})
    arrays, facts = read_state(path)
    assert (arrays["a"].tolist(), facts) == ([[0, 1, 2], [3, 4, 5]], {"x": 0.1})
    content = path.read_bytes()
    with pytest.raises(ValueError, match="Object arrays"):
        write_state(path, {"a": np.array([object()])}, {})
    for harmed in (
        content.replace(b"(2, 3)", b"(2, 9)"),
        content.replace(b"<f8", b"|O8"),
        content[: len(content) // 2],
        b"",
    ):
        path.write_bytes(harmed)
        with pytest.raises(vos.InputError, match="cannot be read as a saved state"):
            read_state(path)


def test_propagation_goes_on_bit_for_bit_after_kill_9(tmp_path):
    """A process kills itself in the middle; this one goes on."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            import vos
            from vos.host.outputs import saved_states
            from vos.plugin import hookimpl
            from vos.testing import tiny_sequence

            saved_states.EVERY_FRAMES = 4

            class Kill:
                @hookimpl
                def vos_frame_done(self, frame):
                    if frame.index == 6:
                        os.kill(os.getpid(), signal.SIGKILL)

            sequence = tiny_sequence("vanishing", length=10)
            vos.track(sequence, sequence.label_maps[0], output=sys.argv[1], observers=[Kill()])
            """
        )
    )
    process = subprocess.run([sys.executable, str(script), str(tmp_path / "b")], check=False)
    assert process.returncode == -9
    sequence = tiny_sequence("vanishing", length=10)
    made = make_tracker("propagation", {}, vos.Runtime(), PLUGINS)
    for output in ("a", "b"):
        track(sequence, tmp_path / output, made, resume=True)
    assert resumed(tmp_path / "b" / sequence.name) == [{"frames_before": 4, "from": "state"}]
    assert masks(tmp_path / "a" / sequence.name) == masks(tmp_path / "b" / sequence.name)
