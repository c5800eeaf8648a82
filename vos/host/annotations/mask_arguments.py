"""The values of ``--mask``: ``[INDEX:][OBJECT=]FILE``, or a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vos.errors import OptionError
from vos.host.annotations.annotation_loading import GivenAnnotations

_OBJECT = re.compile(r"[^/\\:=]+")


def parse_mask_arguments(texts: Sequence[str], start: int) -> GivenAnnotations:
    """Read the values of ``--mask``.

    ``FILE`` is the mask of the first frame, ``INDEX:FILE`` that of another. ``FILE`` alone may be another tool's, with
    many frames. ``OBJECT=FILE`` is the mask of one object, by its id or by a name; ``OBJECT=FOLDER`` has a mask of it
    for each frame that a file is named after. A folder alone gives a mask for each frame, or holds a folder for each
    object. A path that exists as it stands is taken as it is.

    Args:
        texts: the values, in order.
        start: index of the first frame.
    Returns:
        Annotations as ``vos.track`` takes them; None where there is no value.
    Raises:
        OptionError: two masks for one frame or one object, a folder beside other masks, or an empty value.
    """
    if not texts:
        return None
    if "" in texts:
        raise OptionError("--mask is empty, expected a file, INDEX:FILE, OBJECT=FILE or a folder.")
    if len(texts) == 1 and _split(texts[0], start) == (start, None, texts[0]):
        return texts[0]
    plain: dict[int, str] = {}
    objects: dict[int, dict[str, str]] = {}
    given: dict[int | str, Any] = {}
    for text in texts:
        frame, name, path = _split(text, start)
        if name is None:
            if Path(path).is_dir():
                raise OptionError(f"--mask {text}: a folder is given alone, or for one object: --mask cup={text}.")
            if frame in plain:
                raise OptionError(
                    f"frame {frame} has two masks: {plain[frame]} and {path}. "
                    f"Say whose they are, --mask 1={plain[frame]} --mask 2={path}, or give one with all objects."
                )
            plain[frame] = path
        elif Path(path).is_dir():
            if name in given:
                raise OptionError(f"object {name} has two folders: {given[name]} and {path}. Give one.")
            given[name] = path
        elif name in objects.setdefault(frame, {}):
            raise OptionError(f"object {name} has two masks of frame {frame}. Give one.")
        else:
            objects[frame][name] = path
    for frame in sorted({*plain, *objects}):
        if frame not in objects:
            given[frame] = plain[frame]
        else:
            # The mask without an object's name holds the frame's other objects.
            given[frame] = {**objects[frame], **({None: plain[frame]} if frame in plain else {})}
    return given


def _split(text: str, start: int) -> tuple[int, str | None, str]:
    """Frame index, object's name if there is one, and path."""
    if Path(text).exists():
        return start, None, text
    frame, path = start, text
    index, colon, rest = text.partition(":")
    if colon and index.isdecimal():
        frame, path = int(index), rest
    name, equals, file = path.partition("=")
    if equals and _OBJECT.fullmatch(name) and not Path(path).exists():
        return frame, name.strip(), file
    return frame, None, path
