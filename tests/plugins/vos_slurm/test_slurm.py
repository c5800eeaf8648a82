"""The Slurm executor with submitit's local cluster: events by file, and a killed task's jobs again."""

import json
import os
import pickle
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from vos.plugin import ExtraMissingError, Job, JobEvent, OutputError, TrackerError, WorkerPlan
from vos_slurm import executor
from vos_slurm.executor import ArrayTask, SlurmExecutor, read_events
from vos_slurm.options import SlurmOptions

WORKERS = Path(__file__).parents[1] / "vos_batch"


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a task in this process sets it


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


def test_a_worker_has_as_many_threads_as_its_task_has_cores(plan, tmp_path, tasks_in_this_process, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen = []
    monkeypatch.setattr(WorkerPlan, "make", lambda self: seen.append(os.environ["OMP_NUM_THREADS"]) or sys.exit())
    options = SlurmOptions(workers=1, cpus=3, retries=0, folder=tmp_path / "slurm")
    list(SlurmExecutor(options).run(plan, make_jobs(a={})))
    assert seen == ["3"]


class Submitter:
    """Stands in for submitit: runs a task in this process at once; one that kills its process ends with an error."""

    class Handle:
        def __init__(self, task):
            self.error = None
            try:
                task()
            except SystemExit as error:
                self.error = error

        def done(self):
            return True

        def exception(self):
            return self.error

    batch = staticmethod(nullcontext)
    submit = Handle


@pytest.fixture
def tasks_in_this_process(monkeypatch):
    monkeypatch.setattr(executor, "POLL_SECONDS", 0)
    monkeypatch.setattr(SlurmExecutor, "_submitter", lambda self, folder: Submitter)
    monkeypatch.setattr(os, "kill", lambda pid, number: sys.exit("out of memory"))


def test_a_job_that_kills_every_task_fails_and_the_others_of_its_task_go_on(plan, tmp_path, tasks_in_this_process):
    options = SlurmOptions(workers=1, folder=tmp_path / "slurm", retries=2)
    jobs = make_jobs(a={"die_until": 9}, b={}, c={"die_until": 1}, d={})
    events = list(SlurmExecutor(options).run(plan, jobs))
    ends = {event.job_id: event for event in events if event.kind in ("done", "failed")}
    assert {name: event.kind for name, event in ends.items()} == {"a": "failed", "b": "done", "c": "done", "d": "done"}
    assert ends["a"].message == "its task died 3 times: out of memory"
    assert [event.job_id for event in events if event.kind == "retried"] == ["a", "c", "a"]
    started = [line.split()[0] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert "".join(started) == "abcdaca", "a job waits behind the others after it killed its task"


def test_tasks_that_die_before_they_begin_a_job_are_given_up(plan, tmp_path, tasks_in_this_process, monkeypatch):
    monkeypatch.setattr(WorkerPlan, "make", lambda self: sys.exit("no such module"))
    options = SlurmOptions(workers=1, folder=tmp_path / "slurm", retries=1)
    events = list(SlurmExecutor(options).run(plan, make_jobs(a={}, b={})))
    assert [(event.job_id, event.kind) for event in events] == [("a", "retried"), ("a", "failed"), ("b", "failed")]
    assert events[-1].message == "its task died 2 times before it began a job: no such module"


def test_the_reason_is_what_the_task_said_and_not_where_its_logs_are(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # a node that lacks the worker's module
    options = SlurmOptions(workers=1, cluster="local", folder=tmp_path / "slurm", retries=0)
    (failed,) = SlurmExecutor(options).run(plan, make_jobs(a={}))
    said = "ModuleNotFoundError: No module named 'batch_workers'"
    assert failed.message == f"its task died 1 times before it began a job: {said}"


@pytest.mark.parametrize(
    ("quoted", "reason"),
    [
        ("Error stream produced:\n----------\nstarting\nslurmstepd: oom-kill event\n", "slurmstepd: oom-kill event"),
        ("No error stream produced. Look at stdout: a.out\n----------\nsubmitit INFO - Loading\n", "No error stream"),
        ("No output/error stream produced ! Check: a.out", "No output/error stream produced ! Check: a.out"),
    ],
)
def test_the_reason_of_a_task_that_was_killed(quoted, reason):
    error = RuntimeError(f"Job 1_0 (task: 0) with path a.pkl\nhas not produced any output (state: FAILED)\n{quoted}")
    assert executor._reason(SimpleNamespace(exception=lambda: error)).startswith(reason)


def test_a_preempted_task_is_queued_again_and_skips_what_is_done(plan, tmp_path):
    task = ArrayTask(plan, make_jobs(a={}, b={}), tmp_path / "events.jsonl", "task 0", 1)
    done = JobEvent("a", "done", "task 0", result={"name": "a"})
    task.events.write_text(json.dumps(asdict(done)) + "\n")
    assert task.checkpoint().function is task
    task()
    assert [event.job_id for event in read_events(task.events)[0] if event.kind == "done"] == ["a", "b"]
    assert (tmp_path / "log.txt").read_text().split()[0] == "b"


def test_the_job_that_an_interrupted_task_was_doing_is_left_to_the_task_that_slurm_queues_again(
    plan, tmp_path, monkeypatch
):
    task = ArrayTask(plan, make_jobs(a={}, b={}, c={}), tmp_path / "events.jsonl", "task 0", 1)
    interruptions = ["b"]

    def work(given, report):
        if given["name"] in interruptions:
            interruptions.remove(given["name"])
            task.checkpoint()
            raise TrackerError("tracker failed: SystemExit: -1")  # the exit of submitit's signal handler, as told
        return {}

    monkeypatch.setattr(WorkerPlan, "make", lambda self: work)
    with pytest.raises(SystemExit):
        task()
    ended = [(event.job_id, event.kind) for event in read_events(task.events)[0] if event.kind != "started"]
    assert ended == [("a", "done")]
    pickle.loads(pickle.dumps(task))()
    assert [event.job_id for event in read_events(task.events)[0] if event.kind == "done"] == ["a", "b", "c"]


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


def test_a_folder_that_cannot_be_made_is_said(plan, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/.*: cannot be written \(Not a directory\)"):
        list(SlurmExecutor(SlurmOptions(folder=tmp_path / "file")).run(plan, make_jobs(a={})))


@pytest.mark.parametrize("memory", [0.0, -1.0, float("nan"), float("inf")])
def test_a_memory_that_no_task_has_is_refused(memory):
    with pytest.raises(ValueError, match="memory_gb is .*, expected more than 0"):
        SlurmOptions(memory_gb=memory)


def test_without_submitit_the_line_says_what_to_install(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(ExtraMissingError, match=r'pip install "vos-toolkit\[slurm\]"'):
        list(SlurmExecutor(SlurmOptions(folder=tmp_path / "slurm")).run(plan, make_jobs(a={})))
