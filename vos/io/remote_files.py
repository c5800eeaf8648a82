"""Files at addresses (``s3://``, ``gs://``, ``https://``, ``memory://``): read through a bounded local cache.

fsspec opens every address; credentials and endpoints are its configuration's (environment, ``~/.config/fsspec``).
A cached copy is known by its address, size and version; the least recently used copies make room for new ones, never
one that a process is reading.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vos.errors import ExtraMissingError, InputError, OptionError, OutputError, SourceError
from vos.io.atomic_files import PARTIAL_PREFIX, safe_name
from vos.types.runtime import cache_folder

logger = logging.getLogger(__name__)

CACHE_GB = 20.0
"""Bound of the cache, 1e9 bytes, unless ``VOS_REMOTE_CACHE_GB`` says otherwise."""

STREAM_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt", "mms", "v4l2", "rist"})
_VIDEOS = ".mp4 .m4v .mov .mkv .webm .avi .ts .mts .m2ts .mpg .mpeg .mxf .wmv .flv .ogv .3gp .gif"
_OTHERS = ".png .jpg .jpeg .bmp .tif .tiff .webp .json .xml .zip .npz .tar .yaml .txt"
FILE_SUFFIXES = frozenset(f"{_VIDEOS} {_OTHERS}".split())  # a line in place of thirty
"""What ``http`` addresses of files end with; others are live streams."""
_VERSION_KEYS = ("etag", "lastmodified", "last-modified", "mtime", "created", "updated", "md5hash", "versionid")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_PUTS_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})
"""Object stores: a file appears when all of it has arrived."""


def is_remote(location: object) -> bool:
    """True if a location is the address of a remote file or folder, not of a live stream."""
    found = _ADDRESS.match(location) if isinstance(location, str) else None
    if found is None:
        return False
    scheme = found[1].lower()
    if scheme in ("http", "https"):
        return Path(_host_and_path(str(location))[1]).suffix.lower() in FILE_SUFFIXES
    return scheme not in STREAM_SCHEMES


def is_address(location: object) -> bool:
    """True if a location begins with a scheme such as ``s3://``."""
    return isinstance(location, str) and _ADDRESS.match(location) is not None


def shown(address: str) -> str:
    """An address for messages and records: without a password, and without a query that may be a signature."""
    end = r"[?#].*" if address.lower().startswith(("http://", "https://")) else r"\?.*"  # elsewhere "#" is in names
    return re.sub(rf"(?<=://)[^/?#]*@|{end}", "", address, flags=re.DOTALL)


def file_name(address: str) -> str:
    """The name of the file or folder at an address, or of the bucket."""
    host, path = _host_and_path(address)
    return Path(path.rstrip("/") or host).name


def _host_and_path(address: str) -> tuple[str, str]:
    host, _, path = shown(address).partition("://")[2].partition("/")
    return host, path


@contextmanager
def remote_errors(address: str, kind: type[InputError] | type[OutputError], verb: str) -> Iterator[None]:
    """Raise what a remote file system raises as an error of one line that names the address."""
    try:
        yield
    except (InputError, OutputError):
        raise
    except Exception as error:  # each file system has its own
        raise kind(f"{shown(address)}: cannot be {verb} ({_reason(error, address)}).") from error


def _reason(error: Exception, address: str) -> str:
    """Say in one line why a remote file system failed; fsspec takes any failure of a web server for a missing file."""
    if isinstance(error, FileNotFoundError):
        cause = error.__cause__
        status = getattr(cause, "status", 404)
        if status != 404:
            return f"the server answers with the status {status}"
        if lacks_bucket(error):
            return "no such bucket"
        if not isinstance(cause, OSError) or isinstance(cause, FileNotFoundError):
            return "no such file"
        error = cause
    return (str(error).split("\n", 1)[0] or type(error).__name__).replace(address, shown(address))


def open_file_system(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it.

    Raises:
        ExtraMissingError: fsspec, or what it needs for this scheme, is not installed.
        OptionError: fsspec knows no such scheme.
        SourceError: its server cannot be reached.
    """
    try:
        import fsspec

        file_system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise ExtraMissingError(
            f'{shown(address)}: needs a package that is not installed ({error}): pip install "vos-toolkit[remote]".'
        ) from error
    except ValueError as error:
        raise OptionError(f"{shown(address)}: no such kind of address ({error}).") from error
    except Exception as error:  # some connect at once, and each has errors of its own
        raise SourceError(f"{shown(address)}: cannot be reached ({_reason(error, address)}).") from error
    return file_system, path


@dataclass(frozen=True)
class LocalCopy:
    """A file or folder of the cache; it stays until ``close``.

    Attributes:
        path: the copy, named as the original.
    """

    path: Path
    _lock: int | None

    def close(self) -> None:
        """Allow the cache to evict the copy."""
        if self._lock is not None:
            with suppress(OSError):
                os.close(self._lock)


def cache_part(name: str) -> Path:
    """A folder in the cache folder, made if it is not there.

    Raises:
        OutputError: it cannot be made.
    """
    folder = cache_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}). Name another cache with VOS_CACHE.") from error
    return folder


def fetch(address: str) -> LocalCopy:
    """Copy a file, or a folder of files, into the cache, unless it is there.

    Args:
        address: what ``is_remote`` takes.
    Returns:
        The copy, locked against removal.
    Raises:
        SourceError: nothing is there, or it cannot be read whole.
        OptionError: it is larger than the cache, or ``VOS_REMOTE_CACHE_GB`` is no size.
        OutputError: the cache folder cannot be made.
    """
    file_system, path = open_file_system(address)
    root = cache_part("remote")
    with remote_errors(address, SourceError, "read"):
        files = _files_at(file_system, path)
        size = sum(info.get("size") or 0 for info in files)
        key = hashlib.sha256(repr((shown(address), [_version(info) for info in files])).encode()).hexdigest()[:24]
        name = safe_name(file_name(address))
        while (copy := _locked(root / key, name)) is None:
            _make_room(root, size, address)
            partial = root / f"{PARTIAL_PREFIX}{secrets.token_hex(6)}"
            try:
                _download(file_system, path, files, partial / name)
                with suppress(OSError):  # another process has just fetched the same
                    partial.rename(root / key)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return copy


def read_bytes(address: str) -> bytes:
    """Read a small file whole.

    Raises:
        SourceError: it cannot be read.
    """
    file_system, path = open_file_system(address)
    with remote_errors(address, SourceError, "read"):
        return bytes(file_system.cat_file(path))


def lacks_bucket(error: FileNotFoundError) -> bool:
    """True if a bucket is missing, not a file in it: s3fs and gcsfs quote their servers."""
    return "bucket does not exist" in str(error)


def _is_object_store(file_system: Any) -> bool:
    protocol = file_system.protocol
    return bool(_PUTS_WHOLE.intersection([protocol] if isinstance(protocol, str) else protocol))


def make_folder(file_system: Any, path: str) -> None:
    """Make a folder and those above it; in an object store, which has none, a bucket would be created unasked."""
    if not _is_object_store(file_system):
        file_system.makedirs(path, exist_ok=True)


def put_file(file_system: Any, local: Path, path: str) -> None:
    """Write a file whole, and move it to its name where the file system does not do so itself."""
    if _is_object_store(file_system):
        file_system.put_file(str(local), path)
        return
    folder, _, name = path.rpartition("/")
    partial = f"{folder}/{PARTIAL_PREFIX}{secrets.token_hex(6)}-{name}"
    file_system.put_file(str(local), partial)
    file_system.mv(partial, path)


def _files_at(file_system: Any, path: str) -> list[dict[str, Any]]:
    """The file at a path, or the files of a folder, each with its properties."""
    info = file_system.info(path)
    if info.get("type") != "directory":
        return [info]
    files = [one for one in file_system.ls(path, detail=True) if one.get("type") == "file"]
    if not files:
        raise OSError("a folder without files of its own")
    return sorted(files, key=lambda one: str(one["name"]))


def _version(info: dict[str, Any]) -> tuple[str, ...]:
    """Name, size and version keys of a remote file, which change when it is rewritten."""
    plain = {str(key).lower(): str(value) for key, value in info.items()}
    return (plain.get("name", ""), plain.get("size", ""), *(plain.get(key, "") for key in _VERSION_KEYS))


def _download(file_system: Any, path: str, files: list[dict[str, Any]], target: Path) -> None:
    is_folder = len(files) > 1 or str(files[0]["name"]).strip("/") != path.strip("/")
    is_folder = is_folder and file_system.info(path).get("type") == "directory"
    (target if is_folder else target.parent).mkdir(parents=True)
    for info in files:
        name = str(info["name"]).rstrip("/").rpartition("/")[2]
        local = target / safe_name(name) if is_folder else target
        file_system.get_file(info["name"] if is_folder else path, str(local))
        size = info.get("size")
        if size is not None and local.stat().st_size != size:
            raise EOFError(f"{local.stat().st_size:,} of {size:,} bytes came")


def _locked(entry: Path, name: str) -> LocalCopy | None:
    """The cached copy, if it is there, locked for reading."""
    try:
        descriptor: int | None = os.open(entry, os.O_RDONLY)
    except OSError:
        if not entry.is_dir():
            return None
        descriptor = None  # a platform on which folders cannot be opened has no locks
    if descriptor is not None:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not (entry / name).exists():  # removed while this process waited
            os.close(descriptor)
            return None
    with suppress(OSError):
        os.utime(entry)
    return LocalCopy(entry / name, descriptor)


def _make_room(root: Path, wanted: int, address: str) -> None:
    """Remove the least recently used copies that nobody reads until ``wanted`` bytes fit."""
    given = os.environ.get("VOS_REMOTE_CACHE_GB", CACHE_GB)
    try:
        bound = float(given) * 1e9
    except ValueError:
        bound = math.nan
    if not bound >= 0:
        raise OptionError(f"VOS_REMOTE_CACHE_GB is {given!r}, expected a number of gigabytes such as {CACHE_GB:g}.")
    if wanted > bound:
        raise OptionError(
            f"{shown(address)}: has {wanted / 1e9:.3g} GB, the cache of remote files holds {bound / 1e9:.3g} GB. "
            "Raise VOS_REMOTE_CACHE_GB, or copy the file to a disk."
        )
    entries = [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(PARTIAL_PREFIX)]
    sizes = {entry: sum(file.stat().st_size for file in entry.rglob("*") if file.is_file()) for entry in entries}
    total = sum(sizes.values())
    for entry in sorted(entries, key=lambda one: one.stat().st_mtime):
        if total + wanted <= bound:
            return
        if _remove_unused(entry):
            total -= sizes[entry]
            logger.debug("%s: removed from the cache of remote files.", entry)


def _remove_unused(entry: Path) -> bool:
    try:
        import fcntl

        descriptor = os.open(entry, os.O_RDONLY)
    except (ImportError, OSError):
        shutil.rmtree(entry, ignore_errors=True)
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
