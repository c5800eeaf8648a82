"""The phrases of a text that names objects."""

from __future__ import annotations


def split_phrases(text: str) -> tuple[str, ...]:
    """Split a text at semicolons; empty phrases and repeated ones drop out.

    Phrases that differ in capitals alone are repeated too: the models read small letters.

    Args:
        text: such as ``"dog; person"``.
    Returns:
        Phrases in order, without needless space.
    """
    phrases: dict[str, str] = {}
    for phrase in (" ".join(part.split()) for part in text.split(";")):
        if phrase:
            phrases.setdefault(phrase.lower(), phrase)
    return tuple(phrases.values())
