"""From clicks, boxes and scribbles to a mask, with an installed initializer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vos.plugin import (
    AnnotationError,
    Frame,
    InputError,
    LabelMap,
    Plugins,
    Runtime,
    WeightsError,
    atomic_write,
    initialize,
    read_label_map,
    write_label_map,
)
from vos.weights import local_path
from vos_web.server.run_length import decode_runs

MAX_NUMBERS = 20_000
VOID = 255
MAX_SAM_POINTS = 8
"""Points of one scribble that Segment Anything gets: it learnt from few."""
METHODS = {"sam": ("sam-points", "sam-boxes"), "clicks": ("clicks",), "grabcut": ("grabcut",)}
"""Initializers that each method needs; the one that people get first comes first."""
CORRECTING = ("clicks",)
"""Methods, and initializers of the same names, that take the present mask and answer with the corrected one."""
PRIMARY = "primary-object"
"""The initializer that is asked without a mark, for what moves or stands out."""
SAM_MODELS = ("vit_t", "vit_b", "vit_l", "vit_h")
"""Known Segment Anything weights, the fastest first."""


def methods_of(plugins: Plugins, runtime: Runtime, sam_checkpoint: Path | None) -> list[str]:
    """List the methods that can be used now, the one to begin with first.

    Args:
        plugins: where initializers are looked up.
        runtime: its cache folder is searched for weights.
        sam_checkpoint: Segment Anything's file, or None.
    """
    names = set(plugins.initializers.names())
    found = [method for method, needed in METHODS.items() if names.issuperset(needed)]
    with_weights = sam_checkpoint is not None or _sam_model(runtime) is not None
    return [method for method in found if method != "sam" or with_weights]


def mask_from_prompts(
    frame: Frame,
    prompts: Mapping[str, Any],
    method: str,
    plugins: Plugins,
    runtime: Runtime,
    sam_checkpoint: Path | None = None,
) -> LabelMap:
    """Make an object's mask, or correct the one that it has.

    Args:
        frame: the frame.
        prompts: as the page sends them: ``box`` [x0, y0, x1, y1] or None, ``points`` [[x, y, label], ...],
            ``scribbles`` [{"label": 1 or 0, "xy": [[x, y], ...]}, ...]; label 1 is the object; ``mask``: the runs of
            the object's mask (see ``vos_web.server.run_length``) that the marks correct, for the methods of
            ``CORRECTING``, or nothing.
        method: one of ``METHODS``.
        plugins: where initializers are looked up.
        runtime: where their model runs.
        sam_checkpoint: Segment Anything's file; None takes a known one of the cache folder.
    Returns:
        uint8 (H, W): 0 and 1.
    Raises:
        InputError: the prompts do not read so, or the method finds nothing.
    """
    box = prompts.get("box")
    points = _rows(prompts.get("points") or [], 3)
    scribbles = _checked_scribbles(prompts.get("scribbles") or [])
    if method in ("clicks", "grabcut"):
        name, options = method, {"boxes": _box(box), "points": _points(points), "scribbles": _scribbles(scribbles)}
    elif method == "sam":
        points += [[x, y, label] for label, xy in scribbles for x, y in xy[:: -(-len(xy) // MAX_SAM_POINTS)]]
        options = {"points": _points(points)} if points else {"boxes": _box(box)}
        name = "sam-points" if points else "sam-boxes"
        options |= {"cache_embeddings": "true", **_sam_weights(runtime, sam_checkpoint)}
    else:
        raise InputError(f'there is no method "{method}".')
    given: dict[str, Any] = {k: v for k, v in options.items() if v}
    present = prompts.get("mask")
    with tempfile.TemporaryDirectory() as folder:
        if present and name in CORRECTING:
            given["mask"] = Path(folder) / "present.png"
            write_label_map(given["mask"], _mask_of_runs(present, frame))
        found = initialize(frame, name, given, runtime=runtime, plugins=plugins)
    mask: LabelMap = (found > 0).astype(np.uint8)
    return mask


def read_mask(content: bytes, frame: Frame, plugins: Plugins) -> LabelMap:
    """Read a mask file that was dropped on the page.

    Args:
        content: ids, the DAVIS palette's colours or black and white; else, with ``grabcut``, any colours on black or on
            a transparent background, with soft edges.
        frame: the frame that it is for.
        plugins: where initializers are looked up.
    Returns:
        uint8 (H, W) without void.
    Raises:
        InputError: it does not read so.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"
        atomic_write(path, content)
        try:
            try:
                label_map = read_label_map(path, frame.size)
            except AnnotationError:
                if "grabcut" not in plugins.initializers.names():
                    raise
                label_map = initialize(frame, "grabcut", {"mask": path, "refine": False}, plugins=plugins)
        except InputError as error:
            raise InputError(str(error).replace(str(path), "the mask")) from None
    without_void: LabelMap = label_map * (label_map != VOID)
    return without_void


def _mask_of_runs(runs: object, frame: Frame) -> LabelMap:
    try:
        content = np.array(runs, dtype="<u4").tobytes()
    except (TypeError, ValueError, OverflowError):
        raise InputError("the present mask is no list of runs.") from None
    present: LabelMap = (decode_runs(content, frame.size) > 0).astype(np.uint8)
    return present


def _sam_weights(runtime: Runtime, checkpoint: Path | None) -> dict[str, str]:
    if checkpoint is not None:
        return {"checkpoint": str(checkpoint)}
    model = _sam_model(runtime)
    if model is None:
        raise InputError("no Segment Anything weights are at hand. Choose another method.")
    return {"model": model}


def _sam_model(runtime: Runtime) -> str | None:
    """The fastest known model whose weights are in the cache folder."""
    for name in SAM_MODELS:
        try:
            if local_path(name, runtime.cache).is_file():
                return name
        except WeightsError:
            continue
    return None


def _box(box: Any) -> str:
    if box is None:
        return ""
    ((x0, y0, x1, y1),) = _rows([box], 4)
    return f"1:{x0:g},{y0:g},{x1:g},{y1:g}"


def _points(points: Iterable[list[float]]) -> str:
    return ";".join(f"1:{x:g},{y:g},{'+' if label else '-'}" for x, y, label in points)


def _checked_scribbles(given: Any) -> list[tuple[int, list[list[float]]]]:
    """Label and points of each scribble."""
    if not isinstance(given, list) or not all(isinstance(scribble, dict) for scribble in given):
        raise InputError("scribbles are not a list of objects.")
    checked = [(1 if scribble.get("label") else 0, _rows(scribble.get("xy") or [], 2)) for scribble in given]
    return [(label, xy) for label, xy in checked if xy]


def _scribbles(scribbles: Iterable[tuple[int, list[list[float]]]]) -> str:
    lines = ((label, " ".join(f"{x:g},{y:g}" for x, y in xy)) for label, xy in scribbles)
    return ";".join(f"1:{line} {'+' if label else '-'}" for label, line in lines)


def _rows(values: Any, width: int) -> list[list[float]]:
    try:
        array = np.array(values, dtype=np.float64).reshape(-1, width) if len(values) else np.zeros((0, width))
    except (TypeError, ValueError):
        raise InputError(f"prompts do not read as rows of {width} numbers.") from None
    if array.size > MAX_NUMBERS or not np.isfinite(array).all():
        raise InputError("prompts hold too many numbers, or some that are none.")
    return [[float(value) for value in row] for row in array]
