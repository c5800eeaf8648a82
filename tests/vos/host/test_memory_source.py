from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

import vos
from vos.testing import StubTracker, tiny_sequence

SEQUENCE = tiny_sequence("still", object_ids=(1, 2))
IMAGES = list(SEQUENCE.images)
STACK = np.stack(IMAGES)


def files(tmp_path):
    for index, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"f{index}.png")
    return [tmp_path / f"f{index}.png" for index in range(len(IMAGES))]


KINDS = {
    "list of arrays": lambda path: IMAGES,
    "tuple": lambda path: tuple(IMAGES),
    "array": lambda path: STACK,
    "generator": lambda path: (image for image in IMAGES),
    "Pillow images": lambda path: [Image.fromarray(image) for image in IMAGES],
    "image files": files,
    "names of image files": lambda path: [str(file) for file in files(path)],
    "channels first": lambda path: STACK.transpose(0, 3, 1, 2),
    "tensor": lambda path: torch.from_numpy(STACK).permute(0, 3, 1, 2),
    "list of tensors": lambda path: [torch.from_numpy(image) for image in IMAGES],
    "floats from 0 to 1": lambda path: torch.from_numpy(STACK).permute(0, 3, 1, 2).float() / 255,
    "bfloat16 from 0 to 1": lambda path: (torch.from_numpy(STACK).float() / 255).bfloat16(),
    "with alpha": lambda path: [np.dstack([image, image[..., :1]]) for image in IMAGES],
}


@pytest.mark.parametrize("function", [vos.open_source, vos.read_frame, vos.initialize])
def test_a_camera_index_fits_the_types(function):
    first = next(iter(get_type_hints(function).values()))
    assert int in get_args(first)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_in_memory_are_tracked(tmp_path, kind):
    mask = SEQUENCE.annotations[0].label_map
    frames = [frame for frame, _ in vos.stream(KINDS[kind](tmp_path), mask, tracker=StubTracker())]
    assert len(frames) == len(IMAGES)
    assert all(np.array_equal(frame.image, image) for frame, image in zip(frames, IMAGES, strict=True))
    assert frames[1].name == ("f1" if "files" in kind else "00001")


def test_a_list_goes_backward_and_an_iterator_does_not():
    source = vos.open_source(IMAGES)
    assert (source.info.frame_count, source.info.seekable) == (len(IMAGES), True)
    assert [frame.index for frame in source.frames(range(3, -1, -1))] == [3, 2, 1, 0]
    once = vos.open_source(iter(IMAGES))
    assert (once.info.frame_count, once.info.seekable) == (None, False)
    with pytest.raises(vos.SourceError, match="cannot go backward"):
        list(once.frames(range(3, -1, -1)))
    assert [frame.index for frame in once.frames(range(1, 6, 2))] == [1, 3, 5]
    with pytest.raises(vos.SourceError, match="can be read once"):
        list(once.frames())


def test_an_iterator_is_asked_for_no_frame_after_the_last_one_that_is_wanted():
    given = iter(IMAGES)
    assert len(list(vos.stream(given, SEQUENCE.annotations[0].label_map, tracker=StubTracker(), stop=3))) == 3
    assert next(given) is IMAGES[3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "the list is empty"),
        (STACK[0], r"one array of shape \(.*\), expected a path"),
        (["clip.mp4"], "clip.mp4: in a list of frames, frame 0 is no image file. Name a video or a folder by itself"),
        ([object()], "frame 0 in memory is a object"),
        ([STACK[0].astype(np.int32)], "frame 0 in memory is int32, expected uint8"),
        ([STACK[0].astype(np.float32)], "float32 values from .* expected floats from 0 to 1"),
        ([np.zeros((6, 5, 7), np.uint8)], r"frame 0 in memory has shape \(6, 5, 7\)"),
        (b"clip.mp4", "source is a bytes, expected a path"),
        (None, "source is a NoneType"),
    ],
)
def test_what_is_no_frame_is_one_line(given, message):
    with pytest.raises(vos.SourceError, match=message) as caught:
        vos.open_source(given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_buffer_that_is_filled_anew_for_each_frame_gives_each_frame_its_own_pixels():
    images = tiny_sequence("moving").images
    buffer = np.empty_like(images[0])

    def refilled(given):
        for image in images:
            buffer[:] = image
            yield given

    for given in (buffer, torch.from_numpy(buffer)):
        frames = vos.open_source(refilled(given)).frames()
        assert np.array_equal([frame.image for frame in list(frames)], images)
