"""Fetching checkpoints: with progress, going on where an interrupted download stopped, and verified."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vos.errors import WeightsError
from vos.types.checkpoint import Checkpoint
from vos.types.runtime import cache_folder
from vos.weights.checkpoints import BLOCK_BYTES, checkpoint

TIMEOUT_SECONDS = 30

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


def fetch(name: str | Checkpoint, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """Get a known checkpoint into the cache folder, if it is not there.

    An interrupted download leaves ``FILE.part``; the next one goes on from its end.

    Args:
        name: as for ``checkpoint``.
        cache: the cache folder; None for the default.
        progress: called with the bytes done and the bytes in all.
    Returns:
        The file, verified.
    Raises:
        WeightsError: no network, no room, or what came is not what was published.
    """
    import pooch
    import requests

    known = checkpoint(name)
    folder = cache or cache_folder()
    path = folder / known.file_name
    partial = folder / f"{known.file_name}.part"

    pooch.get_logger().setLevel("WARNING")

    def download(address: str, output: str, _: Any) -> None:
        _download(address, partial, known, progress)
        partial.replace(output)

    try:
        pooch.retrieve(known.address, f"sha256:{known.sha256}", known.file_name, folder, downloader=download)
    except requests.RequestException as error:
        raise WeightsError(
            f"{known.address}: cannot be fetched ({_reason(error)}). Try again (it goes on where it stopped), "
            f"or put the file at {path}."
        ) from error
    except ValueError as error:
        raise WeightsError(
            f"{known.address}: what came has another SHA-256 than {known.sha256}. Nothing was kept; try again later."
        ) from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror or error}). Set VOS_CACHE.") from error
    return path


def _download(address: str, partial: Path, known: Checkpoint, progress: Progress | None) -> None:
    """Fetch an address into a partial file, going on from its end where the server can."""
    import requests

    done = partial.stat().st_size if partial.is_file() else 0
    if done and done == known.size:
        return
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            done = 0
        total = known.size or done + int(response.headers.get("Content-Length", 0))
        with partial.open("ab" if done else "wb") as file:
            for block in response.iter_content(BLOCK_BYTES):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
            file.flush()
            os.fsync(file.fileno())
    if total and done < total:
        raise requests.ConnectionError(f"the connection ended after {done} of {total} bytes")


def _reason(error: Exception) -> str:
    """One short line out of a network error."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return f"no answer in {TIMEOUT_SECONDS} s"
    text = str(error)
    return "no connection" if "Max retries" in text else text.splitlines()[0]
