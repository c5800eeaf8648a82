"""The log of the detector of doubtful spans, from which a resumed run judges frames as an unbroken one does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vos.host.doubts import DoubtEntry
from vos.io.atomic_files import atomic_write, output_errors

NAME = "doubts.jsonl"


class DoubtLog:
    """A file with one line of JSON a frame, in the order of tracking."""

    def __init__(self, folder: Path) -> None:
        """Read and write nothing yet.

        Args:
            folder: of the saved states; made with the first line.
        """
        self._path = folder / NAME

    def append(self, entry: DoubtEntry) -> None:
        """Add a frame's line.

        Raises:
            OutputError: it cannot be written.
        """
        with output_errors(self._path):
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(entry))

    def read(self) -> list[DoubtEntry]:
        """Read the lines up to the first damaged one, such as a power cut leaves; none of a link."""
        if self._path.is_symlink() or self._path.parent.is_symlink():
            return []
        entries: list[DoubtEntry] = []
        try:
            for line in self._path.read_text(encoding="utf-8").splitlines():
                entries.append(DoubtEntry.of(json.loads(line)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return entries
        return entries

    def rewrite(self, entries: Sequence[DoubtEntry]) -> None:
        """Replace the lines.

        Raises:
            OutputError: they cannot be written.
        """
        atomic_write(self._path, "".join(map(_line, entries)))


def _line(entry: DoubtEntry) -> str:
    return json.dumps(vars(entry)) + "\n"
