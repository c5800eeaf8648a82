"""Timecodes: reading a source's, and counting frames on from one."""

from __future__ import annotations

import re
from pathlib import Path

from vos.plugin import OptionError, SourceInfo

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)([:;.])(\d{1,2})")


def timecode_of(info: SourceInfo) -> str | None:
    """The timecode of a video file's first frame, as its container states it; None if it states none that is valid."""
    import av  # here: the options, which are read at start, import this module

    if not Path(info.location).is_file():
        return None
    try:
        with av.open(str(Path(info.location).absolute()), metadata_errors="replace") as container:
            places = [container.metadata, *(stream.metadata for stream in container.streams)]
    except (OSError, av.error.FFmpegError):
        return None
    stated = (place["timecode"] for place in places if "timecode" in place)
    return next((timecode for timecode in stated if _FORM.fullmatch(timecode)), None)


def check_timecode(timecode: str | None) -> None:
    """Refuse a text that is no timecode; None is allowed.

    Args:
        timecode: what the user gave.
    Raises:
        ValueError: another form, or an hour, minute or second that a day does not have.
    """
    if timecode is not None and _FORM.fullmatch(timecode) is None:
        raise ValueError(f'timecode is "{timecode}", expected HH:MM:SS:FF such as 01:00:00:00')


def check_fits(timecode: str, fps: float) -> None:
    """Refuse a timecode that a video of this rate does not count.

    Args:
        timecode: valid, as ``check_timecode`` has it.
        fps: frames per second.
    Raises:
        OptionError: a frame number that no second has, or drop-frame at another rate than 30 or a multiple of it.
    """
    *_, mark, frame = _parts(timecode)
    rate = _counted(fps)
    if frame >= rate:
        raise OptionError(f"timecode={timecode}: a second has the frames 0 to {rate - 1}, at {fps:g} frames a second.")
    if mark != ":" and rate % 30:
        raise OptionError(
            f'timecode={timecode}: drop-frame ("{mark}") needs 29.97 or 59.94 frames a second, the video has {fps:g}. '
            'Write ":" before the frame.'
        )


def shifted(timecode: str, frames: int, fps: float, step: int = 1) -> str:
    """Count frames on from a timecode; ``;`` or ``.`` before the frames means drop-frame, which leaves out numbers.

    Args:
        timecode: ``HH:MM:SS:FF`` or ``HH:MM:SS;FF``, valid.
        frames: how many, 0 or more.
        fps: frames per second; the timecode counts to the nearest whole number of them.
        step: every so many frames one is written, and the timecode counts those.
    Returns:
        A timecode of the same kind; without drop-frame where the written rate has none.
    Source: SMPTE ST 12-1: drop-frame leaves out 2 numbers (at 30) a minute but for every tenth.
    """
    hours, minutes, seconds, mark, frame = _parts(timecode)
    rate, written = _counted(fps), _counted(fps / step)
    dropped = 2 * (rate // 30) if mark != ":" and rate % 30 == 0 else 0
    total_minutes = 60 * hours + minutes
    count = (total_minutes * 60 + seconds) * rate + frame - dropped * (total_minutes - total_minutes // 10) + frames
    if dropped:
        tens, rest = divmod(count, 600 * rate - 9 * dropped)
        first = 60 * rate
        extra = 0 if rest < first else 1 + (rest - first) // (first - dropped)
        count += dropped * (9 * tens + extra)
    seconds, frame = divmod(count, rate)
    frame = frame * written // rate
    mark = mark if written % 30 == 0 else ":"
    return f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}{frame:02d}"


def _parts(timecode: str) -> tuple[int, int, int, str, int]:
    found = _FORM.fullmatch(timecode)
    assert found is not None, "checked where it was given or read"
    return int(found[1]), int(found[2]), int(found[3]), found[4], int(found[5])


def _counted(fps: float) -> int:
    """Frames that a timecode counts a second, as FFmpeg rounds them."""
    return max(1, int(fps + 0.5))
