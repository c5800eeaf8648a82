"""Axes of a microscope's stack: channels, slices and times, as ImageJ and OME state them in a TIFF description."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from vos.errors import SourceError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StackAxes:
    """Number of images along each axis of a stack.

    Attributes:
        channels: images of other dyes or cameras; the colours of one image do not count.
        slices: images of other depths.
        times: images of other times.
        images: all images that the file should hold; None where some are in other files.
    """

    channels: int
    slices: int
    times: int
    images: int | None

    @classmethod
    def read(cls, description: str) -> StackAxes | None:
        """Read the description (tag 270) of a file's first page; None if it is neither ImageJ's nor OME's.

        Source: ImageJ 1.54f, ``ij/io/FileSaver.java`` (``getDescriptionString``); OME-TIFF 2016-06.
        """
        if description.startswith("ImageJ="):
            held = {name: int(value) for name, value in re.findall(r"^(\w+)=([0-9]{1,9})$", description, re.MULTILINE)}
            channels, slices, times = (held.get(name, 1) for name in ("channels", "slices", "frames"))
            return cls(channels, slices, times, held.get("images", 1))
        found = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", description)
        if found is None or "<OME" not in description:
            return None
        held = {name: int(value) for name, value in re.findall(r'\b(Size[CZT])="([0-9]{1,9})"', found[0])}
        samples = re.search(r'SamplesPerPixel="([0-9]{1,9})"', description)
        channels = held.get("SizeC", 1) // max(1, int(samples[1]) if samples else 1)
        slices, times = held.get("SizeZ", 1), held.get("SizeT", 1)
        several = len(set(re.findall(r'FileName="([^"]*)"', description))) > 1
        return cls(max(1, channels), slices, times, None if several else max(1, channels) * slices * times)


def refuse_unclear_axes(path: Path, description: str, pages: int) -> None:
    """Refuse a stack whose pages are not the frames of one video; slices without times are taken as frames.

    Args:
        path: the file, for messages.
        description: of its first page.
        pages: number of pages that were found.
    Raises:
        SourceError: it has several channels, or slices and times; or some of its pages are missing.
    """
    axes = StackAxes.read(description)
    if axes is None or (axes.images is None and pages == 1):
        return
    shape = f"{path}: a stack of {axes.channels} channels, {axes.slices} slices and {axes.times} times"
    if axes.channels > 1:
        raise SourceError(
            f"{shape}, expected one channel. Save one of them alone, in ImageJ with Image > Color > Split Channels, or "
            "all as one RGB image a time."
        )
    if axes.slices > 1 and axes.times > 1:
        raise SourceError(
            f"{shape}, expected slices or times. Save one slice, or a projection, of each time, in ImageJ with "
            "Image > Stacks > Z Project."
        )
    if axes.images is not None and axes.images > pages:
        raise SourceError(
            f"{path}: its header states {axes.images} images, and {pages} can be read: ImageJ writes more than "
            "4 GB so. Save it as images, in ImageJ with File > Save As > Image Sequence, and give the folder."
        )
    if axes.slices > 1:
        logger.info("%s: its %d slices are taken as frames.", path, axes.slices)
