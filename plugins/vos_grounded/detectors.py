"""Grounding DINO and OWLv2: boxes for phrases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torchvision.ops import box_convert

from vos.plugin import Image, OptionError, Size
from vos_grounded.detections import Detections
from vos_grounded.models import Loaded


class Detector(Protocol):
    """Finds boxes for phrases.

    Attributes:
        threshold: score from which a box is an object, unless the user sets another.
    """

    threshold: float

    def detect(self, image: Image, phrases: Sequence[str]) -> Detections:
        """Find boxes in uint8 (H, W, 3); all of the network's boxes, each with its likeliest phrase."""


class GroundingDino:
    """Grounding DINO (arXiv:2303.05499): all phrases are read as one text, "dog. red ball.".

    A box's score for a phrase is the highest probability among the phrase's tokens. The official demo takes whichever
    tokens of the text are above a threshold, so that a box may be called "red".
    """

    threshold = 0.35

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @torch.inference_mode()
    def detect(self, image: Image, phrases: Sequence[str]) -> Detections:
        """Find boxes; as ``Detector.detect``."""
        network, processor = self._loaded.network, self._loaded.processor
        prepared = processor.image_processor(
            images=image.copy(), return_tensors="pt", input_data_format="channels_last"
        ).to(network.device)
        found = []
        for first, tokens, spans in self._texts(phrases):
            ids = torch.tensor([tokens], device=network.device)
            output = network(
                pixel_values=prepared["pixel_values"].to(network.dtype),
                pixel_mask=prepared["pixel_mask"],
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
            )
            by_token = output.logits[0].float().sigmoid()
            scores = torch.stack([by_token[:, span].amax(dim=1) for span in spans], dim=1)
            found.append(_detections(output.pred_boxes[0], scores, (image.shape[0], image.shape[1]), first))
        return Detections(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _texts(self, phrases: Sequence[str]) -> Iterator[tuple[int, list[int], list[slice]]]:
        """Texts of as many phrases as the model reads: the first phrase's row, token ids, each phrase's tokens."""
        tokenizer = self._loaded.processor.tokenizer
        longest = self._loaded.network.config.max_text_len - 1
        stop = tokenizer.convert_tokens_to_ids(".")
        first, tokens, spans = 0, [tokenizer.cls_token_id], list[slice]()
        for row, phrase in enumerate(phrases):
            # The model takes these marks as the end of a phrase.
            words = tokenizer(re.sub(r"[.?]", " ", phrase).lower(), add_special_tokens=False).input_ids
            if not words or len(words) + 2 > longest:
                raise OptionError(
                    f'phrase "{phrase[:60]}" has {len(words)} tokens, Grounding DINO reads 1 to {longest - 2}.'
                )
            if len(tokens) + len(words) + 1 > longest:
                yield first, [*tokens, tokenizer.sep_token_id], spans
                first, tokens, spans = row, [tokenizer.cls_token_id], []
            spans.append(slice(len(tokens), len(tokens) + len(words)))
            tokens = [*tokens, *words, stop]
        yield first, [*tokens, tokenizer.sep_token_id], spans


class Owlv2:
    """OWLv2 (arXiv:2306.09683): each phrase is a sentence, "a photo of a dog", as in the paper's evaluation."""

    threshold = 0.2

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @torch.inference_mode()
    def detect(self, image: Image, phrases: Sequence[str]) -> Detections:
        """Find boxes; as ``Detector.detect``."""
        network, processor = self._loaded.network, self._loaded.processor
        prepared = processor(
            text=[[f"a photo of a {phrase.lower()}" for phrase in phrases]],
            images=image.copy(),
            return_tensors="pt",
            input_data_format="channels_last",
        ).to(network.device)
        longest = network.config.text_config.max_position_embeddings
        if prepared["input_ids"].shape[1] > longest:
            raise OptionError(
                f"a phrase of the text has {prepared['input_ids'].shape[1]} tokens with its sentence, "
                f"OWLv2 reads {longest}: use fewer words."
            )
        output = network(
            pixel_values=prepared["pixel_values"].to(network.dtype),
            input_ids=prepared["input_ids"],
            attention_mask=prepared["attention_mask"],
        )
        side = max(image.shape[:2])  # the image lies in a square, padded on the right or below
        return Detections(*_detections(output.pred_boxes[0], output.logits[0].float().sigmoid(), (side, side), 0))


def _detections(boxes: Tensor, scores: Tensor, size: Size, first: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fields of ``Detections``, from relative centres and sizes (N, 4), and scores (N, P) of phrases from ``first``."""
    height, width = size
    corners = box_convert(boxes.float(), "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height]).float()
    best, phrase = scores.max(dim=1)
    return corners, best, phrase + first, scores.amax(dim=0)
