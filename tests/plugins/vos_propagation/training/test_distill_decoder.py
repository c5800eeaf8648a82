"""A narrow decoder made from a wide one, and taught by it."""

from pathlib import Path

import pytest
import torch

from vos_propagation.backbone.features import has_fast_bf16
from vos_propagation.stages.decoder_network import SHIPPED, TEACHER, WEIGHTS, DecoderNetwork, load_decoder, widths_of
from vos_propagation.training import train_decoder
from vos_propagation.training.distill_decoder import INPUTS, narrowed
from vos_propagation.training.train_decoder import Pupil, Training, logits_of

CROP = (4, 6)


def crop(seed: int, frames: int = 2) -> dict[str, torch.Tensor]:
    """Random parts of a record, cut to ``CROP`` cells of 16 px."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = CROP

    def planes(*channels: int, stride: int) -> torch.Tensor:
        return torch.rand(*channels, rows * 16 // stride, columns * 16 // stride, generator=generator)

    return {
        "s4": planes(24, stride=4),
        "s8": planes(40, stride=8),
        "s16": planes(112, stride=16),
        "s32": planes(320, stride=32),
        "coarse": planes(11, stride=8),
        "fine": planes(3, stride=4),
        "truth": planes(stride=4).round(),
        "memory_s16": planes(frames, 112, stride=16),
        "memory_s8": planes(frames, 40, stride=8),
        "memory_masks": planes(frames, 2, stride=4).round(),
        "places": torch.rand(2, rows * columns, generator=generator),
        "memory_places": torch.rand(2, frames * rows * columns, generator=generator),
        "left_out": torch.zeros(frames * rows * columns, dtype=torch.bool),
        "use_readout": torch.ones(()),
    }


def answers(network: DecoderNetwork) -> torch.Tensor:
    """The logits of random cues, and the values of random masks."""
    generator = torch.Generator().manual_seed(3)
    levels = {s: torch.rand(1, c, 64 // s, 96 // s, generator=generator) for s, c in TEACHER_LEVELS.items()}
    coarse, fine = torch.rand(1, 11, 8, 12, generator=generator), torch.rand(1, 3, 16, 24, generator=generator)
    _, image = network.readout.keys(levels[16], levels[8])
    values = network.readout.values(image, fine[:, :1], fine[:, 1:2])
    return torch.cat([network(network.image_features(levels), coarse, fine, values).flatten(), values.flatten()])


TEACHER_LEVELS = {4: 24, 8: 40, 16: 112, 32: 320}


def wide_network() -> DecoderNetwork:
    """A random wide network whose batch norms are not all the same."""
    torch.manual_seed(0)
    network = DecoderNetwork(TEACHER)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.uniform_(part.bias, 0.1, 0.5)
            torch.nn.init.uniform_(part.running_mean, -0.2, 0.2)
    return network.eval()


@torch.inference_mode()
def test_as_wide_as_before_is_the_same_network() -> None:
    wide = wide_network()
    assert torch.equal(answers(narrowed(wide, TEACHER).eval()), answers(wide))


@torch.inference_mode()
def test_channels_that_nothing_uses_are_left_out_first() -> None:
    wide, like = wide_network(), DecoderNetwork(SHIPPED).state_dict()
    state = wide.state_dict()
    for name in dict.fromkeys(part for parts in INPUTS.values() for part in parts if isinstance(part, str)):
        # Every channel beyond as many as are kept becomes 0; a few of the first ones in their place would show.
        for kind in ("weight", "bias"):
            state[f"{name}.1.{kind}"][: -len(like[f"{name}.1.weight"])] = 0
    narrow = narrowed(wide, SHIPPED)
    assert widths_of(narrow.state_dict()) == SHIPPED
    torch.testing.assert_close(answers(narrow.eval()), answers(wide))


def test_the_teachers_mask_is_learnt_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [crop(0), crop(1)]
    wide = wide_network().requires_grad_(False)
    taught = Training(1e-3, 0, tmp_path / "none", Pupil(narrowed(wide, SHIPPED), wide))
    given = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
    taken: list[torch.Tensor] = []
    real = train_decoder.loss_of
    monkeypatch.setattr(train_decoder, "loss_of", lambda logits, target: taken.append(target) or real(logits, target))
    taught.learn(parts, 0.0)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16(torch.device("cpu"))):
        masks = torch.sigmoid(logits_of(wide, given)[0].float())
    torch.testing.assert_close(taken[0], 0.2 * given["truth"] + 0.8 * masks)
    assert float(masks.std()) > 0


def test_the_shipped_decoder_has_the_shipped_widths() -> None:
    assert widths_of(torch.load(WEIGHTS, weights_only=True)) == SHIPPED
    assert sum(weights.numel() for weights in load_decoder().parameters()) < 450_000
