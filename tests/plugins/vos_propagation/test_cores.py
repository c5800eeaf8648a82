import threading

import pytest
import torch

from vos_propagation.cores import halves_of, on_threads


@pytest.mark.parametrize(("threads", "halves"), [(1, (1, 1)), (2, (1, 1)), (3, (2, 1)), (8, (4, 4))])
def test_features_and_tracking_share_the_threads(threads: int, halves: tuple[int, int]) -> None:
    assert halves_of(threads) == halves


def test_threads_are_those_asked_for_and_as_before_afterwards_also_after_an_error() -> None:
    before = torch.get_num_threads()
    with on_threads(None):
        assert torch.get_num_threads() == before
    with on_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="invalid literal"), on_threads(before + 1):
        int("broken")
    assert torch.get_num_threads() == before


def test_what_one_thread_asks_for_does_not_change_another() -> None:
    before = torch.get_num_threads()
    inside, leave = threading.Event(), threading.Event()

    def elsewhere() -> None:
        torch.zeros(1)
        with on_threads(before + 3):
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=elsewhere)
    other.start()
    assert inside.wait(10)
    assert torch.get_num_threads() == before
    leave.set()
    other.join()
