"""Saved states of a run, written while it tracks and read by ``--resume``: ``OUT/<sequence>/.state/``.

``state.json`` names the newest frame with a tracker's state, and the state's digest; the state itself lies beside it,
and so does the log of the detector of doubtful spans. The folder is there only while a run is unfinished.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vos.errors import InputError, VosError
from vos.host.doubts import DoubtEntry
from vos.host.outputs.doubt_log import DoubtLog
from vos.host.outputs.run_record import identity_of, threads_of, versions
from vos.io.atomic_files import atomic_write, replacing
from vos.io.json_file import plain_json, read_json
from vos.protocols.writer import Writer
from vos.registry.plugin_errors import in_words, is_stop
from vos.types.run import Run

STATE_FOLDER = ".state"
RECORD = "state.json"
EVERY_FRAMES = 256
"""A stopped run tracks at most so many frames again."""
MAX_BYTES = 4 << 30
"""A larger state is not kept."""

if TYPE_CHECKING:
    from vos.host.loop.frame_loop import FrameLoop

logger = logging.getLogger(__name__)


class StateWriter:
    """Writes the detector's entry of each frame, and the tracker's state every ``EVERY_FRAMES`` frames (the newest)."""

    def __init__(
        self, run: Run, loop: FrameLoop, writers: Iterable[Writer], on_saved: Callable[[], None] | None = None
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            run: with its output folder.
            loop: gives the state.
            writers: of the run.
            on_saved: called after each state, such as to copy the folder to its address.
        """
        assert run.output is not None, "states lie in a run's folder"
        self._run, self._loop, self._on_saved = run, loop, on_saved
        self._folder = run.output / STATE_FOLDER
        # The next frame begins a batch of encodings, as it would have in an unbroken run.
        self._every = -(-EVERY_FRAMES // loop.tracker.batch) * loop.tracker.batch
        self._works = loop.tracker.saves and loop.can_resume
        resumes = run.source.seekable and loop.can_resume and whole_file_writer(writers) is None
        self._log = DoubtLog(self._folder) if resumes else None

    def frame_tracked(self, entry: DoubtEntry) -> None:
        """Log what the detector found in a frame; called before its mask is written, so that no mask lacks an entry.

        Raises:
            OutputError: it cannot be written.
        """
        if self._log is not None:
            self._log.append(entry)

    def frame_done(self, index: int, flush: Callable[[], None]) -> None:
        """Write the state if this frame's turn has come; a failure is a warning, and then no more are written.

        Args:
            index: of the frame that was tracked last.
            flush: waits until the masks up to this frame are written, so that no state is ahead of them.
        """
        position = self._loop.position(index)
        if not self._works or not position or position % self._every:
            return
        flush()
        try:
            self._write(index)
        except BaseException as error:
            if is_stop(error):
                raise
            logger.warning(
                'the state of tracker "%s" cannot be saved (%s): a run that is stopped begins anew.',
                self._run.tracker,
                error if isinstance(error, VosError) else in_words(error),
            )
            self._works = False
            self.remove()
            return
        if self._on_saved is not None:
            self._on_saved()

    def remove(self) -> None:
        """Remove all states: the run is finished, or starts again from its first frame."""
        if self._folder.is_symlink():  # not made by a run: remove the link alone
            self._folder.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, index: int) -> None:
        self._folder.mkdir(exist_ok=True)
        path = _state_file(self._folder, index)
        with replacing(path) as partial:
            self._loop.tracker.save(partial)
            size = partial.stat().st_size
            if not 0 < size <= MAX_BYTES:
                raise InputError(f"it has {size:,} bytes, expected 1 to {MAX_BYTES:,}")
            digest = _sha256_of(partial)
        threads = threads_of(self._run)
        record = {**_conditions(self._run), "threads": threads, "frame_index": index, "sha256": digest}
        atomic_write(self._folder / RECORD, json.dumps(record, indent=1, default=str) + "\n")
        for other in self._folder.glob("*.state"):
            if other.name != path.name:
                other.unlink(missing_ok=True)


def whole_file_writer(writers: Iterable[Writer]) -> Writer | None:
    """Find a writer that makes one file of all frames, with which a stopped run is tracked anew."""
    return next((writer for writer in writers if not getattr(writer, "per_frame", False)), None)


def find_state(run: Run) -> tuple[int, Path] | None:
    """Find the newest state that a stopped run left.

    Args:
        run: the run to resume, with its output folder.
    Returns:
        The frame's index and the file, whose digest is checked; None where there is none, or none to be used (logged).
    """
    assert run.output is not None, "states lie in a run's folder"
    folder = run.output / STATE_FOLDER
    if folder.is_symlink() or not (folder / RECORD).exists():
        return None
    try:
        record = read_json(folder / RECORD)
        index = record["frame_index"]
        if type(index) is not int:
            raise ValueError("its record has another type")
        conditions: dict[str, Any] = plain_json(_conditions(run))
        held = record["identity"]  # one of before lacks what is compared since, and has the source's path too
        record["identity"] = {name: held.get(name, wanted) for name, wanted in conditions["identity"].items()}
        if record.get("threads") != run.runtime.get("threads"):  # those of torch, which may load with the tracker
            import_module("torch")
            conditions["threads"] = threads_of(run)  # sums of another number of threads round differently
        other = next((name for name, wanted in conditions.items() if record.get(name) != wanted), None)
        if other is not None:
            raise ValueError(f"it was saved with other {other}")
        path = _state_file(folder, index)
        if path.is_symlink() or path.stat().st_size > MAX_BYTES or _sha256_of(path) != record["sha256"]:
            raise ValueError("the file is damaged")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse_state(folder, error)
        return None
    return index, path


def refuse_state(folder: Path, error: BaseException) -> None:
    """Log why a state is not used."""
    reason = str(error) if isinstance(error, (ValueError, VosError)) else in_words(error)
    logger.warning("%s: this saved state is not used (%s); the run begins anew.", folder, reason.rstrip("."))


def _conditions(run: Run) -> dict[str, Any]:
    """Values that a saved state and the run that loads it must share; ``run.json`` says that the source is the same."""
    identity = {name: value for name, value in identity_of(run).items() if name not in ("source", "source_path")}
    return {"identity": identity, "runtime": dict(run.runtime), "versions": versions()}


def _state_file(folder: Path, index: int) -> Path:
    return folder / f"{index:08d}.state"


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
