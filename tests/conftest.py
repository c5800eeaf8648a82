"""Set up once for all tests: quiet torch threads, and no plugins but the shipped ones."""

import os

# Tests run in parallel processes; more threads in each would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VOS_PLUGINS_AUTOLOAD", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import HealthCheck, settings

# A busy machine draws slowly: how long that takes says nothing of the code.
settings.register_profile("vos", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vos")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Escape half a surrogate pair in captured logs: a worker process cannot send it, and ended the whole run."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
