import numpy as np
import pytest

import vos
from vos.plugin import AnnotationError, EmptyMaskError, ImportedFrame, OptionError
from vos.testing import StubTracker


def test_frame_is_read_only_and_does_not_lock_its_owner():
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    frame = vos.Frame(3, image, "00003", 0.1)
    assert frame.size == (4, 6)
    with pytest.raises(ValueError, match="read-only"):
        frame.image[0, 0] = 1
    image[0, 0] = 1


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8), np.zeros((4, 6, 3)), np.zeros((0, 6, 3), np.uint8)],
)
def test_frame_refuses_other_images(image):
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        vos.Frame(0, image, "x")


def test_whole_numbers_of_numpy_become_numbers_and_others_are_refused():
    image, mask = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.uint8)
    runtime = vos.Runtime(seed=np.int64(3), threads=np.int32(1))
    numbers = [vos.Frame(np.int64(3), image, "x").index, vos.Annotation(mask, np.uint8(3)).frame_index, runtime.seed]
    assert numbers == [3, 3, 3]
    assert {type(number) for number in [*numbers, runtime.threads]} == {int}
    with pytest.raises(ValueError, match="frame x: its index is 1.0, expected a whole number"):
        vos.Frame(1.0, image, "x")
    with pytest.raises(AnnotationError, match="annotation's frame index is '3', expected a whole number"):
        vos.Annotation(mask, "3")
    with pytest.raises(OptionError, match="threads is '2', expected a whole number"):
        vos.Runtime(threads="2")


def test_names_of_frames_are_text():
    with pytest.raises(ValueError, match="frame 3: its name is 3, expected text"):
        vos.Frame(3, np.zeros((4, 6, 3), np.uint8), 3)
    with pytest.raises(ValueError, match="a frame's name is 3, expected text"):
        ImportedFrame(3, np.ones((4, 6), np.uint8))


def test_frame_is_contiguous():
    assert vos.Frame(0, np.zeros((4, 6, 3), np.uint8)[:, ::-1], "x").image.flags.c_contiguous


def test_an_annotation_stays_when_the_array_that_was_given_changes():
    label_map = np.ones((4, 6), np.uint8)
    results = vos.stream([np.zeros((4, 6, 3), np.uint8)], label_map, tracker=StubTracker())
    label_map[:] = 0
    assert [found.all() for _, found in results] == [True]


def test_annotation_needs_an_object():
    with pytest.raises(EmptyMaskError, match="annotation of frame 4: no object"):
        vos.Annotation(np.zeros((2, 2), np.uint8), 4)
    with pytest.raises(AnnotationError, match="annotation of frame 0: "):
        vos.Annotation(np.full((2, 2), 0.5))
    assert vos.Annotation(np.ones((2, 2), bool)).object_ids == (1,)
    annotation = vos.Annotation(np.array([[0, 7], [255, 2]], np.uint8))
    assert annotation.object_ids == (2, 7)


def test_prediction_checks_itself():
    logits = np.zeros((2, 3, 4), np.float32)
    prediction = vos.Prediction((4, 2), logits, scores=[0.1, 0.9], present=[True, False])
    assert prediction.object_ids == (4, 2)
    assert not prediction.logits.flags.writeable
    for bad in [(1,), (1, 1), (0, 1), (1, 255)]:
        with pytest.raises(ValueError, match="object ids"):
            vos.Prediction(bad, logits)
    with pytest.raises(ValueError, match="scores has shape"):
        vos.Prediction((1, 2), logits, scores=[1.0])
    with pytest.raises(ValueError, match="logits are"):
        vos.Prediction((1, 2), logits[0])


def test_prediction_from_label_map():
    label_map = np.array([[0, 3], [5, 5]], np.uint8)
    prediction = vos.Prediction.from_label_map(label_map, (3, 4, 5))
    assert prediction.present.tolist() == [True, False, True]
    assert (prediction.logits > 0).tolist() == [
        [[False, True], [False, False]],
        [[False] * 2] * 2,
        [[False] * 2, [True] * 2],
    ]
    with pytest.raises(ValueError, match="holds ids"):
        vos.Prediction.from_label_map(label_map, (3,))
    with pytest.raises(ValueError, match="void"):
        vos.Prediction.from_label_map(np.array([[255]], np.uint8), (3,))


def test_a_prediction_of_no_objects_is_fine():
    assert vos.Prediction((), np.zeros((0, 4, 4), np.float32)).object_ids == ()


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64])
def test_a_seed_that_no_generator_takes_is_an_error(seed):
    with pytest.raises(OptionError, match=rf"seed is {seed}, expected a number of at most 64 bits"):
        vos.Runtime(seed=seed)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": "fp8"}, "precision is 'fp8', expected one of auto, fp32"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_a_runtime_that_no_model_can_have_is_an_error(given, message):
    with pytest.raises(OptionError, match=message):
        vos.Runtime(**given)


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**64 - 1])
def test_any_seed_of_64_bits_is_taken(seed):
    torch = pytest.importorskip("torch")
    assert vos.Runtime(device="cpu", seed=seed).torch_device() == torch.device("cpu")
