"""Several images in one file: TIFF stacks, animated WebP and PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vos.errors import SourceError
from vos.io.images.foreign_messages import quietly
from vos.io.images.image_file import open_with_pillow, pixels_of, report_damage, silent_opencv, to_rgb
from vos.io.images.stack_axes import refuse_unclear_axes
from vos.io.images.value_scale import ValueScale, evenly_spaced, find_value_scale
from vos.types.arrays import AnyArray, Image

_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 0b101
_DESCRIPTION = 270


class ImagePages:
    """The images of one file, in order; an open file, to be closed."""

    def __init__(self, path: Path) -> None:
        """Open a file and find its pages.

        A TIFF file's thumbnails and transparency masks are no pages.

        Args:
            path: an image file.
        Raises:
            SourceError: it is none, or damaged.
        """
        self._path = path
        self._image: Any = open_with_pillow(path)
        self._scale: ValueScale | None = None
        try:
            self._pages, _ = quietly(self._find_pages, alone=True)
        except Exception as error:  # Pillow's formats raise errors of any kind on damaged files
            self._image.close()
            raise SourceError(f"{path}: its pages cannot be counted ({error}); it is damaged or cut short.") from error

    def __len__(self) -> int:
        return len(self._pages)

    def check_axes(self) -> None:
        """Check that the pages are the frames of one video, as the file itself describes them.

        Raises:
            SourceError: they have several channels, or depths and times; or some are missing.
        """
        if self._image.format == "TIFF":
            self._image.seek(0)
            refuse_unclear_axes(self._path, str(self._image.tag_v2.get(_DESCRIPTION, "")), len(self))

    def learn_scale(self) -> ValueScale | None:
        """Estimate from some pages the scale that reduces all pages to 8 bits; None if pages have 8 bits.

        Raises:
            SourceError: one of those pages is damaged or cut short.
        """
        first = self._pixels(0)
        if first.dtype != np.uint8:
            self._scale = find_value_scale([first, *(self._pixels(page) for page in evenly_spaced(len(self))[1:])])
        return self._scale

    def read(self, page: int) -> Image:
        """Read a page.

        Args:
            page: from 0.
        Returns:
            uint8 (H, W, 3), RGB, upright.
        Raises:
            SourceError: the page is damaged or cut short.
        """
        return to_rgb(self._pixels(page), self._scale)

    def _pixels(self, page: int) -> AnyArray:
        """(H, W) grey or (H, W, 3) RGB: uint8, uint16, int32 or float32."""
        pixels, said = quietly(lambda: self._decode(page), alone=True)
        report_damage(self._path, said)
        return pixels

    def _decode(self, page: int) -> AnyArray:
        try:
            self._go_to(self._pages[page])
            pixels = pixels_of(self._image)
        except Exception as error:  # as above
            if self._image.format == "TIFF":
                return self._with_opencv(page, error)
            raise self._damaged(page, error) from error
        return self._with_opencv(page, None) if pixels is None else pixels

    def seconds(self) -> list[float] | None:
        """Presentation time of each page of an animation, seconds from 0; None if the file states no durations.

        Raises:
            SourceError: a page is damaged or cut short.
        """
        if self._image.format == "TIFF":
            return None
        times, now = [], 0.0
        for page in self._pages:
            try:
                self._go_to(page)
                self._image.load()  # WebP states the duration with the pixels
            except Exception as error:  # as above
                raise self._damaged(page, error) from error
            duration = float(self._image.info.get("duration") or 0)
            if duration <= 0:
                return None
            times.append(now)
            now += duration / 1000
        return times

    def close(self) -> None:
        """Release the file."""
        self._image.close()

    def _go_to(self, page: int) -> None:
        """Seek to a page; animations are opened again to seek backward, which Pillow gets wrong for PNG."""
        if page < self._image.tell() and self._image.format != "TIFF":
            self._image.close()
            self._image = open_with_pillow(self._path)
        self._image.seek(page)

    def _find_pages(self) -> list[int]:
        count = int(getattr(self._image, "n_frames", 1))
        if self._image.format != "TIFF":
            return list(range(count)) if self._image.format != "MPO" else [0]
        pages = []
        for page in range(count):
            self._image.seek(page)
            if not int(self._image.tag_v2.get(_SUBFILE_TYPE, 0)) & _REDUCED_OR_MASK:
                pages.append(page)
        return pages or [0]

    def _with_opencv(self, page: int, why: Exception | None) -> AnyArray:
        """Read what Pillow cannot: colours of more than 8 bits, some compressions and sample layouts."""
        cv2 = silent_opencv()
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        good, images = cv2.imreadmulti(str(self._path), self._pages[page], 1, flags=flags)
        if not good or not images:
            raise self._damaged(page, why) from why
        return np.asarray(images[0])[..., ::-1]

    def _damaged(self, page: int, why: Exception | None) -> SourceError:
        reason = f" ({why})" if why else ""
        return SourceError(f"{self._path}: page {page} of {len(self)} is damaged or cut short{reason}.")
