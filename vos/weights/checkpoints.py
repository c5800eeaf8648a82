"""Known checkpoints: what they are, where they lie, and how they get there.

A checkpoint is a file in the cache folder (``VOS_CACHE``, else the platform's; ``Runtime.cache``). Fetching shows
progress, goes on where an interrupted one stopped, and verifies size and SHA-256 before the file gets its name, so
that what is there is whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vos.errors import WeightsError
from vos.types.runtime import cache_folder

BLOCK = 1 << 20
TIMEOUT_SECONDS = 30

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(frozen=True)
class Checkpoint:
    """A published file of weights.

    Attributes:
        name: what options call it (``"vit_b"``).
        file_name: its name in the cache folder.
        address: where it is published.
        sha256: hexadecimal.
        licence: SPDX name.
        model: whose weights they are, for people.
        size: bytes, or None where the publisher does not say.
    """

    name: str
    file_name: str
    address: str
    sha256: str
    licence: str
    model: str
    size: int | None = None


_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"

CHECKPOINTS: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            "vit_b",
            "sam_vit_b_01ec64.pth",
            f"{_SAM}sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            "Apache-2.0",
            "Segment Anything, ViT-B",
            375_042_383,
        ),
        Checkpoint(
            "vit_l",
            "sam_vit_l_0b3195.pth",
            f"{_SAM}sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            "Apache-2.0",
            "Segment Anything, ViT-L",
        ),
        Checkpoint(
            "vit_h",
            "sam_vit_h_4b8939.pth",
            f"{_SAM}sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            "Apache-2.0",
            "Segment Anything, ViT-H",
            2_564_550_879,
        ),
        Checkpoint(
            "vit_t",
            "mobile_sam.pt",
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            "Apache-2.0",
            "MobileSAM, TinyViT",
            40_728_226,
        ),
    )
}
"""The known checkpoints, by name."""


def checkpoint(name: str) -> Checkpoint:
    """Look a checkpoint up.

    Args:
        name: its name or its file's.
    Raises:
        WeightsError: not known; the message lists those that are.
    """
    for known in CHECKPOINTS.values():
        if name in (known.name, known.file_name):
            return known
    close = get_close_matches(name, CHECKPOINTS, n=1)
    hint = f' Did you mean "{close[0]}"?' if close else ""
    raise WeightsError(f'no known weights named "{name}". Known: {", ".join(CHECKPOINTS)}.{hint}')


def local_path(name: str, cache: Path | None = None) -> Path:
    """Find a known checkpoint's file, without the network.

    Args:
        name: as in ``checkpoint``.
        cache: the cache folder; None for the default.
    Returns:
        The file; its size fits what is published. ``verify`` checks its content.
    Raises:
        WeightsError: it is not there, or not whole; the message says how to get it.
    """
    known = checkpoint(name)
    path = (cache or cache_folder()) / known.file_name
    if not path.is_file():
        raise WeightsError(
            f"{path}: the weights of {known.model} are not there. `vos weights fetch {known.name}` gets them; without "
            f"a network, put {known.file_name} ({known.address}) there, or name your file: -O checkpoint=PATH."
        )
    size = path.stat().st_size
    if known.size is not None and size != known.size:
        raise WeightsError(
            f"{path}: {size} bytes, expected {known.size}: the file is truncated or another. "
            f"Fetch it again: vos weights fetch {known.name}"
        )
    return path


def verify(name: str, cache: Path | None = None) -> Path:
    """Check a known checkpoint's file against its published SHA-256.

    Returns:
        The file.
    Raises:
        WeightsError: it is not there, or its content is not what was published.
    """
    known = checkpoint(name)
    path = local_path(name, cache)
    found = sha256_of(path)
    if found != known.sha256:
        raise WeightsError(
            f"{path}: SHA-256 is {found}, expected {known.sha256}. "
            f"Delete the file and fetch it again: vos weights fetch {known.name}"
        )
    return path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fetch(name: str, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """Get a known checkpoint into the cache folder, if it is not there.

    An interrupted download leaves ``FILE.part``; the next one goes on from its end.

    Args:
        name: as in ``checkpoint``.
        cache: the cache folder; None for the default.
        progress: told how far it is.
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
            for block in response.iter_content(BLOCK):
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
