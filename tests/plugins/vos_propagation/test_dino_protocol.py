from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vos
from vos.merge import merge_objects
from vos.testing import tiny_sequence
from vos_propagation import vos_trackers
from vos_propagation.dino_protocol import propagate, protocol_size
from vos_propagation.options import PropagationOptions


def naive(query, context, window, voters, temperature):  # type: ignore[no-untyped-def]
    """The protocol cell by cell: exp, window, the k highest, normalised."""
    _, height, width = query.shape
    out = torch.zeros(len(context[0][1]), height, width)
    for y in range(height):
        for x in range(width):
            votes = [
                (float(torch.exp(query[:, y, x] @ cells[:, v, u] / temperature)), labels[:, v, u])
                for cells, labels in context
                for v in range(max(0, y - window), min(height, y + window + 1))
                for u in range(max(0, x - window), min(width, x + window + 1))
            ]
            best = sorted(votes, key=lambda vote: -vote[0])[:voters]
            out[:, y, x] = sum(w * label for w, label in best) / sum(w for w, _ in best)
    return out


def test_votes_are_those_of_the_protocol_cell_by_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = [F.normalize(torch.randn(6, 7, 9, generator=generator), dim=0) for _ in range(3)]
    labels = [torch.softmax(torch.randn(3, 7, 9, generator=generator), 0) for _ in range(2)]
    context = list(zip(cells[1:], labels, strict=True))
    torch.testing.assert_close(propagate(cells[0], context, 2, 5, 0.1), naive(cells[0], context, 2, 5, 0.1))


def test_the_working_size_is_the_protocols() -> None:
    assert protocol_size((480, 854), 8) == (480, 832)
    assert protocol_size((1920, 1080), 16) == (832, 480)
    assert protocol_size((480, 854), 14) == (476, 826)


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_a_tiny_seeded_vit_tracks(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config, model = {
        "vit": (transformers.ViTConfig, transformers.ViTModel),
        "dinov2": (transformers.Dinov2Config, transformers.Dinov2Model),
    }[kind]
    small = config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=16)
    model(small).save_pretrained(tmp_path)
    (spec,) = vos_trackers()
    tracker = spec.factory(PropagationOptions(backbone=str(tmp_path)), vos.Runtime(device="cpu"))
    sequence = tiny_sequence("still", size=(96, 128), length=3)
    frames = [vos.Frame(i, image, str(i)) for i, image in enumerate(sequence.images)]
    tracker.start(frames[0], sequence.label_maps[0], tracker.encode(frames[:1])[0])
    for frame, truth in zip(frames[1:], sequence.label_maps[1:], strict=True):
        label_map = merge_objects(tracker.step(frame, tracker.encode([frame])[0]), frame.size)
        assert np.mean((label_map > 0) == (truth > 0)) > 0.9


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    (spec,) = vos_trackers()
    with pytest.raises(vos.OptionError, match=r'no config\.json there. Give "efficientnet-lite0"'):
        spec.factory(PropagationOptions(backbone=str(tmp_path)), vos.Runtime(device="cpu"))
