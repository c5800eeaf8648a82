import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vos.plugin import InputError
from vos_web.server import run_length
from vos_web.server.run_length import decode_runs, encode_runs


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4)))
def test_encoding_and_decoding_is_identity(label_map):
    assert np.array_equal(decode_runs(encode_runs(label_map), label_map.shape), label_map)


def test_long_runs_are_several_words(monkeypatch):
    monkeypatch.setattr(run_length, "MAX_RUN", 7)
    label_map = np.repeat(np.array([3, 0, 200], np.uint8), 20).reshape(6, 10)
    words = np.frombuffer(encode_runs(label_map), "<u4")
    assert (words & 0xFFFFFF).max() == 7
    assert (words & 0xFFFFFF).sum() == 60


@pytest.mark.parametrize(
    "data", [b"", b"123", np.array([5], "<u4").tobytes(), np.array([1 << 23] * 3, "<u4").tobytes()]
)
def test_runs_that_do_not_fill_the_frame_are_refused(data):
    with pytest.raises(InputError):
        decode_runs(data, (4, 4))
