"""A published file of weights."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Checkpoint:
    """A published file of weights, as a plugin offers it with ``vos_checkpoints``.

    Attributes:
        name: what options and ``vos weights`` call it (``"vit_b"``).
        file_name: its name in the cache folder.
        address: where it is published (https).
        sha256: of the file, hexadecimal.
        licence: SPDX name.
        model: the model that the weights belong to, as shown to the user.
        size: bytes, or None where the publisher does not say.
    Raises:
        ValueError: an attribute does not fit; the message names it.
    """

    name: str
    file_name: str
    address: str
    sha256: str
    licence: str
    model: str
    size: int | None = None

    def __post_init__(self) -> None:
        """Check the attributes."""
        expected = {
            "name": (r"\S+", "a name without spaces"),
            "file_name": (r"[^\s/\\.][^/\\]*", "a file's name without a folder"),
            "address": (r"https?://\S+", "an address that begins with https://"),
            "sha256": (r"[0-9a-f]{64}", "64 hexadecimal digits in lower case"),
            "licence": (r"\S.*", "an SPDX name"),
            "model": (r"\S.*", "a line of text"),
        }
        for attribute, (pattern, words) in expected.items():
            value = getattr(self, attribute)
            if not (isinstance(value, str) and re.fullmatch(pattern, value)):
                raise ValueError(f'checkpoint "{self.name}": {attribute} is {value!r}, expected {words}.')
        if self.size is not None and not (isinstance(self.size, int) and self.size > 0):
            raise ValueError(f'checkpoint "{self.name}": size is {self.size!r}, expected bytes or None.')
