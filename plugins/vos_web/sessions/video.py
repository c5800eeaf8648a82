"""The video of a session: the one that it began with, or an error."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vos.plugin import InputError, Plugins, Source, open_source
from vos_web.sessions.session import SessionFacts

END_BYTES = 1 << 16


class VideoChangedError(InputError):
    """A session's video has another length, size or content than when the session began."""


def open_video(facts: SessionFacts, plugins: Plugins) -> Source:
    """Open a session's video.

    Raises:
        VideoChangedError: it has another length, size or content.
        InputError: it is gone, or cannot be read.
    """
    source = open_source(facts.source, plugins)
    info = source.info
    changed = ""
    if info.frame_count != facts.frame_count or info.size != facts.size:
        has = f"the session has {facts.frame_count} of {facts.size}"
        changed = f"{info.frame_count} frames of {info.size}, {has}"
    elif has_other_content(facts):
        changed = "it is another file of the same length and size"
    if changed:
        source.close()
        raise VideoChangedError(
            f"{facts.source}: has changed since the session began: {changed}. Open the video by its path, here or with "
            "`vos web`: that begins a new session beside this one, which stays."
        )
    return source


def has_other_content(facts: SessionFacts) -> bool:
    """True if a session's video file is not the one that it began with, as far as the session knows it."""
    return facts.content is not None and content_of(Path(facts.source)) != facts.content


def content_of(path: Path) -> str | None:
    """Hash a video file's length and its first and last 64 KiB, where its headers lie; None for a folder."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(END_BYTES))
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END_BYTES))
        digest.update(file.read() + str(size).encode())
    return digest.hexdigest()
