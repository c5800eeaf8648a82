import pytest
import torch

from vos_propagation.stages.verification import certainty


def test_certainty_is_the_mean_probability_of_a_masks_cells() -> None:
    prob = torch.tensor([[[0.9, 0.7], [0.4, 0.0]], [[0.5, 0.1], [0.2, 0.3]]])
    assert certainty(prob) == pytest.approx([0.8, 0.0])
