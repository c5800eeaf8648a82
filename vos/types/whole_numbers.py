"""Whole numbers of any type, such as those that numpy gives, as Python's own: a record keeps them as numbers."""

from __future__ import annotations

import operator
from typing import Any


def whole_number(value: Any, what: str, error: type[Exception]) -> int:
    """Convert a whole number of any type to an ``int``.

    Args:
        value: an ``int``, or a number of numpy or of another library; 3.0 is none.
        what: what it is, as the message begins.
        error: the exception to raise.
    Returns:
        The number.
    Raises:
        Exception: ``error``, where it is not a whole number.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise error(f"{what} is {value!r}, expected a whole number.") from None
