"""Frames that are in memory: arrays, tensors, Pillow images or image files, in a list or as they come."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vos.errors import SourceError
from vos.io.images.image_file import IMAGE_SUFFIXES, read_image
from vos.io.images.value_scale import ValueScale
from vos.types.arrays import AnyArray, Image
from vos.types.frame import Frame
from vos.types.mask_values import as_array
from vos.types.source_info import SourceInfo

EXPECTED = (
    "a path, a vos.plugin.Source, or frames in memory: a list or iterator of uint8 arrays (H, W, 3), Pillow images or "
    "image files, or one array or tensor (T, H, W, 3) or (T, 3, H, W)"
)


class MemorySource:
    """A source over images in memory; ``frames_in_memory`` lists the accepted types."""

    def __init__(self, images: Any) -> None:
        """Keep the images; an iterator is read lazily and once.

        Args:
            images: a sequence can be read in any order, an iterator forward.
        Raises:
            SourceError: nothing in it, or its first image is none.
        """
        self._images = images
        self._first: Image | None = None
        self._used = False
        names: tuple[str, ...] | None = None
        count: int | None = None
        if not isinstance(images, Iterator):
            count = len(images)
            if count == 0:
                raise SourceError("no frame in memory: the list is empty.")
            self._first = _to_image(images[0], 0)
            names = _names_of(images)
        self._digits = max(5, len(str((count or 1) - 1)))
        self._names = names
        self._info = SourceInfo(
            location="frames in memory",
            name="frames",
            kind="frames in memory",
            frame_count=count,
            size=None if self._first is None else self._first.shape[:2],
            seekable=count is not None,
            frame_names=names,
        )

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Yield the images as frames; see ``vos.plugin.Source``.

        Raises:
            SourceError: an image is none, or an iterator is read twice or backward.
        """
        if isinstance(self._images, Iterator):
            yield from self._from_iterator(self._images, indices)
            return
        for index in range(len(self._images)) if indices is None else indices:
            yield self._frame(index, self._images[index])

    def close(self) -> None:
        """The images stay the caller's."""

    def _from_iterator(self, images: Iterator[Any], indices: range | None) -> Iterator[Frame]:
        if self._used:
            raise SourceError("frames in memory: an iterator can be read once. Give a list to read it again.")
        if indices is not None and indices.step < 0:
            raise SourceError("frames in memory: an iterator cannot go backward. Give a list.")
        self._used = True
        wanted = None if indices is None else indices[-1] + 1 if indices else 0
        for index, image in enumerate(itertools.islice(images, wanted)):  # a further one may be long in coming
            if indices is None or index in indices:
                yield self._frame(index, image)

    def _frame(self, index: int, image: Any) -> Frame:
        name = f"{index:0{self._digits}d}" if self._names is None else self._names[index]
        return Frame(index, _to_image(image, index), name)


def frames_in_memory(given: Any) -> MemorySource:
    """Make a source of what a caller has in memory.

    Args:
        given: a list, tuple or iterator of images; an array or tensor of four dimensions. An image is an array or
            tensor (H, W, 3), (3, H, W), (H, W, 4) or (H, W), uint8 or floats from 0 to 1; a Pillow image; or an image
            file.
    Returns:
        The source. Its frames are named by file where all images are files, else by zero-padded index.
    Raises:
        SourceError: it is none of these; one line says what was found.
    """
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise SourceError(f"source is a {type(given).__name__}, expected {EXPECTED}.")
    if hasattr(given, "ndim") and hasattr(given, "shape"):
        if given.ndim != 4:
            shape = tuple(int(side) for side in given.shape)
            raise SourceError(f"source is one array of shape {shape}, expected {EXPECTED}.")
        return MemorySource(given)
    return MemorySource(given if isinstance(given, (Sequence, Iterator)) else iter(given))


def _to_image(given: Any, index: int) -> Image:
    """One image of any kind as uint8 (H, W, 3) RGB."""
    if isinstance(given, Frame):
        return given.image
    if isinstance(given, (str, Path)):
        if Path(given).suffix.lower() not in IMAGE_SUFFIXES:
            raise SourceError(
                f"{given}: in a list of frames, frame {index} is no image file. Name a video or a folder by itself, "
                "without a list."
            )
        return read_image(given)
    if hasattr(given, "getexif"):  # a Pillow image
        return np.array(given.convert("RGB"))
    array = as_array(given)
    if array is None:
        raise SourceError(f"frame {index} in memory is a {type(given).__name__}, expected {EXPECTED}.")
    return _array_to_image(array, index)


def _array_to_image(array: AnyArray, index: int) -> Image:
    image = array
    if image.ndim == 3 and image.shape[-1] not in (1, 3, 4) and image.shape[0] in (1, 3, 4):
        image = image.transpose(1, 2, 0)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
        raise SourceError(f"frame {index} in memory has shape {array.shape}, expected (H, W, 3) or (3, H, W).")
    image = image[..., :3] if image.shape[-1] > 1 else image.repeat(3, axis=-1)
    if image.dtype.kind == "f":
        if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
            raise SourceError(
                f"frame {index} in memory has {array.dtype} values from {image.min():g} to {image.max():g}, expected "
                "floats from 0 to 1, or uint8."
            )
        image = ValueScale(0, 1, "").apply(image)
    if image.dtype != np.uint8:
        raise SourceError(f"frame {index} in memory is {array.dtype}, expected uint8, or floats from 0 to 1.")
    return np.array(image, order="C")  # a copy: an iterator may fill one buffer again for each frame


def _names_of(images: Any) -> tuple[str, ...] | None:
    """The stems of image files, where all images are files and no two stems are the same."""
    if not isinstance(images, Sequence) or not all(isinstance(image, (str, Path)) for image in images):
        return None
    stems = tuple(Path(image).stem for image in images)
    return stems if len(set(stems)) == len(stems) else None
