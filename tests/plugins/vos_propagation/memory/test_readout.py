"""The memory readout: what its keys, places and masks decide, and what is kept of an object."""

import dataclasses

import numpy as np
import pytest
import torch

import vos
from vos.plugin import Runtime
from vos_propagation.config import PropagationOptions
from vos_propagation.memory.readout_memory import (
    SPREAD,
    SPREAD_EVERY,
    MemoryPart,
    box_around,
    centre_of,
    part_around,
    places_from,
    thinned,
)
from vos_propagation.memory.readout_network import KEY, QUERIES, VALUE, ReadoutNetwork
from vos_propagation.pipeline import PropagationTracker
from vos_propagation.stages.decoder import Decoder

SIZE = (96, 128)


def unit_keys(*numbers: int) -> torch.Tensor:
    """Keys of unit length, (1, KEY, N), that are alike where their numbers are."""
    return torch.eye(KEY)[list(numbers)].T[None]


@torch.inference_mode()
def test_a_cell_reads_the_values_of_the_memory_cells_that_are_alike() -> None:
    network, nowhere = ReadoutNetwork(64), torch.zeros(1, 2, 2)
    values = torch.stack([torch.zeros(VALUE), torch.ones(VALUE)])[None]
    found = network.read(unit_keys(3, 5), nowhere, unit_keys(5, 3), nowhere, values)
    assert found.shape == (1, VALUE, 2)
    torch.testing.assert_close(found[0, 0], torch.tensor([1.0, 0.0]), atol=1e-3, rtol=0)


@torch.inference_mode()
def test_of_cells_that_are_alike_the_one_at_the_same_place_of_the_object_counts_for_more() -> None:
    network = ReadoutNetwork(64)
    values = torch.stack([torch.zeros(VALUE), torch.ones(VALUE)])[None]
    memory_places = torch.tensor([[[0.0, 0.0], [-40.0, 40.0]]])
    found = network.read(unit_keys(3), torch.tensor([[[0.0], [38.0]]]), unit_keys(3, 3), memory_places, values)
    assert found.min() > 0.99
    left_out = torch.tensor([[False, True]])
    found = network.read(
        unit_keys(3), torch.tensor([[[0.0], [38.0]]]), unit_keys(3, 3), memory_places, values, left_out
    )
    assert not found.any()


@torch.inference_mode()
def test_numbers_of_cells_that_differ_a_little_have_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each new shape of a matrix product oneDNN keeps memory: with every number of cells it grew by 0.5 GiB."""
    network, shapes = ReadoutNetwork(64), set()
    softmax = torch.softmax

    def seen(similarity: torch.Tensor, dim: int) -> torch.Tensor:
        shapes.add(similarity.shape)
        return softmax(similarity, dim)

    monkeypatch.setattr(torch, "softmax", seen)
    for count in range(QUERIES + 1, QUERIES + 60, 7):
        cells = torch.randn(1, KEY, count), torch.randn(1, 2, count)
        memory = torch.randn(1, KEY, 2 * count), torch.randn(1, 2, 2 * count), torch.ones(1, 2 * count, VALUE)
        torch.testing.assert_close(network.read(*cells, *memory), torch.ones(1, VALUE, count))
    assert len(shapes) == 1


def test_places_are_measured_from_the_centre_of_the_mask() -> None:
    mask = torch.zeros(24, 32)
    mask[8:16, 4:12] = 1
    assert centre_of(mask).tolist() == [3, 2]
    assert centre_of(torch.zeros(24, 32)).tolist() == [3, 4]
    box = box_around(mask > 0, 2)
    assert box == (slice(4, 20), slice(0, 16)), "on a grid of 4 cells"
    assert box_around(mask < 0, 2) is None
    assert places_from(centre_of(mask), (slice(2, 4), slice(1, 3))).tolist() == [
        [-0.5, -0.5, 0.5, 0.5],
        [-0.5, 0.5, -0.5, 0.5],
    ]


def test_a_large_part_is_thinned_as_a_chessboard() -> None:
    box = slice(3, 33), slice(5, 25)
    count = 30 * 20
    numbers = torch.arange(float(count))
    part = MemoryPart(
        numbers.expand(KEY, count), places_from(torch.zeros(2), box), numbers[:, None].expand(count, VALUE)
    )
    kept = thinned(part, box)
    assert kept.keys.shape == (KEY, count // 2)
    assert torch.equal(kept.keys[0], kept.values[:, 0])
    assert ((kept.places.sum(0) - 1) % 2 == 0).all()
    assert torch.equal(kept.places, part.places[:, kept.keys[0].long()])
    small = slice(0, 10), slice(0, 20)
    few = MemoryPart(part.keys[:, :200], part.places[:, :200], part.values[:200])
    assert thinned(few, small) is few


@torch.inference_mode()
def test_cells_are_read_in_groups_with_the_same_values() -> None:
    network, generator = ReadoutNetwork(64), torch.Generator().manual_seed(0)
    count = 2 * QUERIES + 3
    keys, places = (torch.randn(1, channels, count, generator=generator) for channels in (KEY, 2))
    memory = [torch.randn(1, *shape, generator=generator) for shape in ((KEY, 9), (2, 9), (9, VALUE))]
    found = network.read(keys, places, *memory)
    alone = [network.read(keys[:, :, i : i + 1], places[:, :, i : i + 1], *memory) for i in (0, QUERIES, count - 1)]
    torch.testing.assert_close(found[:, :, [0, QUERIES, count - 1]], torch.cat(alone, 2))


def tracked(frames: int) -> tuple[PropagationTracker, Decoder]:
    """Two objects, the second of which is never seen, tracked for so many frames."""
    tracker = PropagationTracker(PropagationOptions(side=SIZE[0]), Runtime(device="cpu"))
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    label_map = np.zeros(SIZE, np.uint8)
    label_map[32:64, 32:80] = 1
    for index in range(frames + 1):
        frame = vos.Frame(index, image, str(index))
        (encoding,) = tracker.encode([frame])
        if index == 0:
            tracker.start(frame, label_map, encoding)
        else:
            tracker.step(frame, encoding)
    return tracker, next(stage for stage in tracker.stages if isinstance(stage, Decoder))


def test_the_memory_keeps_few_frames_and_drops_them_with_an_annotation_or_their_object() -> None:
    tracker, decoder = tracked(SPREAD_EVERY * (SPREAD + 2))
    memory = decoder.readout_memory
    assert len(memory.annotated[1]) == 1
    assert len(memory.spread[1]) == SPREAD
    image = np.zeros((*SIZE, 3), np.uint8)
    label_map = np.zeros(SIZE, np.uint8)
    label_map[8:24, 8:24] = 2
    tracker.annotate(vos.Frame(0, image, "0"), label_map)
    assert not memory.spread
    (encoding,) = tracker.encode([vos.Frame(1, image, "1")])
    tracker.step(vos.Frame(1, image, "1"), encoding)
    assert set(memory.annotated) == {1, 2}
    tracker.forget(2)
    assert set(memory.annotated) == set(memory.spread) == {1}


def test_the_readout_takes_part_in_the_masks() -> None:
    """Without it a frame has other logits."""
    tracker, decoder = tracked(1)
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    frame = vos.Frame(2, image, "2")
    (encoding,) = tracker.encode([frame])
    assert encoding.readout is not None
    with torch.inference_mode():
        part = part_around(decoder.network.readout, tracker.sequence.features, tracker.sequence.prob, 1)
    assert part is not None
    count = part.places.shape[1]
    assert part.keys.shape == (KEY, count)
    assert part.values.shape == (count, VALUE)
    keys, seen = encoding.readout
    without = dataclasses.replace(encoding, readout=(keys.roll(7, 3), seen))
    tracker_too, _ = tracked(1)
    as_it_is, otherwise = tracker.step(frame, encoding).logits, tracker_too.step(frame, without).logits
    assert not np.array_equal(as_it_is, otherwise)
