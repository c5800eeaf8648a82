import dataclasses
import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vos
from vos.errors import PluginFailedError, SourceError, TruncatedSourceError
from vos.plugin import (
    PALETTE,
    Annotation,
    OptionError,
    OutputError,
    OutputExistsError,
    TrackerSpec,
    hookimpl,
    limit_threads,
    load_plugins,
)
from vos.testing import StubTracker, TinySequence, tiny_sequence


@pytest.fixture
def sequence():
    return tiny_sequence("moving", length=6)


def masks_in(folder):
    return sorted(path.name for path in folder.glob("[!.]*.png"))


def written(path):
    """Inode and change time of a file: file systems reuse the inode of a removed file."""
    return path.stat().st_ino, path.stat().st_ctime_ns


def record(folder):
    return json.loads((folder / "run.json").read_text())


def track(source, output, /, **more):
    more.setdefault("tracker", StubTracker())
    more.setdefault("annotations", source.label_maps[0])
    return vos.track(source, output=output, **more)


def test_masks_are_davis_files_named_as_the_frames(sequence, tmp_path):
    summary = track(sequence, tmp_path)
    folder = tmp_path / sequence.name
    assert summary.run.output == folder
    assert (summary.frames, summary.object_ids, summary.skipped) == (6, (1, 2), False)
    assert masks_in(folder) == [f"0000{i}.png" for i in range(6)]
    for name in masks_in(folder):
        with Image.open(folder / name) as image:
            assert image.mode == "P"
            assert image.size == (64, 48)
            assert image.getpalette() == PALETTE.ravel().tolist()
            assert np.array_equal(np.asarray(image), sequence.label_maps[0])


def test_run_json_says_what_was_done(sequence, tmp_path):
    track(sequence, tmp_path, tracker="propagation", options={}, runtime=vos.Runtime(seed=3))
    told = record(tmp_path / sequence.name)
    assert told["finished"] is True
    assert told["state"] == "finished"
    assert told["tracker"] == "propagation"
    assert told["frames"] == 6
    assert told["object_ids"] == [1, 2]
    assert told["seed"] == 3
    assert told["versions"]["vos"] == vos.__version__
    assert set(told["milliseconds_per_frame"]) == {"mean", "median", "p95", "max"}


def test_run_json_has_the_number_of_threads_which_a_resumed_run_need_not_share(sequence, tmp_path):
    with limit_threads(3):
        track(sequence, tmp_path)
    assert record(tmp_path / sequence.name)["threads"] == 3
    with limit_threads(2):
        assert track(sequence, tmp_path, resume=True).skipped


def test_sequence_name_never_leads_out_of_the_output(sequence, tmp_path):
    for name in ["../../evil", "/etc/evil", "..", "a/b\\c", ".hidden", "\x00"]:
        summary = track(sequence, tmp_path / "out", sequence=name, overwrite=True)
        assert summary.run.output.parent == tmp_path / "out"
        assert summary.run.output.name.strip(".")


def test_nothing_of_an_earlier_run_is_replaced_unasked(sequence, tmp_path):
    track(sequence, tmp_path)
    with pytest.raises(OutputExistsError, match="holds a finished run of tracker .* --resume .* --overwrite"):
        track(sequence, tmp_path)
    track(sequence, tmp_path, overwrite=True)


def test_masks_of_unknown_origin_are_not_replaced_unasked(sequence, tmp_path):
    folder = tmp_path / sequence.name
    folder.mkdir()
    (folder / "mine.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="1 PNG files that no run of vos recorded"):
        track(sequence, tmp_path)
    with pytest.raises(OutputExistsError, match="1 PNG files that no run of vos recorded"):
        track(sequence, tmp_path, resume=True)
    track(sequence, tmp_path, overwrite=True)
    assert (folder / "mine.png").read_bytes() == b"mine"


def test_details_of_a_tracker_are_written_as_json(sequence, tmp_path):
    class Detailed(StubTracker):
        @property
        def details(self):
            return {"gain": float("nan"), "rates": [float("inf"), np.float32(0.5)], "side": 480}

    summary = track(sequence, tmp_path, tracker=Detailed())
    plain = {"gain": None, "rates": [None, "0.5"], "side": 480}
    text = (tmp_path / sequence.name / "run.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["details"] == summary.run.details == plain
    assert track(sequence, tmp_path, tracker=Detailed(), resume=True).skipped  # NaN differs from NaN


def test_numbers_of_numpy_are_recorded_as_numbers(sequence, tmp_path):
    two, label_map = np.int64(2), sequence.label_maps[0]
    settings = {"start": two - 1, "stop": two * 3, "step": np.int8(1), "max_side": np.int16(64), "ends": {two: two * 2}}
    arguments = {"tracker": StubTracker(), "output": tmp_path, "runtime": vos.Runtime(seed=two), **settings}
    annotations = [vos.Annotation(label_map, two - 1), vos.Annotation(label_map, two)]
    vos.track(sequence, annotations, **arguments)
    record = json.loads((tmp_path / sequence.name / "run.json").read_text())
    assert record["annotated"] == [1, 2]
    assert record["selection"] == {"start": 1, "stop": 6, "max_side": 64, "ends": {"2": 4}}
    assert record["seed"] == 2
    assert vos.track(sequence, annotations, **arguments, resume=True).skipped


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stop": 2.5}, "stop is 2.5, expected a whole number"),
        ({"start": "1"}, "start is '1', expected a whole number"),
        ({"ends": [1]}, r"ends is \[1\], expected frame indices by object id, such as {1: 40}"),
        ({"max_side": 64.5}, "max_side is 64.5, expected a whole number"),
        ({"ends": {"1": 3}}, "an object id of ends is '1', expected a whole number"),
        ({"ends": {1: 3.5}}, "a frame index of ends is 3.5, expected a whole number"),
    ],
)
def test_settings_that_are_no_whole_numbers_are_refused(sequence, settings, message):
    with pytest.raises(OptionError, match=message):
        vos.stream(sequence, sequence.label_maps[0], tracker=StubTracker(), **settings)


def test_resume_skips_a_finished_run(sequence, tmp_path):
    first = track(sequence, tmp_path)
    tracker = StubTracker()
    second = track(sequence, tmp_path, tracker=tracker, resume=True)
    assert second.skipped
    assert (second.frames, second.object_ids) == (first.frames, first.object_ids)
    assert tracker.calls == []


def test_resume_redoes_a_finished_run_whose_file_in_the_folder_is_gone(sequence, tmp_path):
    track(sequence, tmp_path, writers=["davis", "tar"], plugins=load_plugins())
    shards = tmp_path / sequence.name / "masks.tar"
    assert track(sequence, tmp_path, writers=["davis", "tar"], plugins=load_plugins(), resume=True).skipped
    shards.unlink()
    assert not track(sequence, tmp_path, writers=["davis", "tar"], plugins=load_plugins(), resume=True).skipped
    assert shards.is_file()


def test_resume_redoes_an_unfinished_run(sequence, tmp_path):
    folder = tmp_path / sequence.name
    with pytest.raises(vos.TrackerError):
        track(sequence, tmp_path, tracker=StubTracker(fail_at=3))
    assert record(folder)["state"] == "failed"
    assert masks_in(folder) == ["00000.png", "00001.png", "00002.png"]
    with pytest.raises(OutputExistsError, match="holds an unfinished run"):
        track(sequence, tmp_path)
    (folder / ".partial-00003.png").write_bytes(b"half")
    summary = track(sequence, tmp_path, resume=True)
    assert not summary.skipped
    assert len(masks_in(folder)) == 6
    assert not (folder / ".partial-00003.png").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"annotation": 1}, {"stop": 3}, {"max_side": 20}, {"both_ways": True}])
def test_resume_refuses_another_run(sequence, tmp_path, change):
    track(sequence, tmp_path)
    annotation = sequence.label_maps[change.pop("annotation", 0)]
    runtime = vos.Runtime(seed=change.pop("seed", 0))
    with pytest.raises(OutputExistsError, match="holds a run with another"):
        vos.track(sequence, annotation, tracker=StubTracker(), output=tmp_path, resume=True, runtime=runtime, **change)


def test_resume_refuses_a_finished_run_whose_masks_are_gone(sequence, tmp_path):
    track(sequence, tmp_path)
    (tmp_path / sequence.name / "00002.png").unlink()
    summary = track(sequence, tmp_path, resume=True)
    assert not summary.skipped
    assert len(masks_in(tmp_path / sequence.name)) == 6


@pytest.mark.parametrize(
    ("frames", "rewritten"),
    [({"start": 3}, [3, 4, 5]), ({"stop": 3}, [0, 1, 2]), ({"step": 2}, [0, 2, 4]), ({}, [0, 1, 2, 3, 4, 5])],
)
def test_overwrite_replaces_only_the_masks_that_the_run_writes(sequence, tmp_path, frames, rewritten):
    track(sequence, tmp_path)
    folder = tmp_path / sequence.name
    (folder / "notes.txt").write_text("mine")
    before = {path.name: written(path) for path in folder.glob("*.png")}
    annotations = Annotation(sequence.label_maps[rewritten[0]], rewritten[0])
    track(sequence, tmp_path, annotations=annotations, overwrite=True, **frames)
    after = {path.name: written(path) for path in folder.glob("*.png")}
    assert set(after) == set(before)
    assert [index for index in range(6) if after[f"0000{index}.png"] != before[f"0000{index}.png"]] == rewritten
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("recorded", [True, False])
def test_a_stopped_overwrite_leaves_no_mask_of_the_earlier_run_among_its_frames(sequence, tmp_path, recorded):
    """``--resume`` would take them for its own: masks of a run, or of another tool."""
    track(sequence, tmp_path)
    if not recorded:
        (tmp_path / sequence.name / "run.json").unlink()
    annotations, tracker = Annotation(sequence.label_maps[2], 2), StubTracker(fail_at=4)
    with pytest.raises(vos.TrackerError):
        track(sequence, tmp_path, overwrite=True, start=2, tracker=tracker, annotations=annotations)
    assert masks_in(tmp_path / sequence.name) == ["00000.png", "00001.png", "00002.png", "00003.png"]


@pytest.mark.parametrize("name", ["overlay", "report", "cutouts", "coco-rle", "matte-png", "yolo"])
def test_no_output_of_a_writer_is_replaced_unasked(sequence, tmp_path, name):
    """A file of anybody under the name that a writer would write, or in the folder."""
    suffix = {"overlay": ".mp4", "report": ".csv", "coco-rle": ".json"}.get(name, "")
    path = tmp_path / f"mine{suffix}"
    mine = path if suffix else path / "1" / "00000.png"
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    writers = ["davis", (name, {"path": path})]
    with pytest.raises(OutputExistsError, match=r"(is there|holds files) already\. Choose another .*, or --overwrite"):
        track(sequence, tmp_path / "out", writers=writers)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "out").exists()
    track(sequence, tmp_path / "out", writers=writers, overwrite=True)
    assert suffix == "" or mine.read_bytes() != b"mine"


def test_resume_replaces_its_own_outputs_and_no_others(sequence, tmp_path):
    table, other = tmp_path / "table.csv", tmp_path / "other.csv"
    track(sequence, tmp_path / "out", writers=["davis", ("report", {"path": table})])
    (tmp_path / "out" / sequence.name / "00001.png").unlink()
    table.write_text("old")
    assert not track(sequence, tmp_path / "out", writers=["davis", ("report", {"path": table})], resume=True).skipped
    assert table.read_text().startswith("frame")
    other.write_text("mine")
    with pytest.raises(OutputExistsError, match="other.csv: is there already"):
        track(sequence, tmp_path / "out", writers=["davis", ("report", {"path": other})], resume=True)
    assert other.read_text() == "mine"


def test_what_is_there_is_refused_before_the_tracker_is_made(sequence, tmp_path):
    track(sequence, tmp_path)
    made = []

    class Plugin:
        @hookimpl
        def vos_trackers(self):
            return [TrackerSpec("slow", "Slow to make.", lambda options, runtime: made.append(1) or StubTracker())]

    from vos.registry.offers import Origin

    plugins = vos.load_plugins()
    plugins.register(Plugin(), Origin("slow", "slow", "test"))
    with pytest.raises(OutputExistsError, match="holds a finished run"):
        vos.track(sequence, sequence.label_maps[0], tracker="slow", output=tmp_path, plugins=plugins)
    assert not made


def raises(folder):
    raise RuntimeError("odd")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (raises, "RuntimeError: odd"),
        (lambda folder: None, "TypeError"),
        (lambda folder: "x.csv", "gave 'x.csv', expecte"),
    ],
)
def test_a_writer_that_cannot_name_its_outputs_is_named(outputs, message, sequence, tmp_path):
    writer = Writer()
    writer.outputs = outputs
    with pytest.raises(PluginFailedError, match=f"writer Writer cannot name its outputs: .*{message}"):
        track(sequence, tmp_path, writers=[writer])
    assert writer.calls == []


def test_two_runs_do_not_write_one_folder(sequence, tmp_path):
    class Inner:
        @hookimpl
        def vos_frame_done(self, frame):
            if frame.index == 1:
                with pytest.raises(vos.InputError, match="another run is writing to this folder"):
                    track(sequence, tmp_path, overwrite=True)

    track(sequence, tmp_path, observers=[Inner()])
    assert len(masks_in(tmp_path / sequence.name)) == 6


class Writer:
    def __init__(self, fail_at=None, error=None, where="write"):
        self.fail_at, self.error, self.where, self.calls = fail_at, error, where, []

    def open(self, run):
        self._say("open", None)

    def write(self, frame, label_map, prediction):
        self._say("write", frame.index)

    def close(self):
        self._say("close", None)

    def abort(self, error):
        self.calls.append(("abort", type(error).__name__))

    def _say(self, method, index):
        if self.where == method and index == self.fail_at and self.error:
            raise self.error
        self.calls.append((method, index))


def test_writers_get_every_frame_in_order(sequence, tmp_path):
    writer = Writer()
    track(sequence, tmp_path, writers=[writer, "davis"])
    assert writer.calls == [("open", None), *(("write", i) for i in range(6)), ("close", None)]


def test_full_disk_stops_the_run_once_with_the_frame_and_leaves_whole_files(sequence, tmp_path):
    full = Writer(fail_at=3, error=OSError(errno.ENOSPC, "No space left on device"))
    other = Writer()
    with pytest.raises(vos.WriterError, match=r"Writer failed on frame 00003 \(index 3\): OSError: .*No space left"):
        track(sequence, tmp_path, writers=["davis", full, other])
    assert full.calls[-1] == ("abort", "WriterError")
    assert other.calls[-1] == ("abort", "WriterError")
    folder = tmp_path / sequence.name
    assert record(folder)["state"] == "failed"
    assert "No space left" in record(folder)["error"]
    for name in masks_in(folder):
        assert vos.read_label_map(folder / name).shape == (48, 64)
    assert not list(folder.glob(".partial-*"))


@pytest.mark.parametrize("where", ["open", "close"])
def test_writer_that_cannot_begin_or_finish_is_named(sequence, tmp_path, where):
    word = {"open": "cannot begin", "close": "cannot finish"}[where]
    with pytest.raises(vos.WriterError, match=f"Writer {word}: RuntimeError: boom"):
        track(sequence, tmp_path, writers=[Writer(error=RuntimeError("boom"), where=where)])


class Damaged(TinySequence):
    """None of its frames can be read."""

    def frames(self, indices=None):
        raise TruncatedSourceError("frame 0 of 6 cannot be read", frames_read=0, frames_declared=6)


@pytest.mark.parametrize("allow_truncated", [False, True])
def test_a_source_without_a_frame_to_track_leaves_nothing_behind(sequence, tmp_path, caplog, allow_truncated):
    damaged = Damaged(sequence.name, sequence.images, sequence.label_maps, sequence.annotations)
    with pytest.raises(SourceError, match="can be read" if allow_truncated else "Use --allow"):
        track(damaged, tmp_path / "out", allow_truncated=allow_truncated)
    assert not (tmp_path / "out").exists()
    assert "ends at frame" not in caplog.text  # there is none
    track(sequence, tmp_path / "out")
    with pytest.raises(SourceError):
        track(damaged, tmp_path / "out", allow_truncated=allow_truncated, overwrite=True)
    assert json.loads((tmp_path / "out" / sequence.name / "run.json").read_text())["state"] == "failed"


class RefusesToStart:
    @hookimpl
    def vos_run_started(self, run):
        raise OptionError("not today")


def test_an_observer_that_refuses_a_run_leaves_the_record_of_an_earlier_one(sequence, tmp_path):
    track(sequence, tmp_path)
    with pytest.raises(OptionError, match="not today"):
        track(sequence, tmp_path, overwrite=True, observers=[RefusesToStart()])
    assert (tmp_path / sequence.name / "run.json").exists()


def test_failing_tracker_aborts_writers_after_what_was_tracked(sequence, tmp_path):
    writer = Writer()
    with pytest.raises(vos.TrackerError):
        track(sequence, tmp_path, writers=[writer], tracker=StubTracker(fail_at=4))
    assert writer.calls == [("open", None), *(("write", i) for i in range(4)), ("abort", "TrackerError")]


def test_unwritable_output_is_said(sequence, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(vos.InputError, match="cannot be used as the output folder"):
        track(sequence, blocker)


def test_named_tracker_is_closed_and_a_given_one_is_not(sequence, tmp_path):
    from vos.registry.offers import Origin

    made = []

    class Plugin:
        @hookimpl
        def vos_trackers(self):
            return [TrackerSpec("stub", "", lambda options, runtime: made.append(StubTracker()) or made[-1])]

    plugins = vos.load_plugins()
    plugins.register(Plugin(), Origin("p", "p", "tests"))
    track(sequence, tmp_path, tracker="stub", plugins=plugins)
    assert made[0].calls[-1] == ("close", None)
    given = StubTracker()
    track(sequence, tmp_path / "2", tracker=given)
    assert ("close", None) not in given.calls
    with pytest.raises(OptionError, match="has no options, so nothing can follow"):
        track(sequence, tmp_path / "3", tracker="stub:text", plugins=plugins)


def test_unknown_tracker_writer_and_option(sequence, tmp_path):
    with pytest.raises(vos.PluginError, match='no tracker named "persm"'):
        track(sequence, tmp_path, tracker="persm")
    with pytest.raises(vos.PluginError, match='no writer named "dawis". .*Did you mean "davis"'):
        track(sequence, tmp_path, writers=["dawis"])
    with pytest.raises(OptionError, match='tracker "propagation" has no option "no_such_option"'):
        track(sequence, tmp_path, tracker="propagation", options={"no_such_option": 1})
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_whole_masks_and_a_run_that_can_be_resumed(number, tmp_path):
    sequence = tiny_sequence("moving", length=200)
    images, masks = sequence.save(tmp_path / "in")
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from vos.plugin import TrackerSpec, hookimpl
            from vos.cli import main
            from vos.testing import StubTracker

            class Slow(StubTracker):
                def step(self, frame):
                    time.sleep(0.05)
                    return super().step(frame)

            @hookimpl
            def vos_trackers():
                return [TrackerSpec("slow", "Slow.", lambda options, runtime: Slow())]

            if __name__ == "__main__":
                main(sys.argv[1:])
            """
        )
    )
    command = [
        sys.executable, str(script), "-p", "run", "track", str(images), "--mask", str(masks / "00000.png"),
        "-t", "slow", "-o", str(tmp_path / "out"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    # Where the tests run in the background, Ctrl-C is ignored, and so it would be in what they start.
    heard = partial(signal.signal, number, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heard)
    folder = tmp_path / "out" / "frames"
    deadline = time.monotonic() + 60
    while len(masks_in(folder)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in said
    assert "Traceback" not in said
    assert record(folder)["state"] == "stopped"
    written = masks_in(folder)
    assert 3 <= len(written) < 200
    assert all(np.array_equal(vos.read_label_map(folder / name), sequence.label_maps[0]) for name in written)
    assert not list(folder.glob(".partial-*"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads RSS from /proc")
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    """1,100 generated frames through loop and writers, in a process of its own: RSS after 300 and at the end."""
    code = """
import os, sys, numpy as np, vos
from vos.plugin import SourceInfo, hookimpl
from vos.testing import StubTracker

class Frames:
    info = SourceInfo("generated", "generated", "generated", frame_count=1100, size=(120, 160))
    def frames(self, indices=None):
        for i in indices:
            yield vos.Frame(i, np.full((120, 160, 3), i % 251, np.uint8), f"{i:05d}")
    def close(self): pass

def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

class Watch:
    @hookimpl
    def vos_frame_done(self, run, frame):
        if frame.index in (300, 1099):
            seen.append(rss())

seen = []
label_map = np.zeros((120, 160), np.uint8); label_map[50:90, 50:90] = 1
vos.track(Frames(), label_map, tracker=StubTracker(), output=sys.argv[1], observers=[Watch()])
print(*seen)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    early, late = map(float, done.stdout.split())
    assert late - early < 4.3, f"RSS grew from {early:.1f} to {late:.1f} MiB over 800 frames"
    assert len(masks_in(tmp_path / "generated")) == 1100


@pytest.mark.parametrize(
    ("writers", "error"),
    [
        (["davis", "nosuch"], vos.PluginError),
        (["davis", ("overlay", {"opacity": "7"})], OptionError),
        (["davis", ("overlay", {"path": "a-folder"})], OptionError),
        (["davis", ("coco-rle", {"path": "a-folder"})], OptionError),
        (["davis", ("report", {"path": "a-folder"})], OptionError),
        (["davis", ("cutouts", {"path": "a-file"})], vos.InputError),
        (["davis", Writer(error=RuntimeError("boom"), where="open")], vos.WriterError),
    ],
)
def test_overwrite_keeps_the_earlier_run_where_the_new_one_cannot_begin(
    sequence, tmp_path, monkeypatch, writers, error
):
    monkeypatch.chdir(tmp_path)
    Path("a-folder").mkdir()
    Path("a-file").touch()
    track(sequence, tmp_path)
    folder = tmp_path / sequence.name
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(error):
        track(sequence, tmp_path, writers=writers, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file", "a-folder", sequence.name]


def test_resume_makes_an_output_that_the_finished_run_did_not(sequence, tmp_path):
    track(sequence, tmp_path, resume=True)
    report = ("report", {"path": str(tmp_path / "r.csv")})
    assert not track(sequence, tmp_path, writers=["davis", report], resume=True).skipped
    assert (tmp_path / "r.csv").read_text().startswith("frame_index")
    assert track(sequence, tmp_path, writers=["davis", report], resume=True).skipped
    assert track(sequence, tmp_path, resume=True).skipped
    (tmp_path / "r.csv").unlink()
    assert not track(sequence, tmp_path, writers=["davis", report], resume=True).skipped
    assert (tmp_path / "r.csv").exists()


def test_frames_whose_masks_would_have_one_name_are_refused(tmp_path):
    images = tmp_path / "in"
    images.mkdir()
    for name in ("a:b", "a_b"):
        Image.new("RGB", (8, 6)).save(images / f"{name}.png")
    with pytest.raises(vos.SourceError, match='frames "a:b" and "a_b" would both be written as "a_b"'):
        vos.track(images, np.ones((6, 8), np.uint8), tracker=StubTracker(), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_observer_that_fails_too_does_not_hide_what_stopped_the_run(sequence, tmp_path, caplog):
    class Full:
        @hookimpl
        def vos_run_failed(self, run, error):
            raise OutputError("no space for this either")

    with pytest.raises(vos.TrackerError, match="set to fail"):
        track(sequence, tmp_path, tracker=StubTracker(fail_at=2), observers=[Full()])
    assert "no space for this either" in caplog.text


def test_runs_at_once_with_the_same_plugins_are_told_apart(sequence, tmp_path):
    plugins = load_plugins()

    class Outer:
        told = ()

        @hookimpl
        def vos_frame_done(self, run, frame):
            self.told += (run.sequence,)
            if frame.index == 2:
                track(sequence, tmp_path, sequence="inner", plugins=plugins)

    outer = Outer()
    track(sequence, tmp_path, sequence="outer", plugins=plugins, observers=[outer])
    assert outer.told == ("outer",) * 6
    assert record(tmp_path / "outer")["frames"] == record(tmp_path / "inner")["frames"] == 6


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("vos_frame_done", lambda self, frame: None, "observer Guest: vos_frame_done is not marked as a hook"),
        ("vos_frame_don", hookimpl(lambda self, frame: None), 'unknown hook "vos_frame_don". Did you mean'),
        ("vos_frame_done", hookimpl(lambda self, image: None), "Argument.*image"),
        ("frame_done", lambda self, frame: None, "observer Guest: it has no hook"),
        ("vos_trackers", hookimpl(lambda self: []), "observer Guest: of an observer only .* it has vos_trackers. Load"),
    ],
)
def test_an_observer_whose_hooks_do_not_fit_is_refused(name, function, message, sequence, tmp_path):
    observer = type("Guest", (), {name: function})()
    with pytest.raises(vos.PluginError, match=message) as caught:
        track(sequence, tmp_path / "out", observers=[observer])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_no_property_of_an_observer_is_computed(sequence, tmp_path):
    class Observer:
        frames = 0

        @property
        def summary(self):
            raise RuntimeError("the run has not ended")

        @hookimpl
        def vos_frame_done(self, frame):
            self.frames += 1

    observer = Observer()
    track(sequence, tmp_path, observers=[observer])
    assert observer.frames == 6


def test_one_writer_may_be_named_without_a_list(sequence, tmp_path):
    track(sequence, tmp_path, writers="davis")
    assert len(masks_in(tmp_path / sequence.name)) == 6


@pytest.mark.parametrize(
    ("writers", "message"),
    [
        ({"tar": {}}, "writers is a dict, expected a name or a list"),
        (None, "writers is a NoneType, expected a name or a list"),
        (("tar", {"every": 2}), "writers holds {'every': 2}, expected a name, a pair"),
        ([["tar", {}]], r"writers holds \['tar', {}\], expected"),
        ([("tar", None)], r"writers holds \('tar', None\), expected"),
        ([StubTracker], "writers holds <class .*StubTracker'>, expected"),
    ],
)
def test_writers_of_another_form_are_refused(writers, message, sequence, tmp_path):
    with pytest.raises(OptionError, match=message):
        track(sequence, tmp_path / "out", writers=writers)
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_too_long_for_a_folder_is_said(sequence, tmp_path):
    with pytest.raises(vos.InputError, match="cannot be used as the output folder .*too long"):
        track(sequence, tmp_path, sequence="x" * 300)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        *itertools.product(("open", "write", "close"), (GeneratorExit, SystemExit, BaseException)),
        ("write", KeyboardInterrupt),  # elsewhere it is the user's: writers write in a thread of their own
    ],
)
def test_a_writer_that_raises_anything_is_named_and_all_are_aborted(where, error, sequence, tmp_path):
    first, bad = Writer(), Writer(2 if where == "write" else None, error(), where)
    with pytest.raises(vos.WriterError, match=error.__name__):
        track(sequence, tmp_path, writers=["davis", first, bad])
    assert not list(tmp_path.rglob(".partial-*"))
    assert first.calls[-1][0] == ("close" if where == "close" else "abort")
    if where != "open":
        assert record(tmp_path / sequence.name)["state"] == "failed"


@pytest.mark.parametrize("error", [GeneratorExit, SystemExit, BaseException])
@pytest.mark.parametrize("hook", ["vos_run_started", "vos_frame_done", "vos_run_finished", "vos_run_failed"])
def test_a_hook_that_raises_anything_is_one_line(hook, error, sequence, tmp_path, caplog):
    def fail(self, run):
        raise error

    observer = type("Guest", (), {hook: hookimpl(fail)})()
    tracker = StubTracker()
    if hook == "vos_run_failed":
        tracker.step = lambda frame: 1 / 0
    with pytest.raises(vos.VosError, match="division" if hook == "vos_run_failed" else error.__name__) as caught:
        track(sequence, tmp_path, tracker=tracker, observers=[observer])
    assert "\n" not in str(caught.value)
    assert record(tmp_path / sequence.name)["state"] == "failed"


@pytest.mark.parametrize("error", [GeneratorExit, SystemExit, BaseException, KeyboardInterrupt])
def test_a_source_that_raises_anything_is_one_line(error, sequence, tmp_path):
    class Source(type(sequence)):
        def frames(self, indices=None):
            yield sequence.frame(0)
            raise error

    source = Source(**{field.name: getattr(sequence, field.name) for field in dataclasses.fields(sequence)})
    with pytest.raises(vos.VosError, match=error.__name__) as caught:
        track(source, tmp_path)
    assert "\n" not in str(caught.value)
    assert record(tmp_path / sequence.name)["state"] == "failed"
