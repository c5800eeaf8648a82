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
