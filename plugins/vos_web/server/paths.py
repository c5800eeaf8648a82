"""Check the paths that the page names: they must lie below a few folders, with links resolved."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from natsort import natsorted, ns

from vos.plugin import IMAGE_SUFFIXES, ImagePages, InputError

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".mkv", ".webm", ".ogv", ".avi", ".flv", ".wmv", ".asf", ".mxf",
        ".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts", ".h264", ".264", ".h265", ".hevc", ".m2v", ".y4m", ".gif",
        ".3g2", ".f4v", ".ogg", ".ogm", ".nut", ".ivf", ".dv", ".m1v", ".mjpeg", ".mjpg",
    }
)  # fmt: skip
STACK_SUFFIXES = frozenset({".tif", ".tiff"})
"""Of image files whose pages are frames."""
MAX_ENTRIES = 2000


class OutsideError(InputError):
    """A path that leads out of the folders that the page may use."""


class AllowedFolders:
    """The folders below which the page reads videos and writes exports."""

    def __init__(self, folders: Iterable[Path], unlisted: Iterable[Path] = ()) -> None:
        """Resolve the folders.

        Args:
            folders: existing folders; the first one is where the page begins to browse.
            unlisted: more folders, which messages and the list of places leave out.
        """
        self.listed = tuple(dict.fromkeys(folder.resolve() for folder in folders))
        self.folders = tuple(dict.fromkeys([*self.listed, *(folder.resolve() for folder in unlisted)]))

    def resolve(self, text: str) -> Path:
        """Make an absolute path of what the page sent.

        Args:
            text: an absolute path, or one relative to the first folder; ``~`` is the home folder.
        Returns:
            The path with ``..`` and links resolved; it need not exist.
        Raises:
            OutsideError: it leads out of the allowed folders.
            InputError: no path at all.
        """
        if not text.strip() or "\0" in text:
            raise InputError("no path was given. Type one, or choose a video in the list.")
        try:
            path = (self.folders[0] / Path(text.strip()).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{text[:200]}: is no path ({error}).") from None
        if not any(path.is_relative_to(folder) for folder in self.folders):
            listed = ", ".join(map(str, self.listed))
            raise OutsideError(f"{path}: lies outside of {listed}. Start `vos web --root FOLDER` to allow another one.")
        return path

    def browse(self, text: str) -> dict[str, Any]:
        """List a folder for the page.

        Args:
            text: a folder, or empty for the first allowed one.
        Returns:
            ``path``, ``parent`` (or None), ``frames`` (number of images in it), ``folders`` and ``videos`` by name;
            TIFF files are videos where the first one has several pages.
        Raises:
            InputError: outside, or not a folder that can be read.
        """
        folder = self.resolve(text) if text else self.folders[0]
        try:
            entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
            folders = [entry.name for entry in entries if entry.is_dir()]
            files = [entry.name for entry in entries if entry.is_file()]
        except OSError as error:
            raise InputError(f"{folder}: cannot be read ({error.strerror}).") from error
        suffixes = VIDEO_SUFFIXES | (STACK_SUFFIXES if _holds_stacks(folder, files) else frozenset())
        videos = [name for name in files if Path(name).suffix.lower() in suffixes]
        parent = folder.parent
        above = parent != folder and any(parent.is_relative_to(allowed) for allowed in self.folders)
        return {
            "path": str(folder),
            "parent": str(parent) if above else None,
            "roots": [str(allowed) for allowed in self.listed if allowed.is_dir()],
            "folders": natsorted(folders, alg=ns.IGNORECASE)[:MAX_ENTRIES],
            "videos": natsorted(videos, alg=ns.IGNORECASE)[:MAX_ENTRIES],
            "frames": sum(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files),
        }


def _holds_stacks(folder: Path, names: Iterable[str]) -> bool:
    """Test whether the first TIFF file of a folder has several pages."""
    first = min((name for name in names if Path(name).suffix.lower() in STACK_SUFFIXES), default=None)
    if first is None:
        return False
    try:
        pages = ImagePages(folder / first)
    except InputError:
        return False
    count = len(pages)
    pages.close()
    return count > 1
