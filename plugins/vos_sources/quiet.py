"""OpenCV and its FFmpeg write on stderr of every file or camera that they cannot open; we say it in a line."""

from __future__ import annotations

import os

import cv2


def quieten() -> None:
    """Silence OpenCV's log; call it before anything is opened."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
