"""A deliberately bad executor of each kind, and the clause that it breaks; all run jobs in this process."""

import itertools

import pytest

from vos.plugin import InputError, JobEvent, VosError
from vos.testing import CLAUSES, ContractError, check_executor, executor_checks


class Good:
    """One job after another in this process; a job whose worker would die is only said to have."""

    kept = True
    attempts = 1

    def run(self, plan, jobs):
        worker = None
        for job in jobs:
            for _ in range(self.attempts):
                if worker is None or not self.kept:
                    worker = plan.make()
                yield from self.one(worker, job)

    def one(self, worker, job):
        frames = []
        yield JobEvent(job.job_id, "started")
        try:
            result = worker(job.work, lambda frame, count: frames.append((frame, count)))
        except Exception as error:
            yield self.failed(job, error)
            return
        yield from (self.frame(job, *pair) for pair in frames)
        yield JobEvent(job.job_id, "done", result=self.result(result))

    def failed(self, job, error):
        return JobEvent(job.job_id, "failed", message=str(error), bad_input=isinstance(error, InputError))

    def frame(self, job, frame, count):
        return JobEvent(job.job_id, "frame", frame=frame, frame_count=count)

    def result(self, result):
        return result


class RunTakesOne(Good):
    def run(self, jobs):
        pass


class GivesText(Good):
    def run(self, plan, jobs):
        return iter(["done"])


class InventsKinds(Good):
    def frame(self, job, frame, count):
        return JobEvent(job.job_id, "doing")


class GivesNone(Good):
    def result(self, result):
        return None


class EndsNothing(Good):
    def one(self, worker, job):
        yield next(super().one(worker, job))


class EndsTwice(Good):
    def one(self, worker, job):
        *_, end = yield_all = list(super().one(worker, job))
        yield from [*yield_all, end]


class LosesResults(Good):
    def result(self, result):
        return {}


class OtherIds(Good):
    def failed(self, job, error):
        return JobEvent("job", "failed", message=str(error))


class ListsAsIds(Good):
    def frame(self, job, frame, count):
        return JobEvent([job.job_id], "frame", frame=frame, frame_count=count)


class FramesAsText(Good):
    def frame(self, job, frame, count):
        return super().frame(job, str(frame), count)


class StopsAtAFailure(Good):
    def failed(self, job, error):
        raise error


class SlowStart(Good):
    def run(self, plan, jobs):
        for job in jobs:
            plan.make()(job.work, lambda frame, count: None) if job.work["kind"] == "good" else None
        yield from super().run(plan, jobs)


class NewWorkerForEachJob(Good):
    kept = False


class SaysNothingAtTheStart(Good):
    def one(self, worker, job):
        return itertools.islice(super().one(worker, job), 1, None)


class CountsBackward(Good):
    def frame(self, job, frame, count):
        return super().frame(job, count - frame + 1, count)


class CountsFromZero(Good):
    def frame(self, job, frame, count):
        return super().frame(job, frame - 1, count)


class NoFrameCount(Good):
    def frame(self, job, frame, count):
        return super().frame(job, frame, None)


class BlamesTheInput(Good):
    def failed(self, job, error):
        return JobEvent(job.job_id, "failed", message=str(error), bad_input=True)


class Speechless(Good):
    def failed(self, job, error):
        return JobEvent(job.job_id, "failed", bad_input=isinstance(error, InputError))


class FailsWithoutJobs(Good):
    def run(self, plan, jobs):
        return super().run(plan, [*jobs, jobs[0]][:-1])


class TriesForEver(Good):
    def run(self, plan, jobs):
        try:
            yield from super().run(plan, jobs)
        except VosError:
            while True:
                yield JobEvent(jobs[0].job_id, "retried")


class ClosesBadly(Good):
    def run(self, plan, jobs):
        try:
            yield from super().run(plan, jobs)
        finally:
            if jobs and jobs[0].work["kind"] == "waits":
                raise OSError("no such worker")


BAD = [
    ("executor-methods", RunTakesOne, "cannot take 2 arguments"),
    ("executor-methods", GivesText, "run gave a str, expected a JobEvent"),
    ("executor-methods", InventsKinds, "an event of kind 'doing', expected one of started, frame, done"),
    ("executor-ends", EndsNothing, r"had the events \['started'\], expected one done or failed at last"),
    ("executor-ends", EndsTwice, r"had the events \['started', .*'done', 'done'\]"),
    ("executor-ends", LosesResults, "has the result {}, its worker gave"),
    ("executor-ends", GivesNone, "has the result None, its worker gave"),
    ("executor-ends", OtherIds, "has the job id 'job', which is none of the jobs"),
    ("executor-ends", ListsAsIds, r"run raised ValueError: job event: job_id is \['three-frames'\], expected text"),
    ("executor-ends", FramesAsText, "run raised ValueError: job event: frame is '1', expected a whole number"),
    ("executor-ends", StopsAtAFailure, "run raised InputError"),
    ("executor-once", SlowStart, 'job "three-frames" was begun 2 times'),
    ("executor-worker", NewWorkerForEachJob, "made its worker 8 times"),
    ("executor-progress", SaysNothingAtTheStart, "is frame, expected started"),
    ("executor-progress", CountsBackward, r"of 3 frames reported the frames \[3, 2, 1\]"),
    ("executor-progress", CountsFromZero, r"reported the frames \[0, 1, 2\]"),
    ("executor-progress", NoFrameCount, r"reported frame_count \[None, None, None\]"),
    ("executor-failures", BlamesTheInput, 'job "failing" has bad_input True, expected False'),
    ("executor-failures", Speechless, "with the message ''"),
    ("executor-no-jobs", FailsWithoutJobs, "run raised IndexError"),
    ("executor-no-worker", TriesForEver, "a worker that cannot be made: 2001 events"),
    ("executor-close", ClosesBadly, "closing the iterator raised OSError"),
]
IN_PROCESSES = {"executor-lost-worker"}  # in tests/plugins/vos_batch: the shipped executor without its retries


def test_a_good_executor_passes():
    assert check_executor(Good) == [
        name
        for name in CLAUSES
        if name.startswith("executor-") and name not in ("executor-lost-worker", "executor-close")
    ]


@pytest.mark.parametrize(("clause", "factory", "message"), BAD)
def test_a_bad_one_breaks_its_clause(clause, factory, message):
    check = next(check for check in executor_checks(factory) if check.clause == clause)
    with pytest.raises(ContractError, match=message):
        check()


def test_every_clause_has_a_bad_executor():
    assert {clause for clause, *_ in BAD} | IN_PROCESSES == {name for name in CLAUSES if name.startswith("executor-")}
