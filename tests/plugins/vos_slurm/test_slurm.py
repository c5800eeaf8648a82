"""The Slurm executor with submitit's local cluster: events by file, and a killed task's jobs again."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from vos.plugin import ExtraMissingError, Job, JobEvent, WorkerPlan
from vos_slurm.executor import ArrayTask, SlurmExecutor, read_events
from vos_slurm.options import SlurmOptions

WORKERS = Path(__file__).parents[1] / "vos_batch"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(WORKERS))
    monkeypatch.setenv("PYTHONPATH", str(WORKERS))
    return WorkerPlan("batch_workers:Worker", {"log": str(tmp_path / "log.txt")})


def make_jobs(**each):
    return [Job(name, {"name": name, **work}) for name, work in each.items()]


def test_every_job_is_done_and_a_killed_tasks_jobs_again(plan, tmp_path):
    options = SlurmOptions(workers=2, cluster="local", folder=tmp_path / "slurm", retries=2)
    jobs = make_jobs(a={"frames": 2}, b={"die_until": 1}, c={"bad_input": True}, d={})
    events = list(SlurmExecutor(options).run(plan, jobs))
    ends = {event.job_id: event for event in events if event.kind in ("done", "failed")}
    assert {name: event.kind for name, event in ends.items()} == {"a": "done", "b": "done", "c": "failed", "d": "done"}
    assert sum(event.kind in ("done", "failed") for event in events) == 4
    assert [event.kind for event in events].count("retried") == 1
    started = [line.split()[0] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert sorted(started) == ["a", "b", "b", "c", "d"], "a finished job of a killed task is not done again"


def test_a_preempted_task_is_queued_again_and_skips_what_is_done(plan, tmp_path):
    task = ArrayTask(plan, make_jobs(a={}, b={}), tmp_path / "events.jsonl", "task 0")
    done = JobEvent("a", "done", "task 0", result={"name": "a"})
    task.events.write_text(json.dumps(asdict(done)) + "\n")
    assert task.checkpoint().function is task
    task()
    assert [event.job_id for event in read_events(task.events)[0] if event.kind == "done"] == ["a", "b"]
    assert (tmp_path / "log.txt").read_text().split()[0] == "b"


def test_a_line_that_is_not_whole_yet_is_read_later(tmp_path):
    path = tmp_path / "events.jsonl"
    assert read_events(path) == ([], 0)
    line = json.dumps(asdict(JobEvent("a", "started")))
    path.write_text(line[:10])
    assert read_events(path) == ([], 0)
    path.write_text(line + "\n" + line[:5])
    events, offset = read_events(path)
    assert [event.kind for event in events] == ["started"]
    path.write_text(line + "\n" + line + "\n")
    assert [event.kind for event in read_events(path, offset)[0]] == ["started"]


def test_without_submitit_the_line_says_what_to_install(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(ExtraMissingError, match=r'pip install "vos-toolkit\[slurm\]"'):
        list(SlurmExecutor(SlurmOptions(folder=tmp_path / "slurm")).run(plan, make_jobs(a={})))
