"""Suggest the known name that a wrong one resembles, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name nearest to a wrong one.

    Args:
        name: as the user typed it.
        known: the names that exist.
    Returns:
        A sentence with a space before it, to be appended to a message; empty if no name is near.
    """
    close = get_close_matches(name, list(known), n=1)
    return f' Did you mean "{close[0]}"?' if close else ""
