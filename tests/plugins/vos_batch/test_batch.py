"""`vos batch` as a user runs it: masks as of single runs, finished jobs skipped, failures listed, exit codes."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

import vos
from vos.cli import main
from vos.plugin import JobEvent, JobSummary, OutputError, Runtime, load_plugins, make_tracker, read_text, write_text
from vos.testing import tiny_sequence
from vos_batch import command
from vos_batch.batch import run_batch
from vos_batch.jobs import TrackJob


@pytest.fixture
def clips(tmp_path):
    rows = []
    for number in range(2):
        images, masks = tiny_sequence("crossing", length=4, object_ids=(1, 2 + number)).save(tmp_path / str(number))
        rows.append({"video": str(images), "masks": str(masks / "00000.png"), "sequence": f"s{number}"})
    return rows


def batch(tmp_path, rows, *arguments, plugins=()):
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(SystemExit) as stopped:
        main([*plugins, "batch", str(tmp_path / "jobs.jsonl"), "-o", str(tmp_path / "out"), "-j", "1", *arguments])
    return stopped.value.code


def test_masks_and_records_equal_those_of_single_runs_and_a_second_batch_skips(clips, tmp_path, capsys):
    small = ["-O", "side=96"]  # the working size; by default four times the frames'
    # As many as the tests have: with bfloat16, sums are rounded otherwise with another number of threads.
    small += ["-E", f"threads={torch.get_num_threads()}"]
    assert batch(tmp_path, clips, *small) == 0
    assert "2 of 2 jobs done; 8 frames" in capsys.readouterr().out
    for row in clips:
        single = {"output": tmp_path / "single", "sequence": row["sequence"], "options": {"side": 96}}
        vos.track(row["video"], row["masks"], **single)
        for path in sorted((tmp_path / "single" / row["sequence"]).glob("*.png")):
            batched = tmp_path / "out" / row["sequence"] / path.name
            assert np.array_equal(vos.read_label_map(path), vos.read_label_map(batched))
        single, batched = (
            json.loads((tmp_path / f / row["sequence"] / "run.json").read_text()) for f in ("single", "out")
        )
        assert [single[key] for key in ("tracker", "options", "threads")] == [
            batched[key] for key in ("tracker", "options", "threads")
        ]
    assert batch(tmp_path, clips, *small) == 0
    assert "2 of them finished before" in capsys.readouterr().out


def test_several_writers_all_write(clips, tmp_path):
    assert batch(tmp_path, clips[:1], "-O", "side=96", "--writer", "davis", "--writer", "report") == 0
    written = {path.suffix for path in (tmp_path / "out" / "s0").iterdir()}
    assert written == {".png", ".csv", ".json"}


def test_failures_are_listed_and_the_rest_is_done(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    rows = [clips[0], {"video": str(tmp_path / "no.mp4"), "masks": clips[0]["masks"]}]
    assert batch(tmp_path, rows, "-t", "still", plugins=["-p", "still_tracker"]) == 2
    told = capsys.readouterr()
    assert "1 of 2 jobs done, 1 failed" in told.out
    assert "no.mp4: no such file" in told.err
    summary = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert summary["failed"][str(tmp_path / "out" / "no")]["bad_input"] is True
    assert list(summary["done"]) == [str(tmp_path / "out" / "s0")]

    def full(*given):
        raise OutputError("no space")

    monkeypatch.setattr(command, "write_summary", full)
    assert batch(tmp_path, rows, "-t", "still", plugins=["-p", "still_tracker"]) == 1
    told = capsys.readouterr()
    assert "no.mp4: no such file" in told.err
    assert "no space" in told.err


def test_a_cut_video_is_taken_by_track_and_found_finished_by_the_batch(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    job, still = clips[0], {"plugins": ["-p", "still_tracker"]}
    frame = sorted(Path(job["video"]).iterdir())[2]
    frame.write_bytes(frame.read_bytes()[:200])
    assert batch(tmp_path, clips, "-t", "still", **still) == 2
    told = capsys.readouterr()
    assert "1 of 2 jobs done, 1 failed" in told.out
    assert "Use --stop 2 or --allow-truncated of `vos track` to take what is there." in told.err
    words = ["track", job["video"], "--mask", job["masks"], "--tracker", "still", "--sequence", job["sequence"]]
    with pytest.raises(SystemExit) as stopped:
        main([*still["plugins"], *words, "--allow-truncated", "--overwrite", "-o", str(tmp_path / "out")])
    assert not stopped.value.code
    assert batch(tmp_path, clips, "-t", "still", **still) == 0
    assert "2 of them finished before" in capsys.readouterr().out


def test_the_summary_is_written_where_the_reader_of_stderr_is_gone(tmp_path, monkeypatch):
    def gone(*arguments, **more):
        raise BrokenPipeError

    monkeypatch.setattr(command.click, "echo", gone)
    failed = {"out/a": JobEvent("out/a", "failed", message="no such file")}
    with pytest.raises(BrokenPipeError):
        command._finish(JobSummary(1, failed=failed), str(tmp_path / "batch.json"))
    assert list(json.loads((tmp_path / "batch.json").read_text())["failed"]) == ["out/a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-t", "propagatoin"], 'Did you mean "propagation"'),
        (["--executor", "lokal"], 'Did you mean "local"'),
        (["-E", "worker=2"], 'Did you mean "workers"'),
        (["-E", "workers=2"], "-j and -E workers= are both given"),
        (["-o", "https://example.org/out"], "https://example.org/out/batch.json: a web server takes no output"),
    ],
)
def test_typing_mistakes_end_the_batch_before_it_begins(arguments, message, clips, tmp_path, capsys):
    assert batch(tmp_path, clips, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_output_is_the_working_folder(clips, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert batch(tmp_path, clips, "-t", "still", "-o", "", plugins=["-p", "still_tracker"]) == 0
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"batch.json", "s0", "s1"}


def test_a_tracker_made_once_gives_the_masks_of_one_made_anew():
    plugins = load_plugins()
    kept = make_tracker("propagation", None, Runtime(device="cpu"), plugins)
    for kind in ("moving", "crossing"):
        sequence = tiny_sequence(kind)
        first = sequence.label_maps[0]
        anew = [m for _, m in vos.stream(sequence, first, runtime=Runtime(device="cpu"))]
        again = [m for _, m in vos.stream(sequence, first, tracker=kept, runtime=Runtime(device="cpu"))]
        assert all(np.array_equal(a, b) for a, b in zip(anew, again, strict=True))
    kept.close()


def test_the_summary_replaces_no_other_file(clips, tmp_path, capsys):
    notes = tmp_path / "notes.json"
    notes.write_text('{"jobs": 3}')
    assert batch(tmp_path, clips, "--summary", str(notes)) == 2
    assert "notes.json: is there already" in capsys.readouterr().err
    assert notes.read_text() == '{"jobs": 3}'
    assert batch(tmp_path, clips, "--summary", str(tmp_path), "--overwrite") == 2
    assert "is a folder, expected the name of a file" in capsys.readouterr().err
    assert batch(tmp_path, clips, "-o", str(notes)) == 2
    assert "notes.json: is a file, expected a folder." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_summary_replaces_no_input_no_output_of_a_job_and_no_file_that_is_no_text(clips, tmp_path, capsys):
    def refused(where, reason, *more):
        assert batch(tmp_path, clips, "--summary", str(where), *more) == 2
        assert reason in capsys.readouterr().err

    mask, frames = Path(clips[0]["masks"]), Path(clips[0]["video"])
    frame = min(frames.iterdir())
    held = {path: path.read_bytes() for path in (mask, frame)}
    for path in (mask, frame, tmp_path / "jobs.jsonl"):
        refused(path, "is an input, and no input is replaced", "--overwrite")
    for name in ("s0", "s0/run.json", "s1/00000.png"):
        refused(tmp_path / "out" / name, "go there. Choose another --summary", "--overwrite")
    (tmp_path / "clip.mp4").write_bytes(b"\xff\xfe\x00")
    refused(tmp_path / "clip.mp4", "clip.mp4: is there already")
    (tmp_path / "link.json").symlink_to("nowhere")
    refused(tmp_path / "link.json", "link.json: is there already")
    write_text("memory://kept/notes.json", "mine", overwrite=True)
    refused("memory://kept/notes.json", "notes.json: is there already")
    assert {path: path.read_bytes() for path in held} == held
    assert not (tmp_path / "out").exists()


class KillingExecutor:
    """Stands in for workers that are killed: each job leaves a record that says "running"."""

    def __init__(self, then):
        self.then = then

    def run(self, plan, jobs):
        for job in jobs:
            write_text(f"{job.job_id}/run.json", '{"state": "running", "finished": false}', overwrite=True)
            yield JobEvent(job.job_id, "started")
            yield from self.then(job)


def fail(job):
    yield JobEvent(job.job_id, "failed", message="its worker died 3 times (signal 9)")


def interrupt(job):
    raise KeyboardInterrupt
    yield


@pytest.mark.parametrize("output", ["disk", "memory://killed/out"])
@pytest.mark.parametrize(
    ("then", "state", "error"),
    [(fail, "failed", "VosError: its worker died 3 times (signal 9)"), (interrupt, "stopped", "KeyboardInterrupt")],
)
def test_a_killed_worker_leaves_no_record_that_says_running(tmp_path, output, then, state, error):
    output = str(tmp_path) if output == "disk" else output
    with pytest.raises(KeyboardInterrupt) if then is interrupt else nullcontext():
        run_batch(KillingExecutor(then), [TrackJob("a.mp4", None, output, "a")])
    record = json.loads(read_text(f"{output}/a/run.json"))
    assert record == {"state": state, "finished": False, "error": error}
