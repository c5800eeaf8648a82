"""Sort files by the numbers in their names: ``2.jpg`` before ``10.jpg``."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

_SIGNED = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort files by the numbers in their names: ``2.jpg`` before ``10.jpg``.

    Where all names differ in one number alone and that has decimals or a sign (``0.125``, ``-3``), its value decides.
    A hyphen that all names have (``frame-1``) is no sign, and ``1.9``, ``1.10`` are parts of a version.

    Args:
        paths: files of one folder.
    Returns:
        The same files in order.
    """
    listed = list(paths)
    if _are_padded_numbers([path.name for path in listed]):
        return sorted(listed, key=lambda path: path.name)
    from natsort import natsorted, ns

    if not are_decimals(listed):
        return natsorted(listed, key=lambda path: path.name, alg=ns.PATH)
    ordered = _by_value(listed)
    logger.info(
        "%s: names are read as numbers with decimals or signs, from %s to %s.",
        ordered[0].parent,
        ordered[0].stem,
        ordered[-1].stem,
    )
    return ordered


def are_decimals(paths: Iterable[Path]) -> bool:
    """Test whether the numbers in names are decimal or signed numbers; see ``natural_order``."""
    parts = _varying([path.stem for path in paths])
    if not parts or not all(_SIGNED.fullmatch(part) for part in parts):
        return False
    decimals = [part.partition(".")[2] for part in parts]
    if any(decimals):
        # Unpadded decimals never end in 0: 1.10 after 1.9 is a version.
        return len(set(map(len, decimals))) == 1 or not any(len(d) > 1 and d.endswith("0") for d in decimals)
    return any(part[0] in "+-" for part in parts)


def _are_padded_numbers(names: list[str]) -> bool:
    """Test whether names are numbers of equally many digits with one ending, which sort as text ten times as fast."""
    parts = [name.partition(".") for name in names]
    alike = len({(len(number), ending) for number, _, ending in parts}) == 1
    return alike and all(number.isascii() and number.isdigit() for number, _, _ in parts)


def _by_value(paths: list[Path]) -> list[Path]:
    from natsort import natsorted, ns

    values = _varying([path.stem for path in paths])
    order = natsorted(range(len(paths)), key=lambda at: values[at], alg=ns.REAL)
    return [paths[at] for at in order]


def _varying(stems: list[str]) -> list[str]:
    """Return the part of each name that differs between names; numbers with decimals and signs are not split."""
    if len(stems) < 2 or all(_SIGNED.fullmatch(stem) for stem in stems):
        return stems
    begin, end = _common_beginning(stems), _common_beginning([stem[::-1] for stem in stems])
    return [stem[begin : len(stem) - end] for stem in stems]


def _common_beginning(texts: list[str]) -> int:
    """Count the first characters that all texts share, without a number at the end of these."""
    same = os.path.commonprefix(texts)  # noqa: RUF071  # by character is correct here
    return len(re.sub(r"[0-9.]+$", "", same))
