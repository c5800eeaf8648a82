import pytest

from vos_propagation.ops.threads import split_threads


@pytest.mark.parametrize(("threads", "shares"), [(1, (1, 1)), (2, (1, 1)), (3, (1, 1)), (4, (1, 2)), (8, (2, 4))])
def test_features_and_tracking_share_the_threads(threads: int, shares: tuple[int, int]) -> None:
    assert split_threads(threads) == shares
