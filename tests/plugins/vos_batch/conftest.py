"""Fixtures of the tests of every executor."""

import os
from pathlib import Path

import pytest

from vos.plugin import Job, WorkerPlan

WORKERS = Path(__file__).parent


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(WORKERS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(WORKERS), os.environ.get("PYTHONPATH", "")]))
    return WorkerPlan("batch_workers:Worker", {"log": str(tmp_path / "log.txt")})


@pytest.fixture
def started(tmp_path):
    """Give the names of the jobs that workers began, in order."""
    return lambda: [line.split()[0] for line in (tmp_path / "log.txt").read_text().splitlines()]


@pytest.fixture
def jobs():
    def make(**each):
        return [Job(name, {"name": name, **work}) for name, work in each.items()]

    return make
