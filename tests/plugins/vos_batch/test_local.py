"""The local executor: every job once, dead workers replaced, nothing left behind."""

import multiprocessing
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from vos.plugin import VosError, WorkerPlan
from vos_batch import local
from vos_batch.local import LocalExecutor, worker_environments
from vos_batch.options import LocalOptions


def run(plan, jobs, **options):
    events = list(LocalExecutor(LocalOptions(**options)).run(plan, jobs))
    assert not multiprocessing.active_children()
    return events


def ends(events):
    return {event.job_id: event for event in events if event.kind in ("done", "failed")}


def test_each_job_is_done_once_and_a_worker_is_kept(plan, jobs, started, tmp_path):
    events = run(plan, jobs(a={"frames": 2}, b={}, c={}, d={}), workers=2)
    assert sorted(started()) == ["a", "b", "c", "d"]
    assert {job_id: event.result["name"] for job_id, event in ends(events).items()} == {n: n for n in "abcd"}
    assert [e.frame for e in events if e.job_id == "a" and e.kind == "frame"] == [1, 2]
    made = {line.split()[1] for line in (tmp_path / "log.txt").read_text().splitlines()}
    assert len(made) <= 2, "a worker is made once in each process"


def test_failures_do_not_stop_the_others_and_say_whose_fault_it_is(plan, jobs):
    events = ends(run(plan, jobs(a={"bad_input": True}, b={"failing": True}, c={"broken": True}, d={}), workers=1))
    assert [(events[n].kind, events[n].bad_input) for n in "abcd"] == [
        ("failed", True), ("failed", False), ("failed", False), ("done", False),
    ]  # fmt: skip
    assert events["a"].message == "no such video"
    assert events["c"].message == "unexpected ZeroDivisionError: division by zero"


class Pipe:
    """The worker's end of a pipe with some jobs."""

    def __init__(self, jobs):
        self.jobs, self.sent = list(jobs), []
        self.send = self.sent.append

    def recv(self):
        if not self.jobs:
            raise EOFError
        return self.jobs.pop(0)


def test_a_signal_that_comes_as_a_job_ends_is_no_traceback(plan, jobs, monkeypatch):
    @contextmanager
    def ending_late():
        yield
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "ending_cleanly", ending_late)
    monkeypatch.setattr(local.signal, "signal", lambda number, handler: None)
    pipe = Pipe(jobs(a={}, b={}))
    try:
        local._work(plan, "process 1", {"OMP_NUM_THREADS": "1"}, pipe)
    except KeyboardInterrupt:
        pytest.fail("the worker's traceback would be shown")
    assert [(event.job_id, event.kind) for event in pipe.sent] == [("a", "started"), ("a", "done")], "it ends"


def test_a_job_of_a_killed_worker_is_tried_again(plan, jobs, started):
    events = run(plan, jobs(a={"die_until": 2}, b={}), workers=1, retries=2)
    kinds = [event.kind for event in events if event.job_id == "a"]
    assert kinds == ["started", "retried", "started", "retried", "started", "done"]
    assert started().count("b") == 1
    assert "signal 9" in next(e.message for e in events if e.kind == "retried")


def test_a_job_that_kills_every_worker_fails_and_the_others_go_on(plan, jobs):
    events = ends(run(plan, jobs(a={"die_until": 9}, b={}), workers=1, retries=1))
    assert events["a"].kind == "failed"
    assert "its worker died 2 times" in events["a"].message
    assert events["b"].kind == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_workers_that_all_die_before_their_first_job_stop_the_batch(plan, jobs, monkeypatch):
    began = []

    def start(plan, name, environment):
        began.append(name)
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=os._exit, args=(3,))
        process.start()
        theirs.close()
        return local._Process(name, process, ours, environment)

    monkeypatch.setattr(local, "_start", start)
    with pytest.raises(VosError, match=r"4 workers in a row ended before their first job \(exit code 3\)"):
        run(plan, jobs(a={}, b={}, c={}), workers=1, retries=9)
    assert len(began) == 4


def test_closing_early_leaves_no_process(plan, jobs):
    events = LocalExecutor(LocalOptions(workers=2)).run(plan, jobs(a={"hang": True}, b={"hang": True}))
    assert next(events).kind == "started"
    events.close()
    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_workers_end_with_their_parent_even_when_it_is_killed(plan, tmp_path):
    code = f"""
from vos.plugin import Job, WorkerPlan
from vos_batch.local import LocalExecutor
from vos_batch.options import LocalOptions
if __name__ == "__main__":
    plan = WorkerPlan({plan.factory!r}, {dict(plan.arguments)!r})
    job = Job("a", {{"name": "a", "frames": 1, "hang": True}})
    for event in LocalExecutor(LocalOptions(workers=1)).run(plan, [job]):
        print(event.kind, flush=True)
"""
    (tmp_path / "parent.py").write_text(code)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True)
    assert [parent.stdout.readline() for _ in range(2)] == ["started\n", "frame\n"]
    worker = int((tmp_path / "log.txt").read_text().split()[2])
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize(
    ("given", "threads"), [("1", "1"), ("3,1", "3"), ("4", "4"), ("16", "4"), ("0", "4"), ("", "4"), ("all", "4")]
)
def test_a_worker_keeps_to_a_smaller_omp_num_threads(given, threads, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert [e["OMP_NUM_THREADS"] for e in worker_environments(LocalOptions(workers=2), 2)] == [threads] * 2
    assert [e["OMP_NUM_THREADS"] for e in worker_environments(LocalOptions(workers=2, threads=6), 2)] == ["6"] * 2


def test_cores_are_shared_out_and_each_gpu_has_a_worker(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [e["OMP_NUM_THREADS"] for e in worker_environments(LocalOptions(), 100)] == ["2"] * 4
    assert [e["OMP_NUM_THREADS"] for e in worker_environments(LocalOptions(workers=2), 100)] == ["4"] * 2
    assert len(worker_environments(LocalOptions(), 1)) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [e["CUDA_VISIBLE_DEVICES"] for e in worker_environments(LocalOptions(), 100)] == ["3", "5"]


def test_a_worker_that_cannot_be_made_is_an_error_and_not_a_loop(tmp_path, jobs, plan):
    events = ends(run(WorkerPlan("batch_workers:unmakeable", {"log": ""}), jobs(a={}), workers=1, retries=1))
    assert events["a"].kind == "failed"
