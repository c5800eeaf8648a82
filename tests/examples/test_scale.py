"""The simulation of docs/scale.md: exact where it can be worked out by hand, and the same for one seed."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples/scale/simulate.py"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("simulate_scale", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def calm(scale):
    """No failures, no stragglers, clips of 100 frames."""
    return scale.Parameters(median_frames=100, spread=0.0, slow_share=0.0, hours_between_failures=1e12, state_frames=0)


def test_one_worker_takes_the_sum(scale, calm):
    outcome = scale.simulate(5, 1, calm)
    clip = calm.job_seconds + 100 * calm.frame_seconds + 101 * calm.request_seconds
    assert outcome.hours * 3600 == pytest.approx(calm.start_seconds + 5 * clip)
    assert (outcome.requests, outcome.failures, outcome.lost, outcome.waiting) == (505, 0, 0, 0)


def test_the_store_limits_many_workers_and_shards_help(scale, calm):
    slow_store = replace(calm, requests_per_second=50.0)
    limited = scale.simulate(200, 50, slow_store)
    assert limited.hours * 3600 >= limited.requests / 50
    assert limited.waiting > 0.3
    assert scale.simulate(200, 50, replace(slow_store, shards=True)).hours < 0.5 * limited.hours


def test_states_save_work_when_workers_die(scale):
    dying = scale.Parameters(median_frames=4000, hours_between_failures=0.1, retries=1000)
    kept, lost = (scale.simulate(100, 8, replace(dying, state_frames=n)) for n in (256, 0))
    assert kept.failures > 20
    assert kept.failed_jobs == lost.failed_jobs == 0
    assert kept.lost < 0.2 * lost.lost
    assert scale.simulate(100, 8, dying) == kept
    assert scale.simulate(100, 8, dying, seed=1) != kept
    assert scale.simulate(100, 8, replace(dying, retries=0)).failed_jobs > 0
