"""Make a narrow decoder from a wide one: keep the channels that matter most, and learn from the wide one's masks.

    python -m vos_propagation.training.distill_decoder --teacher wide.pt --records RECORDS --out decoder.pt --minutes 50

Source: pruning of whole channels as in Li et al., arXiv:1608.08710; distillation as in Hinton et al., arXiv:1503.02531.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vos_propagation.memory.readout_network import VALUE
from vos_propagation.stages.decoder_network import (
    COARSE_CUES,
    FINE_CUES,
    SHIPPED,
    DecoderNetwork,
    Widths,
    load_decoder,
)
from vos_propagation.training.train_decoder import Pupil, Records, train

# What each layer takes, in the order of its input channels: outputs of other layers, or so many channels that stay.
INPUTS: Mapping[str, Sequence[str | int]] = {
    "readout.value.1": ("readout.value.0",),
    "at_32.0": ("reduce.32.1", COARSE_CUES + VALUE),
    "at_32.1": ("at_32.0",),
    "at_16.0": ("reduce.16.1", 1 + COARSE_CUES, "at_32.1", VALUE),
    "at_16.1": ("at_16.0",),
    "out_16": ("at_16.1",),
    "up_16": ("at_16.1",),
    "at_8.0": ("up_16", "reduce.8.1", COARSE_CUES),
    "at_8.1": ("at_8.0",),
    "up_8": ("at_8.1",),
    "at_4.0": ("up_8", "reduce.4.1", FINE_CUES),
    "at_4.1": ("at_4.0",),
    "out_4": ("at_4.1", FINE_CUES),
    "direction": ("reduce.16.1", "reduce.16.1"),
}
RATE = 1.5e-3


def narrowed(wide: DecoderNetwork, widths: Widths) -> DecoderNetwork:
    """Make a narrower network of the channels that the layers after them weight most.

    Args:
        wide: a trained network; it stays as it is.
        widths: at most as wide.
    Returns:
        A network that is worth training on; alone it gives poor masks.
    """
    state, network = wide.state_dict(), DecoderNetwork(widths)
    wanted = network.state_dict()
    kept: dict[str, Tensor] = {}
    for name in dict.fromkeys(part for parts in INPUTS.values() for part in parts if isinstance(part, str)):
        scale, shift = (state[f"{name}.1.{kind}"].abs() for kind in ("weight", "bias"))
        importance = (scale + shift / 2) * _use_of(state, name)
        kept[name] = importance.topk(len(wanted[f"{name}.1.weight"])).indices.sort().values
    # Its outputs weight the image's features at 16 px one by one.
    kept["direction"] = kept["reduce.16.1"]
    for name in state:
        layer = next((layer for layer in {*kept, *INPUTS} if name.startswith(f"{layer}.")), None)
        if layer is None or not state[name].dim():
            wanted[name] = state[name]
            continue
        value = state[name] if layer not in kept else state[name][kept[layer]]
        wanted[name] = value if value.dim() == 1 or layer not in INPUTS else value[:, _columns(state, layer, kept)]
    network.load_state_dict(wanted)
    return network


def _weights_name(state: Mapping[str, Tensor], layer: str) -> str:
    """Return the name of a layer's weights: a convolution's with a batch norm, or its own."""
    return f"{layer}.0.weight" if f"{layer}.0.weight" in state else f"{layer}.weight"


def _parts(state: Mapping[str, Tensor], layer: str) -> list[tuple[str | int, int]]:
    """List what a layer takes, each with its number of channels."""
    return [(part, part if isinstance(part, int) else len(state[_weights_name(state, part)])) for part in INPUTS[layer]]


def _use_of(state: Mapping[str, Tensor], name: str) -> Tensor:
    """Sum the absolute weights of all convolutions that take a layer's outputs, a mean over their own outputs."""
    use = torch.zeros(())
    for layer in INPUTS:
        start, weights = 0, state[_weights_name(state, layer)]
        for part, count in _parts(state, layer):
            if part == name and weights.dim() == 4:
                use = use + weights[:, start : start + count].abs().sum((2, 3)).mean(0)
            start += count
    return use


def _columns(state: Mapping[str, Tensor], layer: str, kept: Mapping[str, Tensor]) -> Tensor:
    """List the input channels of a layer that stay."""
    columns, start = [], 0
    for part, count in _parts(state, layer):
        columns.append(start + (torch.arange(count) if isinstance(part, int) else kept[part]))
        start += count
    return torch.cat(columns)


def distill(teacher: Path, records: Records, out: Path, *, seconds: float, seed: int, widths: Widths = SHIPPED) -> None:
    """Make a narrow network from a teacher's weights, train it for so many seconds, and write its weights."""
    wide = load_decoder(teacher)
    train(records, out, seconds=seconds, rate=RATE, seed=seed, pupil=Pupil(narrowed(wide, widths), wide))


def main() -> None:
    """Distill, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True, help="weights of train_decoder.py")
    parser.add_argument("--records", type=Path, nargs="+", required=True, help="folders of record_cues.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    records = Records(arguments.records)
    if not len(records):
        parser.error(f"no records in {', '.join(map(str, arguments.records))}. Make some with record_cues.py.")
    distill(arguments.teacher, records, arguments.out, seconds=60 * arguments.minutes, seed=arguments.seed)


if __name__ == "__main__":
    main()
