"""Text that is safe to print in a terminal, whoever wrote the names and values in it."""

from __future__ import annotations

LONGEST_LINE = 1200
"""Characters of one line of a message; a name or value of a file can be of any length."""


def printable(text: str) -> str:
    """Remove control characters from a message, and truncate very long lines.

    Args:
        text: a message; its line breaks and tabs stay.
    Returns:
        The same with a question mark for every other control character (terminal escapes among them), and lines of at
        most ``LONGEST_LINE`` characters and three dots.
    """
    lines = []
    for line in text.split("\n"):
        shown = "".join("?" if (ord(c) < 32 and c != "\t") or 127 <= ord(c) < 160 else c for c in line)
        lines.append(shown if len(shown) <= LONGEST_LINE else f"{shown[:LONGEST_LINE]}...")
    return "\n".join(lines)
