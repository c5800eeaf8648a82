"""Shipped formats of other tools: results are exported to them, and masks imported from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from vos.plugin import (
    AnnotationError,
    FormatSpec,
    ImportedMasks,
    Shorthand,
    VosError,
    Writer,
    WriterSpec,
    hookimpl,
)
from vos_formats.options import FileOptions, LabelOptions, MotsOptions, PolygonOptions, YoloOptions


@hookimpl
def vos_formats() -> Sequence[FormatSpec]:
    """Offer the formats; each module is imported when its format is used."""
    return [
        FormatSpec(
            "youtube-vis", "YouTube-VIS JSON (COCO for videos): a track an object.",
            _writer("youtube_vis", "YoutubeVisWriter"), _importer("youtube_vis", "read_youtube_vis"), LabelOptions,
        ),
        FormatSpec(
            "coco", "COCO JSON: instances a frame, with track ids.",
            _writer("coco", "CocoWriter"), _importer("coco", "read_coco"), PolygonOptions,
        ),
        FormatSpec(
            "cvat", "CVAT for video 1.1 XML: a track an object, of masks or polygons.",
            _writer("cvat", "CvatWriter"), _importer("cvat", "read_cvat"), PolygonOptions,
        ),
        FormatSpec(
            "yolo", "YOLO segments: a text file a frame, and data.yaml.",
            _writer("yolo", "YoloWriter"), _importer("yolo", "read_yolo"), YoloOptions,
        ),
        FormatSpec(
            "label-studio", "Label Studio JSON: a task a frame, with brush masks.",
            _writer("label_studio", "LabelStudioWriter"), _importer("label_studio", "read_label_studio"), LabelOptions,
        ),
        FormatSpec(
            "mots", "MOTS: 16-bit PNG, class x 1000 + object id.",
            _writer("folders", "MotsWriter"), _importer("folders", "read_mots"), MotsOptions,
        ),
        FormatSpec(
            "sa-v", "SA-V: a folder an object with a binary PNG a frame.",
            _writer("folders", "SavWriter"), _importer("folders", "read_sav"), FileOptions,
        ),
        FormatSpec(
            "npz", "NumPy file with the label maps of all frames.",
            _writer("npz", "NpzWriter"), _importer("npz", "read_npz"), FileOptions,
        ),
        FormatSpec(
            "tar", "One tar file with the palette PNG of all frames.",
            _writer("shards", "TarWriter"), _importer("shards", "read_tar"), FileOptions,
        ),
        FormatSpec(
            "png", "Black and white PNG, one a frame and object.",
            _writer("folders", "PngWriter"), _importer("folders", "read_png"), FileOptions,
        ),
        FormatSpec("labelme", "LabelMe JSON, a file an image (read only).", None, _importer("labelme", "read_labelme")),
    ]  # fmt: skip


@hookimpl
def vos_writers() -> Sequence[WriterSpec]:
    """Offer COCO under the writer's name that ``--rle`` stands for."""
    make = _writer("coco", "CocoRleWriter")
    summary = "One COCO JSON with run-length masks (pycocotools format)."
    flag = Shorthand("--rle", "Also write a COCO run-length JSON.", option="path", metavar="FILE")
    return [WriterSpec("coco-rle", summary, make, LabelOptions, (flag,))]


def _writer(module: str, name: str) -> Callable[[Any], Writer]:
    def make(options: Any) -> Writer:
        made: Writer = getattr(import_module(f"vos_formats.{module}"), name)(options)
        return made

    return make


def _importer(module: str, name: str) -> Callable[[Path], list[ImportedMasks] | None]:
    def read(path: Path) -> list[ImportedMasks] | None:
        importer = getattr(import_module(f"vos_formats.{module}"), name)
        try:
            found: list[ImportedMasks] | None = importer(path)
        except (VosError, PermissionError, MemoryError, AssertionError, ImportError, NameError):
            raise
        except OSError as error:
            raise AnnotationError(f"{error.filename or path}: cannot be read ({error.strerror or error}).") from error
        except Exception as error:  # a key that is missing, text in place of a number
            reason = " ".join(str(error).split())[:200]
            what = name.removeprefix("read_").replace("_", "-")
            raise AnnotationError(f"{path}: not {what} as expected ({type(error).__name__}: {reason}).") from error
        return found

    return read
