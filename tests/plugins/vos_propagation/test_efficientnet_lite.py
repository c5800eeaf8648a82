import numpy as np
import torch

from vos_propagation.efficientnet_lite import CHANNELS, SameConv, load_efficientnet_lite0


def test_levels_have_their_stride_and_channels() -> None:
    network = load_efficientnet_lite0()
    features = network(torch.zeros(2, 3, 64, 96))
    assert {stride: tuple(f.shape) for stride, f in features.items()} == {
        stride: (2, channels, 64 // stride, 96 // stride) for stride, channels in CHANNELS.items()
    }


def test_same_padding_puts_odd_pixels_right_and_below() -> None:
    convolution = SameConv(1, 1, 3, 2)
    with torch.no_grad():
        convolution.weight.fill_(1)
        convolution.bias.zero_()
        image = torch.arange(16.0).view(1, 1, 4, 4)
        np.testing.assert_array_equal(convolution(image)[0, 0], [[45, 39], [66, 50]])


def test_the_weights_give_features_of_trained_scale() -> None:
    """Folded batch norm leaves the projections (no activation) with about zero mean on natural images."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=generator) * 255
    image = torch.nn.functional.interpolate(coarse, (128, 128), mode="bicubic").clamp(0, 255)
    for feature in load_efficientnet_lite0()(image).values():
        assert 0.3 < float(feature.std()) < 30
        assert abs(float(feature.mean())) < float(feature.std())
