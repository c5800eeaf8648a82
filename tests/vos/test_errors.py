"""Errors reach another process: pools of processes pickle what a worker raises."""

import inspect
import pickle

import pytest

from vos import errors

KEYWORDS = {errors.TruncatedSourceError: {"frames_read": 3, "frames_declared": 9}}


@pytest.mark.parametrize(
    "kind", [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
)
def test_an_error_is_the_same_in_another_process(kind):
    error = kind("v.mp4: ends early.", **KEYWORDS.get(kind, {}))
    received = pickle.loads(pickle.dumps(error))
    assert type(received) is kind
    assert str(received) == str(error)
    assert vars(received) == vars(error)
