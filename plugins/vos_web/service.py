"""State of the running server: sessions, the current job, events and allowed folders."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vos.plugin import (
    EmptyMaskError,
    Frame,
    InputError,
    LabelMap,
    Plugins,
    Runtime,
    VosError,
    initialize,
    object_ids,
    open_source,
    output_errors,
)
from vos_web.jobs import Jobs
from vos_web.prompts import PRIMARY, mask_from_prompts, read_mask
from vos_web.server.events import EventHub
from vos_web.server.paths import AllowedFolders
from vos_web.sessions.session import keep_ids
from vos_web.sessions.store import OpenSession, SessionStore
from vos_web.sessions.video import VideoChangedError, has_other_content

MAX_UPLOAD = 8 * 2**30


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of ``vos web``.

    Attributes:
        sessions: folder of the sessions.
        output: default folder of exports.
        max_upload: limit of an uploaded video, bytes.
        sam_checkpoint: Segment Anything or MobileSAM file for clicks; None takes a known one of the cache folder.
        plugin_modules: modules that the worker loads besides the installed plugins, as ``-p``.
        blocked: plugins that the worker leaves out, as ``--no-plugin``.
        tracker_options: by tracker, options by name that sessions track with.
    """

    sessions: Path
    output: Path
    max_upload: int = MAX_UPLOAD
    sam_checkpoint: Path | None = None
    plugin_modules: Sequence[str] = ()
    blocked: Sequence[str] = ()
    tracker_options: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)


class Service:
    """One server's state.

    Attributes:
        plugins: the loaded plugins.
        runtime: where models run.
        allowed: folders of videos and exports.
        settings: what it is started with.
        store: the sessions.
        hub: events for the pages.
        jobs: the running job.
        prompting: held while an initializer runs, since models are not made for two threads.
        first: id of the session that the page opens at once, or None.
    """

    def __init__(self, plugins: Plugins, runtime: Runtime, allowed: AllowedFolders, settings: ServiceSettings) -> None:
        self.plugins = plugins
        self.runtime = runtime
        self.settings = settings
        self.store = SessionStore(settings.sessions, plugins)
        self.allowed = AllowedFolders(allowed.listed, [*allowed.folders, self.store.folder / "uploads"])
        self.hub = EventHub()
        worker_runtime = {k: v for k, v in dataclasses.asdict(runtime).items() if k != "cache"}
        self.jobs = Jobs(self.hub, worker_runtime, settings.plugin_modules, settings.blocked, settings.tracker_options)
        self.prompting = threading.Lock()
        self.first: str | None = None

    def open_video(self, path: Path, fresh: bool = False) -> OpenSession:
        """Open a video's latest session, or create one.

        Args:
            path: the video or folder of images.
            fresh: begin one in any case.
        Returns:
            The session. Sessions that began when the video had another length, size or content are passed over; where
            there are such ones alone, it is new and has a notice.
        Raises:
            InputError: it cannot be read.
        """
        with self.store.lock:
            earlier = [] if fresh else self.store.sessions_of(path)
            for session_id in earlier:
                with contextlib.suppress(VideoChangedError):
                    opened = self.store.get(session_id)
                    if not has_other_content(opened.session.facts):  # it may be open since before the change
                        return opened
            opened = self.store.create(path)
        if earlier:
            opened.notice = (
                f"{path.name} has changed since its last session began, so this is a new one. The earlier one stays, "
                "and goes on once the earlier video is back."
            )
        return opened

    def state(self, opened: OpenSession) -> dict[str, Any]:
        """A session and the running job, for the page."""
        return {**opened.session.state(), "job": self.jobs.current, "notice": opened.notice}

    def change_settings(self, opened: OpenSession, values: Mapping[str, Any]) -> None:
        """Change a session's ``tracker``, ``quality`` or ``position``.

        Raises:
            InputError: a value that does not fit.
        """
        with opened.session.changing() as facts:
            for name, value in values.items():
                if name == "tracker" and isinstance(value, str):
                    self.plugins.trackers.get(value)
                    facts.tracker = value
                elif name == "quality" and isinstance(value, str) and len(value) < 40:
                    facts.quality = value
                elif name == "position" and isinstance(value, int) and 0 <= value < facts.frame_count:
                    facts.position = value
                else:
                    raise InputError(f"a session's {name} cannot be {value!r}.")

    def mask_from_prompts(self, frame: Frame, prompts: Mapping[str, Any], method: str) -> LabelMap:
        """Make an object's mask; see ``vos_web.prompts.mask_from_prompts``."""
        with self.prompting:
            return mask_from_prompts(frame, prompts, method, self.plugins, self.runtime, self.settings.sam_checkpoint)

    def primary_object(self, opened: OpenSession, frame: int) -> LabelMap:
        """Find what moves or stands out in a frame: uint8 (H, W), 0 and 1.

        Raises:
            EmptyMaskError: nothing was found.
        """
        with self.prompting:
            try:
                return initialize(opened.frames, PRIMARY, runtime=self.runtime, plugins=self.plugins, frame_index=frame)
            except EmptyMaskError as error:  # its advice is flags of the command line
                raise EmptyMaskError(
                    f"found nothing that moves or stands out in frame {frame}. "
                    "Take another frame, or click on the object."
                ) from error

    def warm_up(self) -> None:
        """Load the method of clicks that needs no weights, so that the first click waits for no model."""
        frame = Frame(0, np.zeros((64, 64, 3), np.uint8), "0")
        with contextlib.suppress(VosError):
            self.mask_from_prompts(frame, {"points": [[32, 32, 1]]}, "clicks")

    def import_mask(self, opened: OpenSession, frame: int, content: bytes) -> None:
        """Import a mask file as a frame's annotation; objects that it does not hold keep their pixels.

        Args:
            opened: the session; ids that it does not have become objects.
            frame: index of the frame.
            content: a mask as ``vos track --mask`` reads it, or one as paint programs save it.
        Raises:
            InputError: it does not read so.
        """
        session = opened.session
        label_map = read_mask(content, opened.frames.frame(frame), self.plugins)
        ids = object_ids(label_map)
        session.ensure_objects(ids)
        earlier = session.mask(frame)
        if earlier is not None:
            label_map = np.where(label_map > 0, label_map, keep_ids(earlier, set(session.live_ids()) - set(ids)))
        session.annotate(frame, label_map, ids)

    def add_first_mask(self, opened: OpenSession, frame: int, label_map: LabelMap) -> list[int]:
        """Annotate a frame with the objects of a mask, but for those whose annotation the session has or had.

        Args:
            opened: the session; ids that it does not have become objects.
            frame: index of the frame.
            label_map: uint8 (H, W) without void.
        Returns:
            Ids of the mask that are left as they are: annotated in this frame, or deleted.
        """
        session = opened.session
        with session.lock:
            pinned = set(session.facts.pins.get(frame, []))
            deleted = {entry.id for entry in session.facts.objects if entry.deleted}
            kept = sorted(set(object_ids(label_map)) & (pinned | deleted))
            ids = sorted(set(object_ids(label_map)) - set(kept))
            if not ids:
                return kept
            session.ensure_objects(ids)
            new = keep_ids(label_map, ids)
            earlier = session.mask(frame)
            if earlier is not None:
                new = np.where(keep_ids(earlier, pinned) > 0, 0, new)
                new = np.where(new > 0, new, keep_ids(earlier, set(session.live_ids()) - set(ids)))
            session.annotate(frame, new.astype(np.uint8), ids)
            return kept

    def remove(self, session_id: str) -> None:
        """Delete a session.

        Raises:
            InputError: there is none, or a job runs in it.
        """
        current = self.jobs.current
        if current is not None and current["session"] == session_id:
            raise InputError("a job runs in this session. Stop it first.")
        self.store.remove(session_id)

    def upload_folder(self) -> Path:
        """Make a new folder for one uploaded video."""
        folder = self.store.folder / "uploads" / secrets.token_hex(6)
        with output_errors(folder):
            folder.mkdir(parents=True)
        return folder

    def check_upload(self, path: Path) -> None:
        """Open an uploaded video.

        Raises:
            InputError: it cannot be opened; the message has the file's name alone.
        """
        try:
            open_source(path, self.plugins).close()
        except InputError as error:
            raise InputError(str(error).replace(str(path), path.name)) from None

    def export_folder(self, text: object) -> Path | None:
        """Output folder of an export: None for a download, the default for an empty text, else an allowed folder.

        Raises:
            InputError: the folder is outside the allowed ones, or an address.
        """
        if text is None:
            return None
        if "://" in str(text):
            raise InputError(f"{text}: is an address, expected a folder of this computer.")
        return self.allowed.resolve(str(text)) if text else self.settings.output

    def checked_writers(self, given: object) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Check the names of writers; pages set no options, so that every file stays in the export's folder.

        Raises:
            InputError: not a list of known names.
        """
        if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
            raise InputError("choose at least one kind of result.")
        return [(self.plugins.writers.get(name).name, {}) for name in dict.fromkeys(given)]

    def close(self) -> None:
        """End the worker, the event streams and the sessions."""
        self.hub.close()
        self.jobs.close()
        self.store.close()
