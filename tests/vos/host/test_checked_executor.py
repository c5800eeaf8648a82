"""Executors that misbehave: the message names them, and no job is lost without a word."""

import sys
from types import SimpleNamespace

import pytest

import vos
from vos.errors import PluginFailedError
from vos.host.jobs.executor_making import make_executor
from vos.host.jobs.running import run_jobs
from vos.plugin import ExecutorSpec, Job, JobEvent, WorkerPlan, hookimpl
from vos.registry.offers import Origin

JOBS = [Job("a", {}), Job("b", {})]
PLAN = WorkerPlan("nowhere:Worker")


def nothing(plan, jobs):
    yield JobEvent("a", "started")
    yield JobEvent("a", "done", result={"x": 1})


def plain_iterator(plan, jobs):
    return iter([JobEvent(job.job_id, "done", result={}) for job in jobs])


def raises(plan, jobs):
    yield JobEvent("a", "started")
    raise RuntimeError("broken pipe")


def exits(plan, jobs):
    sys.exit(0)
    yield


def gives_numbers(plan, jobs):
    yield 5


def gives_unknown_kind(plan, jobs):
    yield JobEvent("a", "finished")


def gives_no_result(plan, jobs):
    yield JobEvent("a", "done", result=None)


def forgets_the_result(plan, jobs):
    yield JobEvent("a", "done")


def forgets_the_frame(plan, jobs):
    yield JobEvent("a", "frame", frame=None)


def gives_unknown_job(plan, jobs):
    yield JobEvent("c", "done")


def ends_twice(plan, jobs):
    yield JobEvent("a", "failed", message="no")
    yield JobEvent("a", "done")


def test_a_job_without_an_end_has_failed():
    summary = run(nothing)
    assert (list(summary.done), summary.exit_code) == (["a"], 1)
    assert summary.failures == ['failed: b: executor "own" of plugin mine ended without this job\'s result.']


def test_any_iterator_will_do():
    assert list(run(plain_iterator).done) == ["a", "b"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raises, "own. of plugin mine failed: RuntimeError: broken pipe"),
        (exits, "own. of plugin mine failed: SystemExit: 0"),
        (lambda plan, jobs: None, "own. of plugin mine failed: TypeError: 'NoneType'"),
        (gives_numbers, "own. of plugin mine gave a int, expected a JobEvent"),
        (gives_unknown_kind, "own. of plugin mine gave an event of kind 'finished', expected one of started, frame"),
        (gives_no_result, "own. of plugin mine gave the result None, expected that of the worker"),
        (forgets_the_result, "own. of plugin mine reports .done. of .a. without its result"),
        (forgets_the_frame, "own. of plugin mine failed: ValueError: job event: frame is None, expected a whole"),
        (gives_unknown_job, "own. of plugin mine reports .done. of 'c', which is no job of this run"),
        (ends_twice, "own. of plugin mine reports .done. of 'a', which is no job of this run, or ended before"),
    ],
)
def test_failures_name_the_executor_and_its_plugin(function, message):
    with pytest.raises(PluginFailedError, match=message):
        run(function)


def test_a_factory_that_fails_is_named():
    def factory(options):
        raise RuntimeError("no cluster")

    with pytest.raises(PluginFailedError, match='executor "own" of plugin mine cannot be made: RuntimeError: no cl'):
        make_executor(plugins_with(factory), "own", {})


def test_an_executor_given_ready_is_named_by_its_class():
    class Slow:
        run = staticmethod(raises)

    with pytest.raises(PluginFailedError, match="executor Slow failed: RuntimeError: broken pipe"):
        run_jobs(Slow(), PLAN, JOBS, are_runs=False)


def run(function):
    plugins = plugins_with(lambda options: SimpleNamespace(run=function))
    return run_jobs(make_executor(plugins, "own", {}), PLAN, JOBS, are_runs=False)


def plugins_with(factory):
    plugins = vos.load_plugins(autoload=False)
    specs = [ExecutorSpec("own", "For a test.", factory)]
    own = SimpleNamespace(vos_executors=hookimpl(specname="vos_executors")(lambda: specs))
    plugins.register(own, Origin("mine", "mine", "test"))
    return plugins
