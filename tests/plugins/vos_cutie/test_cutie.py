"""Cutie equals its package's own inference, on the real small architecture with seeded weights."""

import numpy as np
import pytest
import torch

import vos
from vos.plugin import WeightsError
from vos.testing import check_plugin, tiny_sequence, tracker_checks
from vos_cutie.model import _without_imagenet_weights, load_cutie, make_config
from vos_cutie.options import CutieOptions
from vos_cutie.tracker import CutieTracker

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    cutie = pytest.importorskip("cutie.model.cutie")
    torch.manual_seed(0)
    with _without_imagenet_weights():
        network = cutie.CUTIE(make_config(CutieOptions(), small=True))
    path = tmp_path_factory.mktemp("cutie") / "cutie-small-seeded.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return load_cutie(CutieOptions(checkpoint=checkpoint, mem_every=2), CPU)


@pytest.fixture
def tracker(loaded):
    return CutieTracker(*loaded)


def test_the_plugin_can_be_listed():
    assert check_plugin("vos_cutie") == ["cutie"]


def test_contract(checkpoint):
    loaded = load_cutie(CutieOptions(checkpoint=checkpoint, mem_every=2, long_term=False), CPU)
    for check in tracker_checks(lambda: CutieTracker(*loaded)):
        if check.clause != "accuracy":  # random weights track nothing
            check()


@pytest.mark.parametrize("size", [(96, 128), (90, 120)])
def test_equal_to_the_packages_own_inference(loaded, tracker, size):
    from cutie.inference.inference_core import InferenceCore

    network, config = loaded
    sequence = tiny_sequence("moving", size=size, object_ids=(4, 9))
    frames = list(sequence.frames())
    core = InferenceCore(network, cfg=config)

    def image(frame):
        return torch.from_numpy(frame.image.copy()).permute(2, 0, 1).float() / 255

    with torch.inference_mode():
        core.step(image(frames[0]), torch.from_numpy(sequence.label_maps[0].copy()).long(), [4, 9])
        tracker.start(frames[0], sequence.label_maps[0])
        for frame in frames[1:]:
            prob = core.step(image(frame))
            prediction = tracker.step(frame)
            expected = core.output_prob_to_mask(prob).numpy()
            assert prediction.object_ids == (4, 9)
            best = prediction.logits.argmax(axis=0)
            ours = np.where(prediction.logits.max(axis=0) > 0, np.array([4, 9])[best], 0)
            assert np.array_equal(ours, expected)
            np.testing.assert_allclose(prediction.logits, (prob[1:].log() - prob[0].log()).numpy(), atol=1e-5)


def test_ids_and_memories_follow_their_objects(tracker):
    sequence = tiny_sequence("moving", size=(64, 80), object_ids=(3, 5, 7))
    frames, maps = list(sequence.frames()), sequence.label_maps

    def only(label_map, *ids):
        return np.where(np.isin(label_map, ids), label_map, 0).astype(np.uint8)

    tracker.start(frames[0], only(maps[0], 5, 7))
    assert tracker.step(frames[1]).object_ids == (5, 7)
    tracker.annotate(frames[1], only(maps[1], 3, 7))
    assert tracker.step(frames[2]).object_ids == (5, 7, 3)
    tracker.annotate(frames[2], only(maps[2], 7))
    tracker.forget(5)
    assert tracker.step(frames[3]).object_ids == (7, 3)
    assert tracker._core.last_mask.shape[1] == 2
    tracker.forget(7)
    tracker.forget(3)
    assert tracker.step(frames[4]).object_ids == ()
    tracker.annotate(frames[4], only(maps[4], 3))
    assert tracker.step(frames[5]).object_ids == (3,)


def test_frames_are_scaled_down_and_masks_brought_back(checkpoint):
    network, config = load_cutie(CutieOptions(checkpoint=checkpoint, max_internal_size=32), CPU)
    sequence = tiny_sequence("moving", size=(64, 96))
    tracker = CutieTracker(network, config)
    tracker.start(sequence.frame(0), sequence.label_maps[0])
    assert tracker.step(sequence.frame(1)).logits.shape[1:] == (64, 96)
    assert tracker._core.last_mask.shape[-2:] == (32, 48)


def test_memory_is_bounded(loaded):
    """With room for 200 long-term tokens, what is held stops growing."""
    network, config = loaded
    config = config.copy()
    config.mem_every = 1
    config.long_term = {**config.long_term, "max_num_tokens": 200, "buffer_tokens": 50, "num_prototypes": 16}
    sequence = tiny_sequence("moving", size=(64, 80))
    tracker = CutieTracker(network, config)
    tracker.start(sequence.frame(0), sequence.label_maps[0])
    sizes = []
    for t in range(1, 45):
        tracker.step(sequence.frame(t % 6))
        memory = tracker._core.memory
        sizes.append(sum(k.numel() for store in (memory.work_mem, memory.long_mem) for k in store.k.values()))
    cells, keys = 4 * 5, 64
    assert max(sizes) <= (200 + config.long_term.max_mem_frames * cells) * keys
    assert memory.long_mem.engaged()


def test_through_the_host_in_bf16(checkpoint):
    sequence = tiny_sequence("later", length=5)
    results = list(
        vos.stream(
            sequence,
            list(sequence.annotations),
            tracker="cutie",
            options={"checkpoint": str(checkpoint)},
            runtime=vos.Runtime(device="cpu", precision="bf16"),
            plugins=vos.load_plugins(["vos_cutie"]),
        )
    )
    assert [label_map.shape for _, label_map in results] == [(48, 64)] * 5


def test_what_is_no_checkpoint_is_refused(tmp_path, checkpoint):
    with pytest.raises(WeightsError, match="no such file"):
        load_cutie(CutieOptions(), CPU)
    foreign = tmp_path / "foreign.pth"
    foreign.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="not a Cutie checkpoint"):
        load_cutie(CutieOptions(checkpoint=foreign), CPU)
    state = torch.load(checkpoint, weights_only=True)
    del state["key_proj.key_proj.weight"]
    torch.save(state, foreign)
    with pytest.raises(WeightsError, match='1 tensors missing or of another shape, first "key_proj.key_proj.weight"'):
        load_cutie(CutieOptions(checkpoint=foreign), CPU)
