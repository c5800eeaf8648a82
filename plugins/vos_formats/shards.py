"""Shards: all masks of a sequence in one tar file, for disks and object stores that are slow with small files."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from vos.plugin import (
    PALETTE,
    AnnotationError,
    Frame,
    ImportedFrame,
    ImportedMasks,
    LabelMap,
    Prediction,
    object_ids,
    output_errors,
    read_label_map,
    safe_name,
)
from vos_formats.importing import natural, reading, sequence_of, stem_of
from vos_formats.output import FormatWriter


class TarWriter(FormatWriter):
    """``<sequence>/<frame>.png`` for every frame, DAVIS palette PNG; the same masks give the same bytes."""

    default_name = "masks.tar"

    def begin(self) -> None:
        """Begin; see the base class."""
        self._tar = tarfile.open(self.unfinished, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  # closed below

    def add(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Append one mask."""
        image = Image.fromarray(label_map)
        image.putpalette(PALETTE.tobytes())
        content = io.BytesIO()
        image.save(content, format="PNG", compress_level=1)
        entry = tarfile.TarInfo(f"{safe_name(self.run.sequence)}/{safe_name(frame.name)}.png")
        entry.size = content.tell()
        content.seek(0)
        with output_errors(self.path):
            self._tar.addfile(entry, content)

    def finish(self) -> None:
        """Finish the shard."""
        with self.replacing():
            self._tar.close()

    def abort(self, error: BaseException) -> None:
        """Remove unfinished files."""
        with suppress(OSError):  # a full disk
            self._tar.close()
        super().abort(error)


def read_tar(path: Path) -> list[ImportedMasks] | None:
    """Read shards of one sequence or more: PNG files in folders named after the sequences. Nothing is unpacked."""
    if path.suffix.lower() != ".tar" or not path.is_file():
        return None
    try:
        with tarfile.open(path, "r:") as tar:
            files = [entry.name for entry in tar if entry.isfile() and entry.name.lower().endswith(".png")]
    except (OSError, tarfile.TarError) as error:
        raise AnnotationError(f"{path}: cannot be read as a tar file ({error}).") from error
    names = [name for name in files if not name.rpartition("/")[2].startswith(".")]  # as "._00000.png" of macOS
    if not names:
        raise AnnotationError(f"{path}: holds no PNG file.")
    by_folder: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: natural(Path(name))):
        by_folder.setdefault(posixpath.normpath(name).rpartition("/")[0], []).append(name)
    return [
        ImportedMasks(
            safe_name(folder.replace("/", "_")) if folder else sequence_of(path, TarWriter.default_name), read
        )
        for folder, read in ((folder, _reader(path, held)) for folder, held in by_folder.items())
    ]


def _reader(path: Path, names: list[str]) -> Callable[[], Iterator[ImportedFrame]]:
    @reading(path, "PNG masks")
    def frames() -> Iterator[ImportedFrame]:
        values: set[int] = set()  # grey ones as stored, and ids of the other masks
        with tarfile.open(path, "r:") as tar:
            for name in names:
                stream = tar.extractfile(name)
                assert stream is not None, "only files are listed"
                content = stream.read()
                label_map = read_label_map(f"{path}: {name}", allow_empty=True, content=content)
                with Image.open(io.BytesIO(content)) as image:
                    if image.mode not in ("P", "L", "1"):
                        raise AnnotationError(f"{path}: {name} is {image.mode}, expected a palette or grey PNG of ids.")
                    values.update(np.unique(np.asarray(image)).tolist() if image.mode == "L" else object_ids(label_map))
                if 255 in values and len(values - {0}) > 1:
                    raise AnnotationError(
                        f"{path}: {name}: its grey masks hold 255 beside other values: an object, or void. "
                        "Write ids into palette PNG files."
                    )
                yield ImportedFrame(stem_of(name), label_map)

    return frames
