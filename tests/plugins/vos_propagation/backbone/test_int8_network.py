"""8-bit convolutions: exact integers, features near those of the float network, and what the tracker uses when."""

import platform
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import vos
from vos.example_clip import CLIP
from vos.plugin import WeightsError
from vos_propagation.backbone.efficientnet_lite import CHANNELS, SameConv, load_efficientnet_lite
from vos_propagation.backbone.int8_network import (
    LARGEST,
    PIXEL_ZERO,
    Int8Conv,
    Int8EfficientNetLite,
    load_int8_network,
)
from vos_propagation.config import PropagationOptions
from vos_propagation.pipeline import PropagationTracker
from vos_propagation.training.quantize_backbone import main, quantize, relative_errors

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="8-bit convolutions are for x86")


def frame(size: tuple[int, int]) -> torch.Tensor:
    """The example clip's first frame, a part of it: uint8 (1, 3, H, W)."""
    source = vos.open_source(CLIP)
    image = next(iter(source.frames())).image
    source.close()
    return torch.from_numpy(image[: size[0], : size[1]].copy()).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("inputs", "outputs", "kernel", "groups"), [(480, 80, 1, 1), (144, 144, 3, 144)])
def test_the_largest_activations_and_weights_give_the_exact_sum(
    inputs: int, outputs: int, kernel: int, groups: int
) -> None:
    """Without the limit of 7 bits, a CPU without the newer instructions adds two products with saturation."""
    convolution = Int8Conv(SameConv(inputs, outputs, kernel, groups=groups), zero=0, step=1.0, limit=None)
    weight = torch.full((outputs, inputs // groups, kernel, kernel), LARGEST, dtype=torch.int8)
    weight[1::2] *= -1
    convolution.set_weights(weight, torch.ones(outputs), torch.zeros(outputs))
    x = torch.full((1, inputs, 8, 8), LARGEST, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    expected = F.conv2d(x.double(), weight.double(), padding=kernel // 2, groups=groups)
    assert torch.equal(convolution(x).double(), expected)


def test_pixels_outside_the_image_stand_for_zero() -> None:
    convolution = Int8Conv(SameConv(3, 8, 3, 2), zero=PIXEL_ZERO, step=1.0, limit=None)
    weight = torch.randint(
        -63, 64, convolution.weight.shape, dtype=torch.int8, generator=torch.Generator().manual_seed(1)
    )
    convolution.set_weights(weight, torch.ones(8), torch.zeros(8))
    x = frame((32, 32))
    expected = F.conv2d(x.double() - PIXEL_ZERO, weight.double(), stride=2, padding=1)
    assert torch.equal(convolution(x.contiguous(memory_format=torch.channels_last)).double(), expected)


def test_weights_lie_as_the_convolution_of_each_size_wants_them(capfd: pytest.CaptureFixture[str]) -> None:
    """Otherwise oneDNN orders them anew in every call: half of a frame's time on a CPU with AVX-512."""
    convolution = Int8Conv(SameConv(1152, 320, 1), zero=0, step=1.0, limit=None)
    verbose = torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON)
    for size in ((17, 30), (34, 60)):
        x = torch.zeros(1, 1152, *size, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
        convolution(x)
        capfd.readouterr()
        with verbose:
            convolution(x)
        primitives = [line for line in capfd.readouterr().out.splitlines() if ",exec," in line]
        assert any(",convolution," in line for line in primitives)
        assert not any(",reorder," in line for line in primitives)


def test_features_are_near_those_of_the_float_network() -> None:
    image = frame((224, 320))
    with torch.inference_mode():
        found, exact = load_int8_network()(image), load_efficientnet_lite()(image)
    assert list(found) == [4, 8, 16, 32]
    for stride, level in found.items():
        assert level.shape == (1, CHANNELS[stride], 224 // stride, 320 // stride)
        assert level.dtype == torch.float32
        assert float(F.cosine_similarity(level, exact[stride], dim=1).mean()) > 0.95


def test_features_are_the_same_with_any_number_of_threads() -> None:
    network, image, before = load_int8_network(), frame((160, 224)), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                results.append(network(image))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0][stride], results[1][stride]) for stride in results[0])


@pytest.mark.parametrize(("precision", "kind"), [("auto", Int8EfficientNetLite), ("fp32", None), ("bf16", None)])
def test_the_tracker_takes_8_bits_unless_a_precision_is_asked_for(precision: str, kind: type | None) -> None:
    tracker = PropagationTracker(PropagationOptions(), vos.Runtime(device="cpu", precision=precision))  # type: ignore[arg-type]
    is_int8 = isinstance(tracker._encoder._network, Int8EfficientNetLite)
    assert is_int8 == (kind is Int8EfficientNetLite)


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load_int8_network(tmp_path / "none.pt")
    torch.save({"stem.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="does not fit EfficientNet-Lite0"):
        load_int8_network(tmp_path / "other.pt")


def test_quantizing_on_a_tree_without_the_split_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--davis", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "2016/train.txt: no such file. Give the root of a DAVIS tree" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_quantizing_keeps_the_features_of_the_frames_that_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few positions, so that it takes a second or two; shipped weights are made from many."""
    monkeypatch.setattr("vos_propagation.training.quantize_backbone.POSITIONS", 256)
    network = load_efficientnet_lite().to(memory_format=torch.channels_last)
    image = frame((224, 320))
    errors = relative_errors(network, quantize(network, [image]), image)
    assert max(errors.values()) < 0.25
