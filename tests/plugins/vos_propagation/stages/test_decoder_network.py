from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from vos.plugin import WeightsError
from vos_propagation.backbone.efficientnet_lite import CHANNELS
from vos_propagation.memory.readout_memory import centre_of, places_from
from vos_propagation.memory.readout_network import VALUE
from vos_propagation.stages.decoder_network import (
    COARSE_CUES,
    FINE_CUES,
    VOTES,
    WARPED,
    WEIGHTS,
    DecoderNetwork,
    fold_batch_norms,
    load_decoder,
)


def levels(height: int, width: int, batch: int = 1) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = {stride: (batch, CHANNELS[stride], height // stride, width // stride) for stride in (4, 8, 16, 32)}
    return {stride: torch.randn(size, generator=generator) for stride, size in sizes.items()}


def cues(mask_s8: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cues that all say that the object is where the mask is; there are no other objects."""
    coarse = torch.zeros(1, COARSE_CUES, *mask_s8.shape)
    coarse[:, [WARPED, 2, 6, VOTES]] = mask_s8
    coarse[:, [4, 8]] = 0.9
    fine = torch.zeros(1, FINE_CUES, 2 * mask_s8.shape[0], 2 * mask_s8.shape[1])
    fine[:, [0, 2]] = mask_s8.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return coarse, fine


@torch.inference_mode()
def test_logits_have_cells_of_4_px_and_of_16_px() -> None:
    network = DecoderNetwork().eval()
    fine, coarse = network.both_logits(
        network.image_features(levels(96, 160)),
        torch.rand(1, COARSE_CUES, 12, 20),
        torch.rand(1, FINE_CUES, 24, 40),
        torch.rand(1, VALUE, 6, 10),
    )
    assert fine.shape == (1, 24, 40)
    assert coarse.shape == (1, 6, 10)


# Standard deviation of the backbone's levels over frames of the training sequences.
SPREAD = {4: 8.6, 8: 7.6, 16: 5.8, 32: 2.7}


@pytest.mark.parametrize("seed", range(8))
@torch.inference_mode()
def test_the_shipped_weights_follow_cues_that_agree(seed: int) -> None:
    network = load_decoder()
    mask = torch.zeros(24, 24)
    mask[8:16, 8:20] = 1
    generator = torch.Generator().manual_seed(seed)
    seen = {}
    for stride, level in levels(192, 192).items():
        inside = F.interpolate(mask[None, None], size=level.shape[2:], mode="area")
        own, rest = SPREAD[stride] * torch.randn(2, 1, CHANNELS[stride], 1, 1, generator=generator)
        seen[stride] = inside * own + (1 - inside) * rest
    coarse, fine = cues(mask)
    keys, image = network.readout.keys(seen[16], seen[8])
    values = network.readout.values(image, fine[:, :1], torch.zeros_like(fine[:, :1]))
    places = places_from(centre_of(fine[0, 0]), (slice(0, 12), slice(0, 12)))[None]
    readout = network.readout.read(keys.flatten(2), places, keys.flatten(2), places, values.flatten(2).transpose(1, 2))
    logits = network(network.image_features(seen), coarse, fine, readout.view(1, VALUE, 12, 12))[0]
    large = mask.repeat_interleave(2, 0).repeat_interleave(2, 1) > 0
    assert ((logits > 0) == large).float().mean() > 0.9


@torch.inference_mode()
def test_folded_batch_norms_leave_the_logits_as_they_are() -> None:
    network = load_decoder()
    folded = fold_batch_norms(network)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    given = (torch.rand(1, COARSE_CUES, 12, 20), torch.rand(1, FINE_CUES, 24, 40), torch.rand(1, VALUE, 6, 10))
    expected, found = (one(one.image_features(levels(96, 160)), *given) for one in (network, folded))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    seen = levels(96, 160)
    keys = [one.readout.keys(seen[16], seen[8]) for one in (network, folded)]
    for plain, fused in zip(*keys, strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-4, rtol=0)
    masks = torch.rand(2, 1, 1, 24, 40)
    values = [one.readout.values(image, *masks) for one, (_, image) in zip((network, folded), keys, strict=True)]
    torch.testing.assert_close(values[1], values[0], atol=1e-4, rtol=0)


def test_the_shipped_weights_are_small_and_half_precision() -> None:
    assert WEIGHTS.stat().st_size < 8 * 2**20
    state = torch.load(WEIGHTS, weights_only=True)
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}


def test_weights_that_are_missing_or_of_another_network_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt: no such file\. Reinstall"):
        load_decoder(tmp_path / "none.pt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt: is no decoder of this version") as caught:
        load_decoder(tmp_path / "other.pt")
    assert "\n" not in str(caught.value)
