"""Activations by the numbers' bits give what torch's own give."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.ops.activations import relu6_, relu_

EDGES = [0.0, -0.0, 6.0, 5.96875, 6.03125, -6.0, 1e-40, -1e-40, 3e38, -3e38, float("inf"), float("-inf")]


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def numbers(request: pytest.FixtureRequest) -> Tensor:
    drawn = 8 * torch.randn(1, 16, 5, 7, generator=torch.Generator().manual_seed(0))
    drawn.flatten()[: len(EDGES)] = torch.tensor(EDGES)
    return drawn.to(request.param).to(memory_format=torch.channels_last)


def test_relu_in_place(numbers: Tensor) -> None:
    expected = F.relu(numbers)

    assert relu_(numbers) is numbers
    assert torch.equal(numbers, expected)


def test_relu6_in_place(numbers: Tensor) -> None:
    expected = F.relu6(numbers)

    assert relu6_(numbers) is numbers
    assert torch.equal(numbers, expected)


@pytest.mark.parametrize("activation", [relu_, relu6_])
def test_gradients_of_bfloat16_pass(activation) -> None:
    numbers = torch.tensor([-1.0, 2.0, 7.0], dtype=torch.bfloat16, requires_grad=True)
    activation(2 * numbers).sum().backward()

    assert numbers.grad is not None
    assert numbers.grad.tolist() == ([0, 2, 2] if activation is relu_ else [0, 2, 0])
