"""Presence and score of each object in each frame, for the timeline."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from vos.plugin import VosError, atomic_write, output_errors

UNKNOWN, ABSENT = 0, 1
SURE = 255
IDS = 255
HEADER = json.dumps({"absent": ABSENT})
"""First line of the log; that of an earlier version has none, and has no level for absent objects."""


class Presence:
    """A byte for each frame and object id: how sure the tracker is of it.

    It is 0 where nobody annotated or tracked the object, 1 where it is absent, else 2 (unsure) to 255 (sure). It is
    kept as a log of JSON lines beside the masks, to which a frame's line is appended once its mask is written; the last
    line of a frame counts.

    Attributes:
        known: uint8 (frames,), 1 where a frame has a label map.
        doubts: by frame, the reason by id of each object whose mask a person should check, as ``vos track`` finds them.
    """

    def __init__(self, frame_count: int, path: Path) -> None:
        """Read what is there.

        Args:
            frame_count: frames of the source.
            path: the log; it need not exist.
        """
        self._path = path
        self.known = np.zeros(frame_count, dtype=np.uint8)
        self._levels = np.zeros((IDS, frame_count), dtype=np.uint8)
        self.doubts: dict[int, dict[int, str]] = {}
        if path.exists():
            self._read()
        else:
            atomic_write(path, HEADER + "\n")

    def set(
        self,
        frame: int,
        levels: Mapping[int, int],
        ids: Iterable[int] | None = None,
        doubts: Mapping[int, str] | None = None,
    ) -> None:
        """Set a frame's presence.

        Args:
            frame: its index.
            levels: 1 (absent) to 255 by object id; an id that is missing is unknown.
            ids: only these objects are replaced; None replaces all.
            doubts: reasons by object id, for those whose mask a person should check.
        """
        self.known[frame] = True
        earlier = self.doubts.pop(frame, {})
        kept = {} if ids is None else dict(earlier)
        for object_id in range(1, IDS) if ids is None else ids:
            self._levels[object_id, frame] = levels.get(object_id, UNKNOWN)
            kept.pop(object_id, None)
        kept.update(doubts or {})
        if kept:
            self.doubts[frame] = kept

    def append(
        self,
        frame: int,
        levels: Mapping[int, int],
        ids: Iterable[int] | None = None,
        doubts: Mapping[int, str] | None = None,
    ) -> None:
        """Set a frame's presence and append it to the log; see ``set``."""
        self.set(frame, levels, ids, doubts)
        self._append_line(line_of(frame, levels, ids, doubts))

    def clear(self, frame: int) -> None:
        """Forget a frame, as when its mask is removed."""
        self._forget(frame)
        self._append_line(json.dumps({"frame": frame, "cleared": True}) + "\n")

    def level(self, frame: int, object_id: int) -> int:
        """0 where nobody annotated or tracked the object in the frame, 1 if it is absent from it, else 2 to 255."""
        return int(self._levels[object_id, frame])

    def unknown(self, object_id: int) -> list[int]:
        """Indices of the known frames in which nobody annotated or tracked an object, ascending."""
        found: list[int] = np.flatnonzero((self.known > 0) & (self._levels[object_id] == UNKNOWN)).tolist()
        return found

    def shown(self, object_id: int) -> bool:
        """True if an object is present in some frame."""
        return bool((self._levels[object_id] > ABSENT).any())

    def lanes(self, ids: Iterable[int]) -> dict[int, str]:
        """Encode each object's bytes, one for each frame, in base64."""
        return {i: base64.b64encode(self._levels[i].tobytes()).decode() for i in ids}

    def compact(self) -> None:
        """Rewrite the log with one line for each frame."""
        lines = [HEADER + "\n"]
        for frame in np.flatnonzero(self.known):
            ids = np.flatnonzero(self._levels[:, frame])
            levels = {int(i): int(self._levels[i, frame]) for i in ids}
            lines.append(line_of(int(frame), levels, None, self.doubts.get(int(frame))))
        atomic_write(self._path, "".join(lines))

    def _append_line(self, line: str) -> None:
        with output_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write("\n" + line)  # a line before it that a full disk cut short ends here

    def _forget(self, frame: int) -> None:
        self.known[frame] = False
        self._levels[:, frame] = UNKNOWN
        self.doubts.pop(frame, None)

    def _read(self) -> None:
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            try:
                entry = json.loads(line)
                frame = int(entry["frame"])
                if not 0 <= frame < len(self.known):
                    continue
                if entry.get("cleared"):
                    self._forget(frame)
                    continue
                levels = {int(i): int(level) for i, level in entry["levels"].items()}
                doubts = {int(i): str(reason) for i, reason in entry.get("doubts", {}).items()}
                self.set(frame, levels, entry.get("ids"), doubts)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
                continue  # a line that a crash cut short; its frame is tracked again
        if lines[:1] != [HEADER]:
            self._convert_earlier_levels()

    def _convert_earlier_levels(self) -> None:
        """Convert the levels of an earlier version: 1 was unsure, and 0 in a known frame absent."""
        self._levels[self._levels == ABSENT] += 1
        shown_elsewhere = self._levels.any(axis=1, keepdims=True)
        self._levels[shown_elsewhere & (self.known > 0) & (self._levels == UNKNOWN)] = ABSENT


def line_of(
    frame: int, levels: Mapping[int, int], ids: Iterable[int] | None, doubts: Mapping[int, str] | None = None
) -> str:
    """One line of the log."""
    line: dict[str, object] = {"frame": frame, "levels": levels, "ids": None if ids is None else list(ids)}
    if doubts:
        line["doubts"] = dict(doubts)
    return json.dumps(line) + "\n"


def level_of(score: float) -> int:
    """Turn the score in [0, 1] of an object that is present into a level from 2 to 255."""
    if not 0 <= score <= 1:
        raise VosError(f"a score is {score}, expected 0 to 1.")
    return ABSENT + 1 + round(score * (SURE - ABSENT - 1))
