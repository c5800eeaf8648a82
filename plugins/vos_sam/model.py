"""Segment Anything for trackers and initializers: encode frames, decode prompts, bring masks to the frame."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vos.plugin import Image, Runtime, Size, VosError
from vos.weights import sha256_of
from vos_sam.checkpoint import load_sam
from vos_sam.decoder import Decoded, Decoder, DecoderHooks
from vos_sam.embedding_cache import EmbeddingCache
from vos_sam.encoders.tiny_vit_encoder import TinyVitEncoder
from vos_sam.encoders.vit_encoder import VitEncoder
from vos_sam.known_weights import resolve_checkpoint
from vos_sam.prompt import Prompt
from vos_sam.tiny_vit import TinyViT, for_inference
from vos_sam.view import View, scaled_image


@dataclass(frozen=True, eq=False)
class Embedding:
    """A frame's embedding, on the model's device.

    Attributes:
        features: float32 (C, h, w), over the square input with its padding.
        view: the frame's place in that input.
        ahead: whether it was made while an earlier frame was tracked, on a part of the cores.
    """

    features: Tensor
    view: View
    ahead: bool = False


class SegmentAnything:
    """A loaded model. ``encode`` may run in several threads, beside one that decodes."""

    def __init__(
        self,
        sam: Any,
        dtype: torch.dtype = torch.float32,
        embedding_cache: EmbeddingCache | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            sam: a ``segment_anything.modeling.Sam`` in eval mode, on its device.
            dtype: arithmetic of the image encoder. The decoder is float32: it is a small share of the time.
            embedding_cache: keeps embeddings on disk, or None.
            details: which weights these are, as a tracker's ``details`` say it.
        """
        self._sam = sam.eval().requires_grad_(False)
        self._dtype = dtype
        self._cache = embedding_cache
        self.details: dict[str, str] = dict(details or {})
        """File name and SHA-256 of the checkpoint; empty for a model that is from no file."""
        self.side: int = sam.image_encoder.img_size
        """Side of the square input, pixels."""
        self.grid: tuple[int, int] = tuple(sam.prompt_encoder.image_embedding_size)
        """(h, w) of the embedding's cells."""
        self.channels: int = sam.prompt_encoder.embed_dim
        """C, of the embedding."""
        self.device: torch.device = sam.device
        self._encoder = _inference_encoder(sam.image_encoder, dtype)
        self._decoder = Decoder(sam)

    @classmethod
    def load(
        cls, runtime: Runtime, *, checkpoint: Path | None = None, model: str = "vit_b", cache_embeddings: bool = False
    ) -> SegmentAnything:
        """Load a checkpoint as a plugin's options name it.

        Args:
            runtime: device, precision (``auto`` is fp32) and cache folder.
            checkpoint: a file of any Segment Anything or MobileSAM model; its type is read off its tensors.
            model: a known model to take from the cache folder if no file is given.
            cache_embeddings: keep embeddings in the cache folder.
        Raises:
            WeightsError: no such file, or none that fits.
        """
        device = runtime.torch_device()
        path = resolve_checkpoint(checkpoint, model, runtime.cache)
        with ThreadPoolExecutor(1, thread_name_prefix="vos-sha256") as beside:
            digest = beside.submit(sha256_of, path)
            sam = load_sam(path)
        dtype = runtime.torch_dtype()
        cache = EmbeddingCache(runtime.cache / "embeddings", digest.result(), dtype) if cache_embeddings else None
        # The name alone: the same file in another cache folder is the same model.
        return cls(sam.to(device), dtype, cache, {"checkpoint": path.name, "sha256": digest.result()})

    @torch.inference_mode()
    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """Encode images; those of one call go through the encoder together.

        Args:
            images: uint8 (H, W, 3), RGB, of any sizes.
        Returns:
            One embedding each, in order.
        Raises:
            VosError: an embedding is not finite, as where half precision overflows.
        """
        views = [View((int(image.shape[0]), int(image.shape[1])), self.side) for image in images]
        found = [None if self._cache is None else self._cache.read(image) for image in images]
        missing = [row for row, features in enumerate(found) if features is None]
        if missing:
            batch = torch.stack([self._input(images[row], views[row]) for row in missing])
            heights, widths = zip(*(views[row].input_size for row in missing), strict=True)
            for row, features in zip(missing, self._encode(batch, (max(heights), max(widths))), strict=True):
                self._check_finite(features)
                found[row] = features
                if self._cache is not None:
                    self._cache.write(images[row], features)
        return [Embedding(f.to(self.device), v) for f, v in zip(found, views, strict=True) if f is not None]

    def _encode(self, batch: Tensor, size: Size) -> Tensor:
        """Encode (B, 3, S, S) inputs whose frames lie within (H, W) ``size``."""
        if isinstance(self._encoder, VitEncoder):
            return self._encoder(batch, size)
        features: Tensor
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            if isinstance(self._encoder, TinyVitEncoder):
                features = self._encoder(batch, size)
            else:
                features = self._encoder(batch.to(memory_format=torch.channels_last))
        return features.float().contiguous()

    def _check_finite(self, features: Tensor) -> None:
        """Refuse an embedding that is not finite: it decodes to empty masks."""
        if not features.isfinite().all():
            raise VosError(
                f"Segment Anything gives no numbers for this image in {str(self._dtype).removeprefix('torch.')}. "
                "With --precision fp16 try bf16 or fp32; otherwise the weights are damaged: fetch them again."
            )

    def _input(self, image: Image, view: View) -> Tensor:
        """The normalised, padded input: float32 (3, S, S)."""
        scaled = torch.from_numpy(np.array(scaled_image(image, view.input_size))).to(self.device)
        prepared: Tensor = self._sam.preprocess(scaled.permute(2, 0, 1))
        return prepared

    @torch.inference_mode()
    def decode(
        self,
        embedding: Embedding,
        prompts: Sequence[Prompt],
        *,
        multimask: bool = True,
        hooks: DecoderHooks | None = None,
    ) -> Decoded:
        """Decode all prompts of one frame; see ``Decoder``."""
        return self._decoder(embedding.features, embedding.view, prompts, multimask=multimask, hooks=hooks)


def _inference_encoder(encoder: Any, dtype: torch.dtype) -> Any:
    """Make the fast form of an image encoder, where there is one."""
    from segment_anything.modeling import ImageEncoderViT

    if isinstance(encoder, ImageEncoderViT):
        return VitEncoder(encoder, dtype)
    if not isinstance(encoder, TinyViT):
        return encoder
    on_processor = next(encoder.parameters()).device.type == "cpu"
    return TinyVitEncoder(encoder) if on_processor else for_inference(encoder)


_latest: tuple[tuple[object, ...], SegmentAnything] | None = None
_latest_lock = threading.Lock()


def load_once(runtime: Runtime, checkpoint: Path | None, model: str, cache_embeddings: bool) -> SegmentAnything:
    """Load a model as ``SegmentAnything.load`` does, or give the latest one again: a page asks at each click.

    A file that has changed is loaded anew.
    """
    global _latest
    runtime.torch_device()  # seeds and sets threads, also where the model is at hand
    path = resolve_checkpoint(checkpoint, model, runtime.cache)
    facts = path.stat()
    key = (path, facts.st_mtime_ns, facts.st_size, cache_embeddings, *vars(runtime).values())
    with _latest_lock:
        if _latest is None or _latest[0] != key:
            _latest = None  # two models are never held at once
            loaded = SegmentAnything.load(
                runtime, checkpoint=checkpoint, model=model, cache_embeddings=cache_embeddings
            )
            _latest = key, loaded
        return _latest[1]
