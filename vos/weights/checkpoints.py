"""Known checkpoints: which there are, where their files lie, and whether a file is what was published.

Plugins offer checkpoints with the hook ``vos_checkpoints``. A checkpoint's file lies in the cache folder
(``VOS_CACHE``, else the platform's; ``Runtime.cache``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vos.errors import WeightsError
from vos.registry.discovery import Plugins, load_plugins
from vos.suggestions import did_you_mean
from vos.types.checkpoint import Checkpoint
from vos.types.runtime import cache_folder

BLOCK_BYTES = 1 << 20


def known_checkpoints(plugins: Plugins | None = None) -> dict[str, Checkpoint]:
    """List the checkpoints that plugins offer.

    Args:
        plugins: who is asked; None loads the installed ones.
    Returns:
        Checkpoints by name, in the order in which plugins offer them. Of a name that two plugins offer, the first;
        using the name raises.
    """
    found: dict[str, Checkpoint] = {}
    for known, _ in (plugins or load_plugins()).checkpoints.in_order():
        found.setdefault(known.name, known)
    return found


def checkpoint(name: str | Checkpoint, plugins: Plugins | None = None) -> Checkpoint:
    """Look up a checkpoint by name.

    Args:
        name: its name or its file's; a ``Checkpoint`` is returned.
        plugins: who is asked; None loads the installed ones.
    Returns:
        The checkpoint.
    Raises:
        WeightsError: not known; the message lists those that are.
        PluginError: two plugins offer the name.
    """
    if isinstance(name, Checkpoint):
        return name
    plugins = plugins or load_plugins()
    known = known_checkpoints(plugins)
    for one in known.values():
        if name in (one.name, one.file_name):
            return plugins.checkpoints.get(one.name)
    listed = ", ".join(known) or "none"
    raise WeightsError(f'no known weights named "{name}". Known: {listed}.{did_you_mean(name, known)}')


def local_path(name: str | Checkpoint, cache: Path | None = None) -> Path:
    """Find a known checkpoint's file, without the network.

    Args:
        name: as for ``checkpoint``.
        cache: the cache folder; None for the default.
    Returns:
        The file, whose size is the published one; ``verify`` checks its content.
    Raises:
        WeightsError: it is not there, or not whole; the message says how to get it.
    """
    known = checkpoint(name)
    path = (cache or cache_folder()) / known.file_name
    if not path.is_file():
        raise WeightsError(
            f"{path}: the weights of {known.model} are not there. `vos weights fetch {known.name}` gets them; without "
            f"a network, put {known.file_name} ({known.address}) there, or name your file: -O checkpoint=PATH, or "
            "--checkpoint PATH where the command has no -O."
        )
    size = path.stat().st_size
    if known.size is not None and size != known.size:
        raise WeightsError(
            f"{path}: {size} bytes, expected {known.size}: the file is truncated or another. "
            f"Fetch it again: vos weights fetch {known.name}"
        )
    return path


def verify(name: str | Checkpoint, cache: Path | None = None) -> Path:
    """Check a known checkpoint's file against its published SHA-256.

    Returns:
        The file.
    Raises:
        WeightsError: it is not there, or its content is not what was published.
    """
    known = checkpoint(name)
    path = local_path(known, cache)
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
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
