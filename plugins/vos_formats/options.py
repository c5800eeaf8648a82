"""Options of the export formats, which ``vos export -O`` and the writers take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vos.plugin import option

_PATH = "File or folder to write; by default one named after the format, beside the masks."
_LABEL = 'One class name for all objects; by default each object is a class of its own, "object 1" and so on.'
_IMAGES = "Also write the frames as JPEG, to the folder images."
_SIMPLIFY = "Leave out polygon points that are nearer to the outline than this, in pixels; 0 keeps the exact outline."


@dataclass(frozen=True)
class FileOptions:
    """Options of formats that need a path alone."""

    path: Path | None = option(None, _PATH)


@dataclass(frozen=True)
class LabelOptions:
    """Options of formats that have class names and may include the frames."""

    path: Path | None = option(None, _PATH)
    label: str | None = option(None, _LABEL)
    images: bool = option(False, _IMAGES)


@dataclass(frozen=True)
class PolygonOptions:
    """Options of formats whose masks may be polygons."""

    path: Path | None = option(None, _PATH)
    label: str | None = option(None, _LABEL)
    images: bool = option(False, _IMAGES)
    polygons: bool = option(False, "Write polygons in place of run-length masks: one an object and frame.")
    simplify: float = option(0.0, _SIMPLIFY)

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a value is out of its range.
        """
        _check_simplify(self.simplify)


@dataclass(frozen=True)
class YoloOptions:
    """Options of YOLO, whose masks are always polygons."""

    path: Path | None = option(None, _PATH)
    label: str | None = option(None, _LABEL)
    images: bool = option(False, _IMAGES)
    simplify: float = option(0.0, _SIMPLIFY)

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a value is out of its range.
        """
        _check_simplify(self.simplify)


@dataclass(frozen=True)
class MotsOptions:
    """Options of MOTS."""

    path: Path | None = option(None, _PATH)
    category: int = option(1, "Class id of all objects, 1 to 64: in KITTI MOTS 1 is a car and 2 a person.")

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a value that 16 bits cannot hold.
        """
        if not 1 <= self.category <= 64 or self.category == 10:
            raise ValueError("category is 1 to 64, without 10, which means ignored")


def _check_simplify(simplify: float) -> None:
    if not 0 <= simplify < float("inf"):
        raise ValueError("simplify is 0 or more, in pixels")
