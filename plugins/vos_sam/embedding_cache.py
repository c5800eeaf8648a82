"""Embeddings kept on disk, so that repeated runs on the same images encode each image once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch
from torch import Tensor

from vos.plugin import Image, OutputError, atomic_write


class EmbeddingCache:
    """Embeddings by the image's content, the checkpoint's content and the precision."""

    def __init__(self, folder: Path, checkpoint_sha256: str, dtype: torch.dtype) -> None:
        """Open or make the cache.

        Args:
            folder: where the files lie; a folder for each checkpoint and precision is made in it.
            checkpoint_sha256: of the model's file; a part of the key.
            dtype: the encoder's arithmetic.
        Raises:
            OutputError: the folder cannot be made.
        """
        self.folder = folder / f"{checkpoint_sha256[:16]}-{str(dtype).removeprefix('torch.')}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot be made ({error.strerror}). Set VOS_CACHE, or cache_embeddings=false."
            ) from error

    def read(self, image: Image) -> Tensor | None:
        """Find an image's embedding: float32 (C, h, w) on the CPU, or None. A damaged file counts as none."""
        try:
            content = self._path(image).read_bytes()
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception:  # the unpickler stumbles over damaged bytes in any way there is
            return None
        return loaded if isinstance(loaded, Tensor) else None

    def write(self, image: Image, features: Tensor) -> None:
        """Store an image's embedding, (C, h, w)."""
        buffer = io.BytesIO()
        torch.save(features.detach().cpu().clone(), buffer)
        atomic_write(self._path(image), buffer.getvalue())

    def _path(self, image: Image) -> Path:
        digest = hashlib.sha256(repr(image.shape).encode())
        digest.update(image.tobytes())
        return self.folder / f"{digest.hexdigest()[:32]}.pt"
