"""A folder that a run writes a file a frame to: each file is whole, and a folder that vanishes is noticed."""

from __future__ import annotations

from pathlib import Path

from vos.errors import OutputError
from vos.io.atomic_files import atomic_write
from vos.io.masks.mask_file import encode_label_map
from vos.types.arrays import LabelMap


class OutputFolder:
    """Writes files into a folder and its subfolders, and knows at the end whether they are still there.

    A folder that another program removes or empties in the middle of a run is an error: it is never made again, since
    the files of the frames before are lost.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder and those above it.

        Args:
            path: the folder; may be there, with files.
        Raises:
            OutputError: it cannot be made.
        """
        self.path = path
        self._identities: dict[Path, tuple[int, int]] = {}
        self._counts: dict[tuple[Path, str], int] = {}
        self._make(path, parents=True)

    def write(self, name: str, content: bytes | str, subfolder: str = "") -> None:
        """Write one file; a subfolder is made with its first file.

        Args:
            name: the file's name, another one in each call.
            content: bytes, or text (written as UTF-8).
            subfolder: name of a folder in this one, or empty for this one.
        Raises:
            OutputError: it cannot be written, or the folder is gone.
        """
        folder = self.path / subfolder
        if folder not in self._identities:
            self._make(folder, parents=False)
        try:
            atomic_write(folder / name, content)
        except OutputError as error:
            self._refuse_missing(folder, error)
            raise
        key = (folder, Path(name).suffix)
        self._counts[key] = self._counts.get(key, 0) + 1

    def write_label_map(self, name: str, label_map: LabelMap, subfolder: str = "") -> None:
        """Write a label map as a palette PNG; as ``write``.

        Args:
            name: the file's name.
            label_map: uint8 (H, W).
            subfolder: name of a folder in this one, or empty for this one.
        Raises:
            OutputError: it cannot be written, or the folder is gone.
        """
        self.write(name, encode_label_map(label_map), subfolder)

    def check(self) -> None:
        """Check at the end that all written files still exist.

        Raises:
            OutputError: a folder is gone or another one lies under its name, or files were removed from it.
        """
        for folder in self._identities:
            self._refuse_missing(folder)
        for (folder, suffix), count in self._counts.items():
            there = sum(path.suffix == suffix for path in folder.iterdir())
            if there < count:
                raise OutputError(
                    f"{folder}: {count - there} of the {count} files that were written are gone: "
                    "something removed them during the run, or two frames have one name. Run again."
                )

    def _make(self, folder: Path, *, parents: bool) -> None:
        try:
            folder.mkdir(parents=parents, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            if folder != self.path:
                self._refuse_missing(self.path, error)
            raise OutputError(f"{folder}: cannot be made ({error.strerror}). Choose another folder.") from error
        self._identities[folder] = status.st_dev, status.st_ino

    def _refuse_missing(self, folder: Path, cause: BaseException | None = None) -> None:
        try:
            status = folder.stat()
            same = (status.st_dev, status.st_ino) == self._identities[folder]
        except OSError:
            same = False
        if not same:
            raise OutputError(f"{folder}: something removed this folder during the run. Run again.") from cause
