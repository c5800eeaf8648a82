"""Layout of a DAVIS or YouTube-VOS tree: its sets, frames and annotations.

DAVIS: ``JPEGImages/480p/SEQUENCE/00000.jpg``, ``Annotations/480p/SEQUENCE/00000.png``,
``ImageSets/2017/val.txt`` (one name a line), ``Annotations_unsupervised`` in the unsupervised
release. YouTube-VOS: the same without a resolution and without ``ImageSets``, and ``meta.json``.
"""

from __future__ import annotations

from pathlib import Path

from vos.errors import InputError
from vos.io.natural_order import natural_order

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
LONGEST_LINE = 1000  # characters; DAVIS-2016 lists two paths a line
IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png"})


class DavisTree:
    """A dataset on disk in the DAVIS or YouTube-VOS layout."""

    def __init__(self, root: Path | str, resolution: str | None = None, *, unsupervised: bool = False) -> None:
        """Find the folders.

        Args:
            root: the folder that holds ``JPEGImages`` and ``Annotations``.
            resolution: folder between these and the sequences; None takes the first of ``480p``,
                ``Full-Resolution`` and ``1080p`` that is there, else none.
            unsupervised: take ``Annotations_unsupervised`` where it is there.
        Raises:
            InputError: ``Annotations`` or the resolution is not there.
        """
        self.root = Path(root)
        annotations = self.root / "Annotations"
        if unsupervised and (self.root / "Annotations_unsupervised").is_dir():
            annotations = self.root / "Annotations_unsupervised"
        if not annotations.is_dir():
            raise InputError(f"{self.root}: no folder Annotations in it. Expected the root of a DAVIS-like tree.")
        found = [name for name in RESOLUTIONS if (annotations / name).is_dir()]
        if resolution is not None and not (annotations / resolution).is_dir():
            there = ", ".join(found) or "none of its own"
            raise InputError(f"{annotations}: no resolution {resolution}. There is: {there}.")
        self.resolution = resolution or (found[0] if found else "")
        self.annotation_folder = annotations / self.resolution
        self.frame_folder = self.root / "JPEGImages" / self.resolution

    def sets(self) -> list[str]:
        """List the sets (``"2016/val"``), sorted; empty where the tree has no ``ImageSets``."""
        folder = self.root / "ImageSets"
        return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.txt"))

    def sequences(self, name: str | None = None) -> list[str]:
        """List the sequences of a set.

        Args:
            name: such as ``"2017/val"``; None for all that are annotated.
        Returns:
            Names, in the order of the set's file, or sorted.
        Raises:
            InputError: no such set, an empty one, or a sequence that has no annotations.
        """
        if name is None:
            folders = (path for path in self.annotation_folder.iterdir() if path.is_dir())
            return sorted(path.name for path in folders if not path.name.startswith("."))
        path = self.root / "ImageSets" / f"{name}.txt"
        if not path.is_file():
            there = ", ".join(self.sets()) or "none"
            raise InputError(f"{self.root}: no set {name}. There are: {there}.")
        # DAVIS-2016 also lists frames: "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png".
        names = list(dict.fromkeys(line.rsplit("/", 2)[-2] if "/" in line else line for line in read_names(path)))
        lost = [name for name in names if not (self.annotation_folder / name).is_dir()]
        if lost or not names:
            what = f"{len(lost)} of its sequences have no annotations, first {lost[0]}" if lost else "it is empty"
            raise InputError(f"{path}: {what}.")
        return names

    def frames(self, sequence: str) -> list[Path]:
        """List a sequence's images, in order.

        Args:
            sequence: its name.
        Returns:
            Paths.
        Raises:
            InputError: there are none.
        """
        return _files(self.frame_folder / sequence, IMAGE_ENDINGS, "images")

    def annotations(self, sequence: str) -> list[Path]:
        """List a sequence's label maps, in order; there may be fewer than images.

        Args:
            sequence: its name.
        Returns:
            Paths.
        Raises:
            InputError: there are none.
        """
        return _files(self.annotation_folder / sequence, frozenset({".png"}), "annotations")


def read_names(path: Path) -> list[str]:
    """Read a text file of names, one a line.

    Args:
        path: UTF-8, with or without the mark that some editors put first.
    Returns:
        Its lines without what surrounds them; empty ones are left out.
    Raises:
        InputError: it cannot be read, or is no such text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text in UTF-8. Save it as UTF-8, one name a line.") from error
    lines = [line.strip() for line in text.splitlines()]
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST_LINE or "\0" in line:
            raise InputError(f"{path}: line {number} is no name ({len(line)} characters). Expected one name a line.")
    return [line for line in lines if line]


def _files(folder: Path, endings: frozenset[str], what: str) -> list[Path]:
    there = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    found = natural_order(path for path in there if path.suffix.lower() in endings)
    if not found:
        raise InputError(f"{folder}: no {what} in it.")
    return found
