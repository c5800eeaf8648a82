"""A session: one video's objects, annotations and masks, in a folder that survives a restart.

The folder holds ``session.json`` (the source, objects, settings and pins), ``pins/`` (what a person annotated, a
palette PNG a frame), ``masks/`` (the label map of each annotated or tracked frame) and ``presence.jsonl``. Frames are
read from the video and never copied. Objects that are deleted or have ended stay in the files and are left out when a
label map is read, so that either can be undone.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from vos.plugin import (
    InputError,
    LabelMap,
    Size,
    SourceInfo,
    atomic_write,
    object_ids,
    write_label_map,
)
from vos_web.sessions.presence import ABSENT, SURE, Presence

FORMAT = 1
MAX_OBJECTS = 254


@dataclass
class ObjectEntry:
    """An object of a session.

    Attributes:
        id: 1 to 254, never used for another object.
        name: what the person calls it.
        hidden: not drawn in the page.
        locked: not painted over.
        deleted: left out everywhere; kept so that it can be restored.
        end: index of the first frame that it is absent from for good, or None.
    """

    id: int
    name: str
    hidden: bool = False
    locked: bool = False
    deleted: bool = False
    end: int | None = None


@dataclass
class SessionFacts:
    """Content of ``session.json``; attributes of the source as in ``vos.plugin.SourceInfo``."""

    id: str
    source: str
    name: str
    frame_count: int
    size: Size
    fps: float | None
    tracker: str = "propagation"
    quality: str = ""
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)
    revision: int = 0
    position: int = 0
    objects: list[ObjectEntry] = field(default_factory=list)
    pins: dict[int, list[int]] = field(default_factory=dict)
    content: str | None = None  # hash of the video file, if the session knows it

    @classmethod
    def of_source(cls, session_id: str, location: Path, info: SourceInfo) -> SessionFacts:
        """Make the facts of a new session from its source.

        Raises:
            InputError: it has no known length or size, as a camera.
        """
        if not info.seekable or info.frame_count is None or info.size is None:
            raise InputError(f"{location}: the page needs a video file or a folder of images, not a live stream.")
        return cls(session_id, str(location), info.name, info.frame_count, info.size, info.fps)

    @classmethod
    def from_json(cls, text: str) -> SessionFacts:
        """Read ``session.json``.

        Raises:
            ValueError, KeyError, TypeError: it does not read so.
        """
        values = json.loads(text)
        if values.pop("format") != FORMAT:
            raise ValueError("another version's session")
        values["objects"] = [ObjectEntry(**entry) for entry in values["objects"]]
        values["pins"] = {int(frame): [int(i) for i in ids] for frame, ids in values["pins"].items()}
        height, width = values["size"]
        values["size"] = (int(height), int(width))
        return cls(**values)

    def to_json(self) -> str:
        """Write ``session.json``."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1)


class Session:
    """One open session; its methods may be called from any thread."""

    def __init__(self, folder: Path, facts: SessionFacts) -> None:
        """Open a session's folder; ``facts`` are those of its ``session.json``."""
        self.folder = folder
        self.facts = facts
        self.lock = threading.RLock()
        for name in ("pins", "masks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.presence = Presence(facts.frame_count, folder / "presence.jsonl")

    @classmethod
    def read(cls, folder: Path) -> Session:
        """Open a session that is on disk.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        return cls(folder, read_facts(folder))

    def save(self) -> None:
        """Write ``session.json`` atomically."""
        with self.lock:
            self.facts.modified = time.time()
            atomic_write(self.folder / "session.json", self.facts.to_json())

    @contextmanager
    def changing(self) -> Iterator[SessionFacts]:
        """Save the facts that the block changes; where that fails, they stay as they are on disk."""
        with self.lock:
            before = copy.deepcopy(self.facts)
            try:
                yield self.facts
                self.save()
            except BaseException:
                self.facts = before
                raise

    def remove_unlisted_pins(self) -> None:
        """Remove files of annotations that were not saved whole, as after a kill: tracking leaves their frames out."""
        for path in (self.folder / "pins").glob("*.png"):
            if path not in map(self.pin_path, self.facts.pins):
                path.unlink(missing_ok=True)

    def live_ids(self, frame: int | None = None) -> list[int]:
        """Ids of the objects that are not deleted, and have not ended before a frame."""
        return [
            entry.id
            for entry in self.facts.objects
            if not entry.deleted and (frame is None or entry.end is None or frame < entry.end)
        ]

    def mask(self, frame: int) -> LabelMap | None:
        """Read a frame's label map, without objects that are deleted or have ended.

        Args:
            frame: its index.
        Returns:
            uint8 (H, W), or None where the frame is neither annotated nor tracked.
        """
        found = self._read(self.mask_path(frame))
        return None if found is None else keep_ids(found, self.live_ids(frame))

    def with_left_out(self, frame: int, label_map: LabelMap) -> LabelMap:
        """Add the stored pixels of objects that are deleted or have ended to a new label map, where it has no object.

        Args:
            frame: its index.
            label_map: uint8 (H, W).
        Returns:
            What to store, so that the objects have their masks once the deletion or the end is undone.
        """
        stored = self._read(self.mask_path(frame))
        left_out = {entry.id for entry in self.facts.objects} - set(self.live_ids(frame))
        if stored is None or not left_out:
            return label_map
        whole: LabelMap = np.where(label_map > 0, label_map, keep_ids(stored, left_out))
        return whole

    def without_pixels(self, label_map: LabelMap) -> set[int]:
        """Ids of the session's objects that a label map does not hold."""
        return {entry.id for entry in self.facts.objects} - set(object_ids(label_map))

    def pin(self, frame: int) -> LabelMap | None:
        """Read what a person annotated in a frame, or None."""
        found = self._read(self.pin_path(frame))
        ids = set(self.facts.pins.get(frame, [])) & set(self.live_ids(frame))
        return None if found is None else keep_ids(found, ids)

    def annotate(self, frame: int, label_map: LabelMap, touched: Iterable[int]) -> None:
        """Store a painted label map: the frame becomes a pin of the touched objects.

        Args:
            frame: its index.
            label_map: uint8 (H, W), the whole frame's. Where the frame has one, only the touched objects are taken
                of it: the others may have been tracked since the person saw the frame.
            touched: ids that the person changed; one without a pixel is said to be absent.
        Raises:
            InputError: no such frame, another size, or an id that the session does not have.
        """
        with self.lock:
            self._check_frame(frame)
            ids = sorted(set(touched))
            strange = sorted({*object_ids(label_map), *ids} - {entry.id for entry in self.facts.objects})
            if label_map.shape != self.facts.size or strange or (label_map == 255).any():
                raise InputError(f"the mask of frame {frame} holds ids {strange} that the session does not have.")
            pinned = sorted({*self.facts.pins.get(frame, []), *ids})
            if (stored := self.mask(frame)) is not None:
                others = keep_ids(stored, set(self.live_ids()) - set(ids))
                label_map = np.where(np.isin(label_map, ids), label_map, others)
            whole = self.with_left_out(frame, label_map)
            absent = {i for i in self.without_pixels(whole) if i in ids or self.presence.level(frame, i)}
            levels = {**dict.fromkeys(sorted(absent), ABSENT), **dict.fromkeys(object_ids(label_map), SURE)}
            write_label_map(self.pin_path(frame), keep_ids(whole, pinned))
            write_label_map(self.mask_path(frame), whole)
            with self.changing() as facts:
                facts.pins[frame] = pinned
                self.presence.append(frame, levels, levels)
                facts.revision += 1

    def unpin(self, frame: int, said: Mapping[str, Any] | None = None) -> None:
        """Make a pin an ordinary frame again; its label map stays as it is, unless no object is in it.

        Args:
            frame: its index.
            said: ``ids``, the objects whose annotation ends, or without it all; ``levels`` and ``doubts`` by object id,
                as the presence had them before they were annotated; and ``known``, whether the frame was known then.
                None leaves the objects as sure as annotated ones.
        Raises:
            InputError: the frame is not annotated, or what was said does not fit.
        """
        levels, doubts, ids = _checked_statement(said or {})
        known = bool(said and said.get("known"))
        with self.lock:
            if frame not in self.facts.pins:
                raise InputError(f"frame {frame} is not annotated.")
            with self.changing() as facts:
                pinned = [i for i in facts.pins.pop(frame) if ids is not None and i not in ids]
                if pinned:
                    facts.pins[frame] = pinned  # the file's other objects are left out when it is read
                facts.revision += 1
            if not pinned:
                self.pin_path(frame).unlink(missing_ok=True)
            left = self._read(self.mask_path(frame))
            if left is not None and not left.any() and not known:
                self.presence.clear(frame)
                self.mask_path(frame).unlink(missing_ok=True)
            elif said:
                self.presence.append(frame, levels, self.live_ids(frame), doubts)

    def add_object(self, name: str = "") -> ObjectEntry:
        """Add an object with the next free id.

        Raises:
            InputError: all 254 ids are used.
        """
        with self.changing() as facts:
            used = {entry.id for entry in facts.objects}
            free = next((i for i in range(1, MAX_OBJECTS + 1) if i not in used), None)
            if free is None:
                raise InputError(f"all {MAX_OBJECTS} object ids are used.")
            entry = ObjectEntry(free, name.strip()[:80] or f"Object {free}")
            facts.objects.append(entry)
            return entry

    def ensure_objects(self, ids: Iterable[int]) -> None:
        """Make objects of ids that the session does not have; those that were deleted come back."""
        with self.changing() as facts:
            there = {entry.id: entry for entry in facts.objects}
            for object_id in ids:
                if object_id in there:
                    there[object_id].deleted = False
                else:
                    facts.objects.append(ObjectEntry(object_id, f"Object {object_id}"))
            facts.objects.sort(key=lambda entry: entry.id)

    def change_object(self, object_id: int, changes: Mapping[str, Any]) -> ObjectEntry:
        """Change an object's name, hidden, locked, deleted or end.

        Raises:
            InputError: no such object, or a value that does not fit.
        """
        with self.changing() as facts:
            entry = next((e for e in facts.objects if e.id == object_id), None)
            if entry is None:
                raise InputError(f"there is no object {object_id}.")
            for name, value in changes.items():
                _check_change(name, value, facts.frame_count)
            for name, value in changes.items():
                setattr(entry, name, value.strip()[:80] or entry.name if name == "name" else value)
            if {"deleted", "end"} & set(changes):
                facts.revision += 1
            return entry

    def state(self) -> dict[str, Any]:
        """Everything that the page draws but pixels, ready for JSON."""
        with self.lock:
            facts = dataclasses.asdict(self.facts)
            facts["pins"] = {str(frame): ids for frame, ids in sorted(self.facts.pins.items())}
            facts["known"] = _packed_runs(self.presence.known)
            facts["doubts"] = {str(frame): dict(reasons) for frame, reasons in self.presence.doubts.items()}
            facts["lanes"] = self.presence.lanes(entry.id for entry in self.facts.objects)
            return facts

    def mask_path(self, frame: int) -> Path:
        """Path of a frame's label map."""
        return self.folder / "masks" / f"{frame:06d}.png"

    def pin_path(self, frame: int) -> Path:
        """Path of a frame's annotation."""
        return self.folder / "pins" / f"{frame:06d}.png"

    def _check_frame(self, frame: int) -> None:
        if not 0 <= frame < self.facts.frame_count:
            raise InputError(f"there is no frame {frame}: the last one is {self.facts.frame_count - 1}.")

    def _read(self, path: Path) -> LabelMap | None:
        try:
            with PillowImage.open(path) as image:
                found = np.array(image)
        except FileNotFoundError:
            return None
        except (OSError, SyntaxError) as error:
            raise InputError(f"{path}: cannot be read ({error}). Remove it and track again.") from error
        if found.dtype != np.uint8 or found.shape != self.facts.size:
            raise InputError(f"{path}: is {found.dtype} {found.shape}, expected uint8 {self.facts.size}.")
        return found


def keep_ids(label_map: LabelMap, ids: Iterable[int]) -> LabelMap:
    """Make everything background but some objects."""
    table = np.zeros(256, dtype=np.uint8)
    for object_id in ids:
        table[object_id] = object_id
    kept: LabelMap = table[label_map]
    return kept


def read_facts(folder: Path) -> SessionFacts:
    """Read a session's ``session.json``.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        return SessionFacts.from_json((folder / "session.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: there is no session.") from None
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{folder}/session.json: cannot be read ({str(error)[:200]}).") from error


def _check_change(name: str, value: Any, frame_count: int) -> None:
    fits = {
        "name": isinstance(value, str),
        "hidden": isinstance(value, bool),
        "locked": isinstance(value, bool),
        "deleted": isinstance(value, bool),
        "end": value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= frame_count),
    }
    if not fits.get(name, False):
        raise InputError(f"an object's {name} cannot be {value!r}.")


def _checked_statement(said: Mapping[str, Any]) -> tuple[dict[int, int], dict[int, str], list[int] | None]:
    """Levels and doubts by object id, and ids."""
    try:
        ids = None if said.get("ids") is None else [int(i) for i in said["ids"]]
        levels = {int(i): int(level) for i, level in said.get("levels", {}).items()}
        doubts = {int(i): str(reason)[:200] for i, reason in said.get("doubts", {}).items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"levels or doubts of a frame do not fit ({error}).") from None
    if not all(0 < i <= MAX_OBJECTS and 0 < level <= SURE for i, level in levels.items()):
        raise InputError("levels of a frame do not fit.")
    return levels, doubts, ids


def _packed_runs(values: np.ndarray[Any, Any]) -> list[int]:
    """Start and end (exclusive) of every run of non-zero values, flat."""
    padded = np.concatenate([[0], (values > 0).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(padded))
    return [int(edge) for edge in edges]
