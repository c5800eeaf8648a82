import pytest
import torch
import torch.nn.functional as F

from vos_propagation.ops.resampling import downsample2x, max_of_others, stack_channels_last


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_best_other_is_the_highest_of_the_other_rows(count: int) -> None:
    planes = torch.randint(0, 3, (count, 6, 7), generator=torch.Generator().manual_seed(count)).float()  # with ties
    for row, found in enumerate(max_of_others(planes)):
        others = [plane for other, plane in enumerate(planes) if other != row]
        assert torch.equal(found, torch.stack(others).amax(0) if others else torch.zeros(6, 7))


def test_half_the_size_is_the_mean_of_two_by_two() -> None:
    planes = torch.rand(3, 10, 14, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(downsample2x(planes), F.avg_pool2d(planes, 2))
    assert downsample2x(planes[:0]).shape == (0, 5, 7)


def test_stacked_planes_lie_cell_by_cell() -> None:
    planes = torch.rand(2, 5, 4, 6)
    stack = stack_channels_last(planes)
    assert torch.equal(stack, planes)
    assert stack.is_contiguous(memory_format=torch.channels_last)
