"""All sessions: a folder with one folder each."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import IO, Any

from vos.plugin import InputError, OutputError, Plugins, open_source, safe_name
from vos_web.server.frame_server import FrameServer
from vos_web.sessions.session import Session, SessionFacts, read_facts
from vos_web.sessions.video import content_of, open_video


class OpenSession:
    """A session that this server has open: its state on disk and its frames.

    Attributes:
        session: its state.
        frames: its video's frames.
        notice: what the person should know of it, or empty.
    """

    def __init__(self, session: Session, frames: FrameServer, lock_file: IO[str]) -> None:
        self.session = session
        self.frames = frames
        self.notice = ""
        self._lock_file = lock_file

    def close(self) -> None:
        """Stop reading frames and let other servers open the session."""
        self.frames.close()
        self._lock_file.close()


class SessionStore:
    """Opens, lists, makes and removes sessions.

    Attributes:
        lock: held while a session is opened, so that of two requests for one the second gets it too.
    """

    def __init__(self, folder: Path, plugins: Plugins) -> None:
        """Use a folder of sessions; it is created if it does not exist.

        Raises:
            OutputError: it cannot be created.
        """
        self.folder = folder
        self._plugins = plugins
        self._open: dict[str, OpenSession] = {}
        self.lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be made ({error.strerror}). Give --sessions another folder."
            ) from error

    def recent(self, limit: int = 30) -> list[dict[str, Any]]:
        """List sessions, the one that was changed last first."""
        found: list[dict[str, Any]] = []
        for path in self.folder.glob("*/session.json"):
            try:
                facts = read_facts(path.parent)
            except InputError:
                continue
            found.append(
                {
                    "id": facts.id,
                    "name": facts.name,
                    "source": facts.source,
                    "modified": facts.modified,
                    "frame_count": facts.frame_count,
                    "objects": sum(not entry.deleted for entry in facts.objects),
                    "pins": len(facts.pins),
                    "there": Path(facts.source).exists(),
                }
            )
        return sorted(found, key=lambda entry: entry["modified"], reverse=True)[:limit]

    def create(self, location: Path) -> OpenSession:
        """Create a session for a video.

        Raises:
            InputError: it cannot be read, or is a live stream.
        """
        source = open_source(location, self._plugins)
        try:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            session_id = f"{safe_name(source.info.name)[:40]}-{stamp}-{secrets.token_hex(2)}".replace(" ", "_")
            facts = SessionFacts.of_source(session_id, location, source.info)
            facts.content = content_of(location)
            session = Session(self.folder / session_id, facts)
            session.save()
        except BaseException:
            source.close()
            raise
        opened = OpenSession(session, FrameServer(source), _lock(session.folder))
        self._open[session_id] = opened
        return opened

    def sessions_of(self, location: Path) -> list[str]:
        """List the ids of a video's sessions, the one that was changed last first."""
        return [entry["id"] for entry in self.recent(10_000) if entry["source"] == str(location)]

    def get(self, session_id: str) -> OpenSession:
        """Open a session; an open one is returned as it is.

        Raises:
            VideoChangedError: its video has another length, size or content.
            InputError: there is none of this id, its video is gone, or another server has it.
        """
        if session_id in self._open:
            return self._open[session_id]
        with self.lock:
            if session_id not in self._open:
                self._open[session_id] = self._opened(session_id)
            return self._open[session_id]

    def _opened(self, session_id: str) -> OpenSession:
        folder = self._folder_of(session_id)
        facts = read_facts(folder)
        lock_file = _lock(folder)
        try:
            source = open_video(facts, self._plugins)
            session = Session.read(folder)
            session.remove_unlisted_pins()
            session.presence.compact()
        except BaseException:
            lock_file.close()
            raise
        return OpenSession(session, FrameServer(source), lock_file)

    def remove(self, session_id: str) -> None:
        """Delete a session's folder; the video stays.

        Raises:
            InputError: there is none of this id, or another server has it open.
        """
        folder = self._folder_of(session_id)
        opened = self._open.pop(session_id, None)
        if opened is not None:
            opened.close()
        else:
            _lock(folder).close()
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Close every open session."""
        for opened in self._open.values():
            opened.close()
        self._open.clear()

    def _folder_of(self, session_id: str) -> Path:
        folder = self.folder / session_id
        if safe_name(session_id) != session_id or not (folder / "session.json").is_file():
            raise InputError(f'there is no session "{session_id[:80]}".')
        return folder


def _lock(folder: Path) -> IO[str]:
    """Lock a session for this process; the system releases the lock when the process ends."""
    file = (folder / "lock").open("w")
    if os.name == "posix":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise InputError(f"session {folder.name} is open in another `vos web`. Close that one first.") from None
    return file
