"""JSON from files that anyone can have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: UTF-8, with or without a byte order mark.
    Returns:
        Its content.
    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or nested more deeply than the parser reads.
    """
    text = path.read_text(encoding="utf-8-sig")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None


def plain_json(data: Any) -> Any:
    """Convert data to what a JSON file gives back.

    Args:
        data: dicts, lists and values; keys are text, numbers, booleans or None.
    Returns:
        The same in dicts with text keys, lists, text, numbers, booleans and None. NaN and infinities, which JSON lacks,
        become None; a value of any other type becomes its text.
    """
    return json.loads(json.dumps(data, default=str), parse_constant=lambda constant: None)
