"""The Ray executor on this machine: every job once, and a killed actor's job again."""

import json
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import ray

import vos
from vos.cli import main
from vos.plugin import Job, VosError, WorkerPlan
from vos.testing import StubTracker, check_executor, tiny_sequence
from vos_ray.executor import RayExecutor
from vos_ray.options import RayOptions

WORKERS = Path(__file__).parents[1] / "vos_batch"


@pytest.fixture(autouse=True, scope="module")
def cluster():
    """Start Ray once: the executor joins one that runs."""
    environment = {"env_vars": {"PYTHONPATH": str(WORKERS), "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


def test_every_job_is_done_once_and_a_killed_actors_job_again(tmp_path):
    plan = WorkerPlan("batch_workers:Worker", {"log": str(tmp_path / "log.txt")})
    work = {"a": {"frames": 2}, "b": {"die_until": 1}, "c": {"bad_input": True}, "d": {"broken": True}}
    jobs = [Job(name, {"name": name, **data}) for name, data in work.items()]
    events = list(RayExecutor(RayOptions(workers=2, cpus=0.5)).run(plan, jobs))
    ends = {event.job_id: event for event in events if event.kind in ("done", "failed")}
    assert {name: event.kind for name, event in ends.items()} == {
        "a": "done",
        "b": "done",
        "c": "failed",
        "d": "failed",
    }
    assert ends["c"].bad_input
    assert not ends["d"].bad_input
    assert sum(event.kind in ("done", "failed") for event in events) == 4
    assert [event.job_id for event in events if event.kind == "retried"] == ["b"]
    started = [line.split()[0] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert sorted(started) == ["a", "b", "b", "c", "d"]


def test_more_actors_than_the_processors_allow_do_all_jobs(tmp_path):
    plan = WorkerPlan("batch_workers:Worker", {"log": str(tmp_path / "log.txt")})
    jobs = [Job(name, {"name": name}) for name in "abc"]

    def waited(number, frame):
        raise TimeoutError("a job waits for an actor that never has its processors")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(90)
    try:
        events = list(RayExecutor(RayOptions(workers=2, cpus=2)).run(plan, jobs))  # of two processors
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert sorted(event.job_id for event in events if event.kind == "done") == ["a", "b", "c"]


@pytest.mark.parametrize(("options", "message"), [({"cpus": 3}, "has 2 CPUs, .* takes 3"), ({"gpus": 0.5}, "0 GPUs")])
def test_an_actor_that_this_machine_cannot_hold_is_refused(options, message):
    with pytest.raises(VosError, match=message):
        RayExecutor(RayOptions(**options))._refuse_more_than({"CPU": 2.0})


def test_masks_equal_those_of_a_serial_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(WORKERS))
    plugins = vos.load_plugins(["still_tracker"])
    rows = []
    for number in range(2):
        images, masks = tiny_sequence("crossing", length=4, object_ids=(1, 2 + number)).save(tmp_path / str(number))
        rows.append({"video": str(images), "masks": str(masks / "00000.png"), "sequence": f"s{number}"})
        vos.track(
            images,
            masks / "00000.png",
            tracker="still",
            plugins=plugins,
            output=tmp_path / "serial",
            sequence=f"s{number}",
        )
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = f"-p still_tracker batch {tmp_path}/jobs.jsonl -t still --executor ray -j 2 -E cpus=0.5"
    with pytest.raises(SystemExit) as stopped:
        main([*arguments.split(), "-o", str(tmp_path / "ray")])
    assert stopped.value.code == 0
    for path in sorted((tmp_path / "serial").rglob("*.png")):
        other = tmp_path / "ray" / path.relative_to(tmp_path / "serial")
        assert np.array_equal(vos.read_label_map(path), vos.read_label_map(other))
    assert len(list((tmp_path / "ray").rglob("*.png"))) == 8


DYING = """
import os, signal
from pathlib import Path
from vos.plugin import WriterSpec, hookimpl
from vos_formats.folders import SavWriter
from vos_formats.options import FileOptions

KILLED = Path(__file__).with_name("killed")

class DyingWriter(SavWriter):
    def add(self, frame, label_map, prediction):
        super().add(frame, label_map, prediction)
        if frame.index == 1 and not KILLED.exists():
            KILLED.touch()
            os.kill(os.getpid(), signal.SIGKILL)

@hookimpl
def vos_writers():
    return [WriterSpec("dying", "Its process is killed once.", DyingWriter, FileOptions)]
"""


def test_exports_equal_those_of_a_serial_run_when_an_actor_is_killed(tmp_path):
    (tmp_path / "dying.py").write_text(DYING)
    for name in ("a", "b"):
        sequence = tiny_sequence("crossing", length=4)
        vos.track(sequence, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path / "out", sequence=name)
    for to, output, more in (("dying", "ray", "--executor ray -j 2 -E cpus=0.5"), ("sa-v", "serial", "")):
        with pytest.raises(SystemExit) as stopped:
            main(f"-p {tmp_path}/dying.py export {tmp_path}/out --to {to} -o {tmp_path}/{output} {more}".split())
        assert stopped.value.code == 0
    assert (tmp_path / "killed").exists()
    files = {
        name: {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.png")}
        for name in ("ray", "serial")
    }
    assert len(files["ray"]) == 16
    assert files["ray"] == files["serial"]


def test_the_executor_keeps_the_contract():
    assert len(check_executor("ray", options={"workers": 2, "cpus": 0.5, "retries": 1})) == 10


@pytest.mark.parametrize("options", [{"workers": 0}, {"gpus": -1.0}, {"cpus": float("nan")}])
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError, match="expected 1 or more|negative"):
        RayOptions(**options)


@pytest.mark.parametrize("option", [None, "", "auto"])
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch, scheme, option):
    """That of the option, or that of RAY_ADDRESS where the option is empty or "auto"."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", lambda **settings: pytest.fail("Ray tries for minutes"))
        if option is not None:
            monkeypatch.setenv("RAY_ADDRESS", address)
        options = RayOptions(address=address if option is None else option)
        with pytest.raises(VosError, match=f"Ray on {address} cannot be reached .*refused.*or -E address=local to"):
            next(RayExecutor(options).run(WorkerPlan("nowhere:Worker"), [Job("a", {})]))
