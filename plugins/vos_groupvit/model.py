"""The GroupViT network from transformers: images and sentences to vectors and assignments."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from torch import Tensor

from vos.plugin import (
    ExtraMissingError,
    Image,
    OptionError,
    Size,
    VosError,
    WeightsError,
    hub_folder,
    load_network,
    load_part,
)
from vos_groupvit.grouping import Segmentation, group_affinity, group_map, patch_groups

TEMPLATES = {
    "simple": ("a photo of a {}.",),
    "many": (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
}
"""Sentences for a phrase: the official segmentation's one, and CLIP's seven (arXiv:2103.00020)."""

OPTIONAL = ("*.position_ids", "*.num_batches_tracked")
"""Tensors that some releases of transformers save and others do not; nothing is computed from them."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GroupVit:
    """A loaded GroupViT."""

    def __init__(self, model: str, device: torch.device, dtype: torch.dtype) -> None:
        """Load a model.

        Args:
            model: a folder in transformers' layout, or a hub id.
            device: where it runs.
            dtype: its arithmetic.
        Raises:
            ExtraMissingError: transformers is not installed.
            WeightsError: the model cannot be found, fetched or loaded.
        """
        try:
            transformers: Any = importlib.import_module("transformers")
        except ImportError as error:
            raise ExtraMissingError(
                f'groupvit needs transformers ({error}). Install it: pip install "vos-toolkit[groupvit]"'
            ) from error
        folder = hub_folder(
            model,
            files=["*.json", "*.txt", "model.safetensors", "pytorch_model.bin"],
            needed=["config.json", "*model[.-]*", "vocab.json", "merges.txt"],
            extra="groupvit",
        )
        _check_type(folder)
        self.network = load_network(transformers.GroupViTModel, folder, optional=OPTIONAL)
        self.tokenizer = load_part(transformers.CLIPTokenizer, folder)
        self.network.to(device, dtype).eval()
        self.folder, self.device, self.dtype = folder, device, dtype
        self.patch = int(self.network.config.vision_config.patch_size)

    @torch.inference_mode()
    def embed_phrases(self, phrases: Sequence[str], templates: str) -> Tensor:
        """Turn phrases into vectors: the mean over the templates' sentences.

        Args:
            phrases: P phrases.
            templates: a key of ``TEMPLATES``.
        Returns:
            float32 (P, D), unit length.
        Raises:
            OptionError: a phrase is longer than the model reads.
            WeightsError: the tokenizer is of another model.
        """
        vectors = []
        for phrase in phrases:
            tokens = self._tokens([template.format(phrase) for template in TEMPLATES[templates]])
            text = self.network.text_model(
                input_ids=tokens.input_ids.to(self.device), attention_mask=tokens.attention_mask.to(self.device)
            )
            vectors.append(self.network.text_projection(text.pooler_output).float().mean(dim=0))
        return F.normalize(torch.stack(vectors), dim=-1)

    def _tokens(self, sentences: list[str]) -> Any:
        text = self.network.config.text_config
        length = text.max_position_embeddings
        try:
            tokens = self.tokenizer(sentences, padding="max_length", max_length=length, verbose=False)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise WeightsError(
                f"{self.folder}: the tokenizer cannot read text ({reason}): vocab.json or merges.txt is not that of a "
                "GroupViT. Fetch the folder again."
            ) from error
        longest = max(len(ids) for ids in tokens.input_ids)
        if longest > length:
            raise OptionError(
                f'a phrase of the text is too long: "{sentences[0][:60]}..." is {longest} tokens, '
                f"the model reads {length}."
            )
        largest = max(max(ids) for ids in tokens.input_ids)
        if largest >= text.vocab_size:
            raise WeightsError(
                f"{self.folder}: the tokenizer gives token {largest}, the network has {text.vocab_size}: "
                "they are of different models."
            )
        return tokens.convert_to_tensors("pt")

    @torch.inference_mode()
    def segment(self, image: Image, phrases: Tensor, short_side: int, *, top: int, sure: int = 0) -> Segmentation:
        """Group a frame's patches and compare the groups with phrases.

        Args:
            image: uint8 (H, W, 3), RGB.
            phrases: float32 (P, D), from ``embed_phrases``.
            short_side: of the frame for the model, pixels; both sides become multiples of a patch.
            top: as in ``group_affinity``.
            sure: as in ``group_affinity``.
        Returns:
            Groups at the frame's size, and their affinity.
        Raises:
            VosError: the network gives no numbers, as where half precision overflows.
        """
        pixels = prepare_image(image, short_side, self.patch).to(self.device, self.dtype)
        grid = (pixels.shape[2] // self.patch, pixels.shape[3] // self.patch)
        vision = self.network.vision_model
        patches = vision.embeddings(pixels, interpolate_pos_encoding=True)
        encoded = vision.encoder(patches, output_attentions=True, return_dict=True)
        tokens = vision.layernorm(encoded.last_hidden_state)[0]
        vectors = self.network.visual_projection(torch.cat([tokens, tokens.mean(dim=0, keepdim=True)])).float()
        vectors = F.normalize(vectors, dim=-1)
        if not bool((vectors @ phrases.T).isfinite().all()):
            raise VosError(
                f"{self.folder}: what GroupViT gives is not a number. "
                "With --precision fp16 try bf16 or fp32; otherwise the weights are damaged: fetch them again."
            )
        scale = min(float(self.network.logit_scale.exp()), 100.0)
        belonging = patch_groups([assignment[0].float() for assignment in encoded.attentions])
        height, width = image.shape[:2]
        return Segmentation(
            group_map(belonging, grid, (height, width)),
            group_affinity(vectors[:-1], vectors[-1], phrases, scale, top=top, sure=sure),
        )


def prepare_image(image: Image, short_side: int, patch: int) -> Tensor:
    """Scale and normalise a frame for the network, its shape kept to the nearest patch.

    Args:
        image: uint8 (H, W, 3), RGB.
        short_side: of the result, pixels.
        patch: both sides become multiples of it, at least one.
    Returns:
        float32 (1, 3, h, w).
    """
    height, width = model_size((image.shape[0], image.shape[1]), short_side, patch)
    resized = PillowImage.fromarray(image).resize((width, height), PillowImage.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)[None] / 255
    return (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def model_size(size: Size, short_side: int, patch: int) -> Size:
    """The size at which a frame goes through the network.

    Args:
        size: (H, W) of the frame.
        short_side: wanted for the shorter of them; the longer becomes at most 2048.
        patch: both become multiples of it.
    Returns:
        (h, w).
    """
    scale = min(short_side / min(size), 2048 / max(size))
    height, width = (max(1, round(side * scale / patch)) * patch for side in size)
    return height, width


def _check_type(folder: Path) -> None:
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{folder}/config.json: cannot be read ({error}).") from error
    if kind != "groupvit":
        raise WeightsError(f'{folder}: model type is "{kind}", expected "groupvit" (nvidia/groupvit-gcc-yfcc).')
