"""Base class of the export writers: output paths, unfinished files, names of frames and of objects."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

import cv2

from vos.plugin import (
    AnyArray,
    Frame,
    LabelMap,
    OptionError,
    OutputFolder,
    Prediction,
    Run,
    create_partial,
    discard_partial,
    finish_partial,
    output_errors,
    safe_name,
)

JPEG_QUALITY = 95


class FormatWriter:
    """Base of the formats' writers: a file or folder of its own, and whether the frames are stored as JPEG.

    Subclasses set ``default_name`` (in the run's own folder) and ``is_folder``, and implement ``begin``, ``add`` and
    ``finish``.
    """

    default_name = ""
    is_folder = False

    def __init__(self, options: Any) -> None:
        self.options = options
        self.path = Path()
        self.run: Run
        self.folder: OutputFolder
        self.needs_images = bool(getattr(options, "images", False))
        self._files = ExitStack()
        self._spools: dict[str, IO[bytes]] = {}
        self._unfinished: Path | None = None

    # The writer protocol.

    def outputs(self, folder: Path | None) -> list[Path]:
        """Name the file or folder, and the pictures that go beside it; see ``vos.plugin.NamingWriter``."""
        path = self._chosen(folder)
        if path is None:
            return []
        self._refuse_other_names(path)
        images = [path / "images" if self.is_folder else path.parent / "images"] if self.needs_images else []
        held = [file for file in path.rglob("*") if file.is_file()] if self.is_folder and path.is_dir() else []
        return [path, *images, *held]

    def open(self, run: Run) -> None:
        """Begin; see ``vos.plugin.Writer``."""
        path = self._chosen(run.output)
        if path is None:
            raise OptionError(f'{self.default_name}: nowhere to write. Give an output folder, or the option "path".')
        self._refuse_other_names(path)
        if self.is_folder and path.is_file():
            raise OptionError(f"{path}: is a file, expected a folder to write to.")
        self.path, self.run = path, run
        self.folder = OutputFolder(path if self.is_folder else path.parent)
        if not self.is_folder:
            self._unfinished = create_partial(path)  # whether it can be written is known at once
        self.begin()

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one frame."""
        if self.needs_images:
            self.folder.write(f"{safe_name(frame.name)}.jpg", jpeg_of(frame), "images")
        self.add(frame, label_map, prediction)

    def close(self) -> None:
        """Finish the output."""
        try:
            self.finish()
            self.folder.check()
        finally:
            self._clean()

    def abort(self, error: BaseException) -> None:
        """Remove unfinished files."""
        self._clean()

    # What subclasses do.

    def begin(self) -> None:
        """Prepare; the path is known and its folder exists."""

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Add one frame."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write the parts that need the whole sequence."""

    # What subclasses use.

    @property
    def unfinished(self) -> Path:
        """The temporary file of an output that is one file; ``replacing`` renames it."""
        assert self._unfinished is not None, "the output is a file, and open"
        return self._unfinished

    @contextmanager
    def replacing(self) -> Iterator[Path]:
        """Provide the file to write; it becomes the output if the block ends without an error.

        Raises:
            OutputError: it cannot be written, or another program has written the output during the run.
        """
        with output_errors(self.path):
            yield self.unfinished
        finish_partial(self.unfinished, self.path)

    @contextmanager
    def text_file(self) -> Iterator[IO[str]]:
        """Provide the file to write as text, as ``replacing``; names that are no UTF-8 are written byte for byte."""
        with (
            self.replacing() as path,
            path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as stream,
        ):
            yield stream

    def image_name(self, frame: Frame) -> str:
        """The frame's file name: the source's own file, or that of the JPEG that is, or can be, made of it."""
        files = self.run.source.frame_files
        if files is not None and frame.index < len(files) and not self.needs_images:
            return Path(files[frame.index]).name
        return f"{safe_name(frame.name)}.jpg"

    def label_of(self, object_id: int) -> str:
        """The class name of an object."""
        label: str | None = self.options.label
        return label or f"object {object_id}"

    def category_of(self, object_id: int) -> int:
        """The class number of an object, from 1."""
        return 1 if self.options.label else object_id

    def categories(self, object_ids: Iterable[int]) -> list[dict[str, Any]]:
        """The classes of objects, as COCO lists them."""
        numbers = {self.category_of(i): self.label_of(i) for i in sorted(object_ids)}
        return [{"id": number, "name": name, "supercategory": "object"} for number, name in numbers.items()]

    def spool(self, part: str, entry: str) -> None:
        """Store one line for later on disk, so that memory stays flat."""
        if part not in self._spools:
            self._spools[part] = self.temporary_file()
        with spool_errors():
            self._spools[part].write(f"{entry}\n".encode(errors="surrogateescape"))

    def spooled(self, part: str) -> Iterator[str]:
        """Read the lines of a part again."""
        stream = self._spools.get(part)
        if stream is None:
            return
        with spool_errors():
            stream.seek(0)
        for line in stream:
            yield line.rstrip(b"\n").decode(errors="surrogateescape")

    def temporary_file(self) -> IO[bytes]:
        """Open a file without a name, which goes with the writer, or with its process."""
        with spool_errors():
            return self._files.enter_context(TemporaryFile())

    def _chosen(self, folder: Path | None) -> Path | None:
        if self.options.path is not None:
            path = Path(self.options.path)
            # The formats' readers, other tools' too, know a file by its suffix.
            bare = not self.is_folder and not path.suffix and not path.is_dir()
            return path.with_suffix(Path(self.default_name).suffix) if bare else path
        return None if folder is None else folder / self.default_name

    def _refuse_other_names(self, path: Path) -> None:
        """Refuse a folder, or another suffix: in ``outputs``, before the run makes anything, and in ``open``."""
        if self.is_folder:
            return
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            raise OptionError(f"{path}: is a folder, expected a file to write.")
        suffix = Path(self.default_name).suffix
        if path.suffix.lower() != suffix:
            raise OptionError(f"{path}: is written as {suffix}, expected a name that ends so.")

    def _clean(self) -> None:
        if self._unfinished is not None:
            discard_partial(self._unfinished)
            self._unfinished = None
        with suppress(OSError):  # a full disk
            self._files.close()


def spool_errors() -> AbstractContextManager[None]:
    """Raise errors of files without a name as an ``OutputError`` that names their folder."""
    return output_errors(Path(gettempdir()))


def write_list(stream: IO[str], lines: Iterable[str]) -> None:
    """Write a JSON list of entries that are JSON already, one a line."""
    stream.write("[\n")
    for number, line in enumerate(lines):
        stream.write((",\n" if number else "") + line)
    stream.write("\n]")


def as_json(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"))


def jpeg_of(frame: Frame) -> bytes:
    """A frame's picture as a file."""
    bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
    good, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert good, "uint8 RGB pictures can be encoded"
    return content.tobytes()


def png_of(pixels: AnyArray) -> bytes:
    """A grey picture of 8 or 16 bits as a file."""
    good, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert good, "grey pictures of 8 and 16 bits can be encoded"
    return content.tobytes()
