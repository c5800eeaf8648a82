import threading

import pytest
import torch

from vos.plugin import limit_threads


def test_threads_are_those_asked_for_and_as_before_afterwards_also_after_an_error() -> None:
    before = torch.get_num_threads()
    with limit_threads(None):
        assert torch.get_num_threads() == before
    with limit_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="invalid literal"), limit_threads(before + 1):
        int("broken")
    assert torch.get_num_threads() == before


def test_what_one_thread_asks_for_does_not_change_another() -> None:
    before = torch.get_num_threads()
    inside, leave = threading.Event(), threading.Event()

    def elsewhere() -> None:
        torch.zeros(1)
        with limit_threads(before + 3):
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=elsewhere)
    other.start()
    assert inside.wait(10)
    assert torch.get_num_threads() == before
    leave.set()
    other.join()
