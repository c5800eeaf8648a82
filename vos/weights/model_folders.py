"""Folders of models on the Hugging Face hub, or on this machine."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from vos.errors import ExtraMissingError, WeightsError


def hub_folder(
    model: str,
    *,
    files: Sequence[str],
    needed: Sequence[str],
    extra: str,
    fetch: bool = True,
    flag: str = "-O model=",
) -> Path:
    """Find a model's folder: one on this machine, one that the hub's cache has, or fetch it.

    The hub's own cache is used (``HF_HOME``), so what other programs fetched is found.

    Args:
        model: a folder, or a hub id such as ``"nvidia/groupvit-gcc-yfcc"``.
        files: patterns of the files to fetch, as ``huggingface_hub`` takes them.
        needed: paths inside the folder without which it is not the model, as glob patterns.
        extra: the extra of this distribution that installs ``huggingface_hub``.
        fetch: False uses no network: the model has to be on this machine.
        flag: what the user types before the model, for messages: ``"-O model="``, or ``"--model "`` with its space.
    Returns:
        The folder.
    Raises:
        ExtraMissingError: ``huggingface_hub`` is not installed.
        WeightsError: no such folder, files missing in it, or the hub cannot be reached or refuses.
    """
    local = _local_folder(model, files, needed, extra, flag)
    if local is not None:
        return local
    if not fetch:
        raise WeightsError(
            f'model "{model}" is not on this machine. '
            f"Fetch it once (hf download {model} --local-dir FOLDER) and give {flag}FOLDER."
        )
    from huggingface_hub import constants, snapshot_download

    try:
        _check_reachable(constants.ENDPOINT)
        silent = None if sys.stderr.isatty() else _silent_bar()
        fetched = Path(snapshot_download(model, allow_patterns=list(files), tqdm_class=silent))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f'model "{model}" is not on this machine and cannot be fetched from the Hugging Face hub ({reason}).\n'
            f"Fetch it where there is a network (hf download {model} --local-dir FOLDER) and give {flag}FOLDER."
        ) from error
    missing = _missing(fetched, needed)
    if missing:
        raise WeightsError(f'model "{model}" on the hub is not of this kind: no {", ".join(missing)} in it.')
    return fetched


def _local_folder(model: str, files: Sequence[str], needed: Sequence[str], extra: str, flag: str) -> Path | None:
    """The folder that is named, or that the hub's cache has; None where the model is to be fetched."""
    if not model.strip():
        raise WeightsError(f"the model's name is empty. Give a model's folder or a hub id with {flag}...")
    folder = Path(model).expanduser()
    if folder.is_dir():
        missing = _missing(folder, needed)
        if missing:
            raise WeightsError(f"{model}: not this kind of model: no {', '.join(missing)} in the folder.")
        return folder
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise WeightsError(f"{model}: no such folder. Give a model's folder or a hub id with {flag}...")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError as error:
        raise ExtraMissingError(
            f'{model}: {error}. Install what it needs: pip install "vos-toolkit[{extra}]"'
        ) from error
    try:
        cached = Path(snapshot_download(model, allow_patterns=list(files), local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None
    return None if _missing(cached, needed) else cached


def _missing(folder: Path, needed: Sequence[str]) -> list[str]:
    """Patterns that nothing fits; for reading, sets of characters are a dot."""
    return [re.sub(r"(\[[^]]*\])+", ".", pattern) for pattern in needed if not any(folder.glob(pattern))]


def _check_reachable(address: str) -> None:
    """Fail at once without a network, instead of after the half minute that the hub's client retries."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    if not getproxies():
        parts = urlsplit(address)
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=10).close()


def _silent_bar() -> type:
    from tqdm import tqdm

    class Silent(tqdm):  # type: ignore[misc]
        """A progress bar that shows nothing, for output that is no terminal."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent
