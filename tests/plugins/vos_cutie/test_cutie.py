"""Cutie equals its package's own inference on the real small architecture; a narrow one serves the other tests."""

import numpy as np
import pytest
import torch

import vos
from vos.plugin import OutputExistsError, WeightsError
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


@pytest.fixture(scope="module")
def narrow():
    """A network of a quarter of the channels and one transformer block, and its configuration, without a checkpoint.

    Objects, memories and sizes are the core's matter, whatever the network's width.
    """
    cutie = pytest.importorskip("cutie.model.cutie")
    config = make_config(CutieOptions(mem_every=2), small=True)
    for width in ("pixel_dim", "value_dim", "sensory_dim", "embed_dim"):
        config.model[width] = 64
    config.model.mask_decoder.up_dims = [64, 32, 32]
    config.model.object_transformer.ff_dim = 64
    config.model.object_transformer.num_blocks = 1
    torch.manual_seed(0)
    with _without_imagenet_weights():
        return cutie.CUTIE(config).eval().requires_grad_(False), config


@pytest.fixture
def tracker(narrow):
    return CutieTracker(*narrow)


def test_the_plugin_can_be_listed():
    assert check_plugin("vos_cutie") == ["cutie"]


def test_contract(narrow):
    network, config = narrow
    config = config.copy()
    config.use_long_term = False
    # Every second frame is a memory and 5 are kept: memory is steady after 12 frames.
    for check in tracker_checks(lambda: CutieTracker(network, config), size=(32, 48), warm_up=12):
        if check.clause != "accuracy":  # random weights track nothing
            check()


@pytest.mark.parametrize("size", [(96, 128), (90, 120)])
def test_equal_to_the_packages_own_inference(loaded, size):
    from cutie.inference.inference_core import InferenceCore

    network, config = loaded
    tracker = CutieTracker(network, config)
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


def test_the_other_objects_go_on_where_one_ends_before_the_first_memory(tracker):
    sequence = tiny_sequence("moving", size=(64, 80), object_ids=(3, 5))
    tracker.start(sequence.frame(0), sequence.label_maps[0])
    tracker.forget(5)
    for t in range(1, 5):  # every second frame becomes a memory
        assert tracker.step(sequence.frame(t)).object_ids == (3,)


@pytest.mark.parametrize("size", [(21, 33), (80, 80)])
def test_memories_of_small_frames_are_consolidated(narrow, size):
    """A frame of 80 x 80 px has 25 cells: the 5 oldest memories hold fewer than the 128 prototypes."""
    network, config = narrow
    config = config.copy()
    config.mem_every = 1
    sequence = tiny_sequence("moving", size=size)
    tracker = CutieTracker(network, config)
    tracker.start(sequence.frame(0), sequence.label_maps[0])
    for t in range(1, 16):
        tracker.step(sequence.frame(t % 6))
    assert tracker._core.memory.long_mem.k, "memories were consolidated"


def test_an_object_is_corrected_before_the_first_step(narrow, monkeypatch):
    sequence = tiny_sequence("crossing")
    tracker, frame, first = CutieTracker(*narrow), sequence.frame(0), sequence.label_maps[0]
    seen = []
    run = tracker._run
    monkeypatch.setattr(
        tracker, "_run", lambda frame, given=None, *rest, **more: seen.append(given) or run(frame, given, *rest, **more)
    )
    corrected, other = vos.object_ids(first)[:2]
    for start in (first, np.roll(first, 3, axis=1)):
        tracker.start(frame, start)
        tracker.annotate(frame, np.where(start == corrected, start, 0).astype(np.uint8))
        assert np.array_equal(seen[-1], start), f"{other} keeps the mask of this sequence"


def test_frames_are_scaled_down_and_masks_brought_back(narrow):
    network, config = narrow
    config = config.copy()
    config.max_internal_size = 32
    sequence = tiny_sequence("moving", size=(64, 96))
    tracker = CutieTracker(network, config)
    tracker.start(sequence.frame(0), sequence.label_maps[0])
    assert tracker.step(sequence.frame(1)).logits.shape[1:] == (64, 96)
    assert tracker._core.last_mask.shape[-2:] == (32, 48)


def test_memory_is_bounded(narrow):
    """With room for 64 long-term tokens, the oldest are removed and what is held stops growing."""
    network, config = narrow
    config = config.copy()
    config.mem_every = 1
    settings = {"max_mem_frames": 4, "min_mem_frames": 2, "num_prototypes": 16}
    settings |= {"max_num_tokens": 64, "buffer_tokens": 16}
    config.long_term = {**config.long_term, **settings}
    sequence = tiny_sequence("moving", size=(64, 80))
    tracker = CutieTracker(network, config)
    tracker.start(sequence.frame(0), sequence.label_maps[0])
    working, long_term = [], []
    for t in range(1, 25):
        tracker.step(sequence.frame(t % 6))
        memory = tracker._core.memory
        working.append(sum(k.shape[-1] for k in memory.work_mem.k.values()))
        long_term.append(sum(k.shape[-1] for k in memory.long_mem.k.values()))
    cells = 4 * 5
    assert max(working) <= (1 + settings["max_mem_frames"]) * cells, "the annotated frame and 4 others"
    assert max(long_term) <= settings["max_num_tokens"]
    assert long_term[-1] > settings["num_prototypes"], "frames were compressed more than once"


def test_through_the_host_in_bf16(checkpoint, recwarn):
    sequence = tiny_sequence("later", length=4)
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
    assert [label_map.shape for _, label_map in results] == [(48, 64)] * 4
    assert not [warning for warning in recwarn if "cutie" in warning.filename], "the package's own are not shown"


def test_a_finished_run_of_other_weights_is_not_taken_for_this_one(checkpoint, tmp_path):
    file = tmp_path / "cutie.pth"
    state = torch.load(checkpoint, weights_only=True)

    def run():
        return vos.track(
            tiny_sequence("moving", length=2),
            {0: tiny_sequence("moving").label_maps[0]},
            tracker="cutie",
            options={"checkpoint": str(file)},
            output=tmp_path / "out",
            runtime=vos.Runtime(device="cpu"),
            plugins=vos.load_plugins(["vos_cutie"]),
            resume=True,
        )

    torch.save(state, file)
    assert set(run().run.details) == {"checkpoint", "sha256"}
    assert run().skipped
    torch.save({key: value * 1.5 for key, value in state.items()}, file)
    with pytest.raises(OutputExistsError, match="details"):
        run()


def test_what_is_no_checkpoint_is_refused(tmp_path, checkpoint):
    with pytest.raises(WeightsError, match=r"cutie needs a checkpoint\. Give Cutie's weights"):
        load_cutie(CutieOptions(), CPU)
    foreign = tmp_path / "foreign.pth"
    foreign.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="not a Cutie checkpoint"):
        load_cutie(CutieOptions(checkpoint=foreign), CPU)
    torch.save({"pix_feat_proj.weight": 3}, foreign)
    with pytest.raises(WeightsError, match="not a Cutie checkpoint"):
        load_cutie(CutieOptions(checkpoint=foreign), CPU)
    state = torch.load(checkpoint, weights_only=True)
    del state["key_proj.key_proj.weight"]
    torch.save(state, foreign)
    with pytest.raises(WeightsError, match='1 tensors missing or of another shape, first "key_proj.key_proj.weight"'):
        load_cutie(CutieOptions(checkpoint=foreign), CPU)
