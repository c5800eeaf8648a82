"""Progress of a task: lines for a log file, JSON for a program."""

from __future__ import annotations

import json

import pytest

import vos
from vos.host import progress
from vos.testing import StubTracker, tiny_sequence


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that progress sees, in its one element."""
    now = [0.0]
    monkeypatch.setattr(progress, "_clock", lambda: now[0])
    return now


def test_a_log_file_gets_a_line_every_half_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress("dog", 300) as shown:
        for done in range(1, 301):
            clock[0] = done / 5
            shown.update(done)
    assert capsys.readouterr().err.splitlines() == [
        "vos: dog: 150 of 300 frames in 30 s, 5.0 frames/s, 30 s left",
        "vos: dog: 300 of 300 frames in 1 min 0 s, 5.0 frames/s, finished",
    ]


def test_a_short_task_says_nothing_in_a_log_file(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress("dog", 3) as shown:
        for done in range(1, 4):
            clock[0] += 9
            shown.update(done)
    assert capsys.readouterr().err == ""


def test_slow_steps_and_an_early_end(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    def task() -> None:
        with progress.show_progress("batch", None, "job") as shown:
            clock[0] = 7500
            shown.update(2, "1 at work, 40 frames")
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        task()
    said = "vos: batch: 2 jobs in 2 h 5 min, 3750.0 s a job, 1 at work, 40 frames"
    assert capsys.readouterr().err.splitlines() == [said, f"{said}, stopped"]


def test_json_says_when_a_task_starts_where_it_is_and_how_it_ends(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.show_progress("dog", 4, form="json") as shown:
        for done in range(1, 5):
            clock[0] += 0.3
            shown.update(done)
    with pytest.raises(vos.VosError), progress.show_progress("cat", None, form="json"):
        raise vos.VosError("no cat")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["done"], line["total"], line["seconds"]) for line in lines[:4]] == [
        ("started", 0, 4, 0.0),
        ("progress", 2, 4, 0.6),
        ("progress", 4, 4, 1.2),
        ("finished", 4, 4, 1.2),
    ]
    assert (lines[-1]["event"], lines[-1]["task"], lines[-1]["error"]) == ("failed", "cat", "VosError: no cat")


def test_a_run_shows_its_frames(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    sequence = tiny_sequence(length=3)
    images = [frame.image for frame in sequence.frames()]
    vos.track(images, sequence.label_maps[0], tracker=StubTracker(), observers=[progress.RunProgress("json")])
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["started", "finished"]
    assert events[-1]["done"] == events[-1]["total"] == 3
