"""An output folder at an address: a run writes to a local folder, whose files are copied there whole.

Files go up whenever the tracker's state is saved and when the run ends, ``run.json`` last: a record that says
"finished" means that all masks are there.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from vos.errors import InputError, OptionError, OutputError, OutputExistsError, SourceError, VosError
from vos.host.outputs.output_protection import refuse_existing
from vos.host.outputs.run_record import RECORD_NAME, ended_by, read_record, record_interruption
from vos.host.outputs.saved_states import STATE_FOLDER
from vos.io.atomic_files import PARTIAL_PREFIX, atomic_write, output_errors
from vos.io.output_lock import output_lock
from vos.io.remote_files import (
    cache_part,
    is_address,
    lacks_bucket,
    make_folder,
    open_file_system,
    put_file,
    read_bytes,
    remote_errors,
    shown,
)

if TYPE_CHECKING:
    from vos.host.outputs.planned_outputs import PlannedOutputs

logger = logging.getLogger(__name__)


class RemoteOutput:
    """One run's folder at an address, and its local copy.

    Attributes:
        address: of the run's own folder.
        folder: the local copy; removed once all of it is at the address.
        finished_masks: how many masks are at the address, if a finished run is recorded there.
    """

    def __init__(self, output: str, sequence: str) -> None:
        """Find the folder.

        Args:
            output: address of the runs' folder.
            sequence: name of the run's own folder.
        Raises:
            OptionError: a web server, to which nothing can be written, no folder, or an unknown kind of address.
        """
        if output.lower().startswith(("http://", "https://")):
            raise OptionError(
                f"{shown(output)}: a web server takes no output. Give a folder, or a bucket such as s3://."
            )
        if not output.partition("://")[2].strip("/"):
            raise OptionError(f"{output}: names no folder, expected one such as s3://bucket/out.")
        self.address = f"{output.rstrip('/')}/{sequence}"
        self.root = staging_root(output)
        self.folder = self.root / sequence
        self.finished_masks: int | None = None
        self._files, self._path = open_file_system(self.address)
        self._there: dict[str, tuple[int, int]] = {}
        self._announced = False
        self._replaced: set[str] = set()
        self._at_address: set[str] = set()

    def pull(self, *, resume: bool, overwrite: bool, whole: bool = False) -> None:
        """Fetch an earlier run's record and, to resume or replace it, its masks and state.

        Args:
            resume: fetch all of a run that is not finished.
            overwrite: fetch masks and state, so that what the new run removes here is removed at the address too.
            whole: fetch all in any case.

        Raises:
            SourceError: the address cannot be read.
            OutputExistsError: it holds masks without a record, and ``overwrite`` is not set.
            InputError: another run on this machine writes there.
        """
        with output_lock(self.folder), remote_errors(self.address, SourceError, "read"):
            self._files.invalidate_cache()
            found = self._found()
            self._at_address = names = {str(path)[len(self._path.rstrip("/")) + 1 :] for path in found}
            masks = {name for name in names if name.endswith(".png") and "/" not in name}
            if RECORD_NAME not in names and not overwrite:
                if masks and read_record(self.folder) is None:
                    raise OutputExistsError(
                        f"{shown(self.address)} holds {len(masks)} PNG files that no run of vos recorded. "
                        "Choose another folder with -o, or --overwrite."
                    )
                return
            record = json.loads(self._files.cat_file(f"{self._path}/{RECORD_NAME}")) if RECORD_NAME in names else None
            is_finished = isinstance(record, dict) and bool(record.get("finished"))
            if read_record(self.folder) is not None and not is_finished and not overwrite:
                # A run that was stopped on this machine: what is here is newer, and replaces the states there.
                self._there = {name: (-1, -1) for name in names if _is_state(name)}
                return
            if whole or (resume and not (overwrite or is_finished)):
                self._fetch(names)
            else:
                self._replaced = masks | set(filter(_is_state, names)) if overwrite else set()
                self._fetch({RECORD_NAME} & names | self._replaced)
            self.finished_masks = len(masks) if is_finished else None

    def _found(self) -> list[str]:
        """The paths of the files at the address; none if there is no folder yet."""
        try:
            return list(self._files.find(self._path))
        except FileNotFoundError as error:
            if lacks_bucket(error):
                raise
            return []

    def _fetch(self, names: Collection[str]) -> None:
        """Replace the local copy by files of the address, once all are here: a part would be uploaded as newer."""
        wanted = sorted(filter(_is_plain, names))
        shutil.rmtree(self.folder, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=self.root) as partial:
            copy = Path(partial) / "run"
            copy.mkdir()
            for name in wanted:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(f"{self._path}/{name}", str(copy / name))
            copy.rename(self.folder)
        self._there = {name: _stamp(self.folder / name) for name in wanted}

    def has(self, path: Path) -> bool:
        """True if a path of the local copy was a file, or a folder with files, at the address when it was read."""
        if not path.is_relative_to(self.folder):
            return path.exists()
        name = path.relative_to(self.folder).as_posix()
        return any(other == name or other.startswith(f"{name}/") for other in self._at_address)

    def push(self) -> None:
        """Upload new files, each one complete: masks, then states, then the record; nothing happens if nothing is new.

        Raises:
            OutputError: the upload fails; the local files stay.
        """
        whole = (path for path in self.folder.rglob("*") if not path.name.startswith(PARTIAL_PREFIX))
        local = {path.relative_to(self.folder).as_posix(): path for path in whole if path.is_file()}
        stamps = {name: _stamp(path) for name, path in local.items() if _is_plain(name)}
        if stamps == self._there:
            return
        with remote_errors(self.address, OutputError, "written"):
            make_folder(self._files, self._path)
            if not self._announced:
                self._announce()
                self._announced = True
                # Before new masks come: if this process dies, those that are left are the new run's.
                self._remove([name for name in self._replaced if stamps.get(name) != self._there.get(name)])
            new = [name for name in stamps if self._there.get(name) != stamps[name]]
            for folder in sorted({name.rpartition("/")[0] for name in new} - {""}):
                make_folder(self._files, f"{self._path}/{folder}")
            for name in sorted(new, key=lambda name: (name == RECORD_NAME, _is_state(name), name)):
                put_file(self._files, local[name], f"{self._path}/{name}")
                self._there[name] = stamps[name]
            self._remove([name for name in self._there if name not in local])
            if not (self.folder / STATE_FOLDER).exists():
                with suppress(Exception):  # an object store has no folders to remove
                    self._files.rmdir(f"{self._path}/{STATE_FOLDER}")

    def _remove(self, names: Collection[str]) -> None:
        for name in names:
            self._files.rm_file(f"{self._path}/{name}")
            del self._there[name]

    def _announce(self) -> None:
        """Write the record of an unfinished run first: masks that follow are no earlier run's."""
        record = read_record(self.folder)
        if record is not None:
            first = self.root / f".{self.folder.name}.json"
            first.write_text(json.dumps({**record, "finished": False, "state": "running"}, indent=2) + "\n")
            put_file(self._files, first, f"{self._path}/{RECORD_NAME}")
            first.unlink()

    def finish(self) -> None:
        """Upload the remaining files of a finished run, and remove the local copy.

        Raises:
            OutputError: the upload fails; the local copy stays.
        """
        try:
            self.push()
        except OutputError as error:
            again = "run it again to upload it (`vos track` with --resume)"
            raise OutputError(f"{error} What was written is in {self.folder}; {again}.") from error
        shutil.rmtree(self.folder, ignore_errors=True)

    def push_or_warn(self) -> None:
        """Upload the files of a failed run and remove the local copy; if that fails, warn and keep the local copy."""
        try:
            if self.folder.is_dir():
                with output_lock(self.folder):
                    self.push()
                    shutil.rmtree(self.folder, ignore_errors=True)
        except InputError:  # another run has the folder, whose files are its own
            return
        except VosError as error:
            logger.warning("%s What was written is in %s.", error, self.folder)

    def renamed(self, error: VosError) -> None:
        """Replace the local folder by the address in an error's message."""
        error.args = (str(error).replace(str(self.folder), shown(self.address)), *error.args[1:])


@contextmanager
def publishing(planned: PlannedOutputs) -> Iterator[None]:
    """Upload a run's files to its address when the block ends, also after an error."""
    try:
        yield
    except BaseException as error:
        if planned.remote is not None:
            planned.remote.push_or_warn()
            if isinstance(error, VosError):
                planned.remote.renamed(error)
        raise
    if planned.remote is not None:
        planned.remote.finish()


def staging_root(output: str) -> Path:
    """The local folder in which runs for an address are written."""
    return cache_part("outputs") / sha256(output.rstrip("/").encode()).hexdigest()[:24]


def _is_plain(name: str) -> bool:
    """True if a relative name stays inside its folder: no empty part, no ``.`` and no ``..``."""
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _is_state(name: str) -> bool:
    return name.startswith(f"{STATE_FOLDER}/")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def write_text(location: str | Path, text: str, *, overwrite: bool) -> None:
    """Write a small text file to a path or an address, whole; folders are made.

    Raises:
        OutputExistsError: it is there, and may not be replaced.
        OutputError: it cannot be written.
    """
    if not is_address(location):
        path = Path(location)
        refuse_existing([path], overwrite=overwrite)
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)
        return
    address = str(location)
    files, path_there = open_file_system(address)
    with remote_errors(address, OutputError, "written"):
        if not overwrite and files.exists(path_there):
            raise OutputExistsError(f"{shown(address)}: is there already. Choose another name, or --overwrite.")
        with TemporaryDirectory() as folder:
            (Path(folder) / "text").write_text(text, encoding="utf-8")
            make_folder(files, path_there.rpartition("/")[0])
            put_file(files, Path(folder) / "text", path_there)


def read_text(location: str | Path) -> str | None:
    """Read a small text file of a path or an address; None where there is none that can be read.

    Bytes that are not UTF-8 become replacement characters: a file of any kind is never taken for none.
    """
    try:
        content = read_bytes(str(location)) if is_address(location) else Path(location).read_bytes()
    except (OSError, VosError):
        return None
    return content.decode(errors="replace")


def end_record(location: str | Path, error: BaseException) -> None:
    """Correct the record of a run whose process was killed: it says "running", and nobody runs it.

    Args:
        location: path or address of the run's own folder.
        error: why; ``KeyboardInterrupt`` makes a stopped run of it, any other a failed one.
    """
    if not is_address(location):
        record_interruption(Path(location), error)
        return
    where = f"{location}/{RECORD_NAME}"
    try:
        record = json.loads(read_text(where) or "null")
        if isinstance(record, dict) and record.get("state") == "running":
            write_text(where, json.dumps({**record, **ended_by(error)}, indent=2) + "\n", overwrite=True)
    except (ValueError, RecursionError, VosError) as later:
        logger.debug("%s: %s", location, later)
