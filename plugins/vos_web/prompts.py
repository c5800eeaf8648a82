"""From clicks, boxes and scribbles to a mask, with an installed initializer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vos.plugin import Frame, InputError, LabelMap, Plugins, Runtime, initialize

MAX_NUMBERS = 20_000
METHODS = {"grabcut": ("grabcut",), "sam": ("sam-points", "sam-boxes")}
"""Initializers that each method needs."""


def methods_of(plugins: Plugins, checkpoint_is_there: bool) -> list[str]:
    """List the methods that can be used now."""
    names = set(plugins.initializers.names())
    found = [method for method, needed in METHODS.items() if names.issuperset(needed)]
    return [method for method in found if method != "sam" or checkpoint_is_there]


def mask_from_prompts(
    frame: Frame, prompts: Mapping[str, Any], method: str, plugins: Plugins, runtime: Runtime
) -> LabelMap:
    """Make an object's mask.

    Args:
        frame: the frame.
        prompts: as the page sends them: ``box`` [x0, y0, x1, y1] or None, ``points`` [[x, y, label], ...],
            ``scribbles`` [{"label": 1 or 0, "xy": [[x, y], ...], "radius": r}, ...]; label 1 is the object.
        method: one of ``METHODS``.
        plugins: where initializers are looked up.
        runtime: where their model runs.
    Returns:
        uint8 (H, W): 0 and 1.
    Raises:
        InputError: the prompts do not read so, or the method finds nothing.
    """
    box = prompts.get("box")
    points = _rows(prompts.get("points") or [], 3)
    scribbles = prompts.get("scribbles") or []
    if method == "grabcut":
        options = {"boxes": _box(box), "points": _points(points), "scribbles": _scribbles(scribbles)}
        name = "grabcut"
    elif method == "sam":
        if points:
            options, name = {"points": _points(points)}, "sam-points"
        else:
            options, name = {"boxes": _box(box)}, "sam-boxes"
        options["cache_embeddings"] = "true"
    else:
        raise InputError(f'there is no method "{method}".')
    found = initialize(frame, name, {k: v for k, v in options.items() if v}, runtime=runtime, plugins=plugins)
    mask: LabelMap = (found > 0).astype(np.uint8)
    return mask


def _box(box: Any) -> str:
    if box is None:
        return ""
    ((x0, y0, x1, y1),) = _rows([box], 4)
    return f"1:{x0:g},{y0:g},{x1:g},{y1:g}"


def _points(points: Iterable[list[float]]) -> str:
    return ";".join(f"1:{x:g},{y:g},{'+' if label else '-'}" for x, y, label in points)


def _scribbles(scribbles: Any) -> str:
    if not isinstance(scribbles, list):
        raise InputError("scribbles are not a list.")
    texts = []
    for scribble in scribbles:
        if not isinstance(scribble, dict):
            raise InputError("a scribble is not an object.")
        rows = _rows(scribble.get("xy") or [], 2)
        line = " ".join(f"{x:g},{y:g}" for x, y in rows)
        texts.append(f"1:{line} {'+' if scribble.get('label') else '-'}")
    return ";".join(texts)


def _rows(values: Any, width: int) -> list[list[float]]:
    try:
        array = np.array(values, dtype=np.float64).reshape(-1, width) if len(values) else np.zeros((0, width))
    except (TypeError, ValueError):
        raise InputError(f"prompts do not read as rows of {width} numbers.") from None
    if array.size > MAX_NUMBERS or not np.isfinite(array).all():
        raise InputError("prompts hold too many numbers, or some that are none.")
    return [[float(value) for value in row] for row in array]
