"""The initializer "sam3-text": all instances of each phrase, by SAM 3's image model.

Source: Carion et al., SAM 3, arXiv:2511.16719, section 3 (promptable concept segmentation).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from vos.plugin import EmptyMaskError, Frame, Initializer, LabelMap, OptionError, Runtime, object_ids
from vos_grounded import SAM3_TYPES
from vos_grounded.detections import Detections, choose_objects, log_objects
from vos_grounded.grounded_sam import renumbered
from vos_grounded.models import Loaded, load, model_folder
from vos_grounded.options import Sam3TextOptions


class Sam3TextInitializer:
    """Segments each object that a text names."""

    def __init__(self, options: Sam3TextOptions, loaded: Loaded) -> None:
        self._phrases = options.phrases("sam3-text")
        self._options = options
        self._loaded = loaded

    def initialize(self, frame: Frame) -> LabelMap:
        """Find and segment the objects of a frame.

        Args:
            frame: any size.
        Returns:
            uint8 (H, W): ids from 1 in the order of the phrases, the likeliest object of each first.
        Raises:
            EmptyMaskError: none of the phrases is in the frame.
        """
        found, logits = self._segment(frame)
        rows = choose_objects(found, self._phrases, self._options, self._options.threshold, frame)
        label_map = np.zeros(frame.size, np.uint8)
        highest = torch.zeros(frame.size)
        for object_id, row in enumerate(rows.tolist(), start=1):
            mask = F.interpolate(logits[row][None, None].float(), frame.size, mode="bilinear")[0, 0].cpu()
            label_map[(mask > highest).numpy()] = object_id
            highest = torch.maximum(highest, mask)
        seen = object_ids(label_map)
        if not seen:
            raise EmptyMaskError(f"frame {frame.name}: the masks of what was found are empty. Try other words.")
        log_objects(found, self._phrases, rows[[object_id - 1 for object_id in seen]], range(1, len(seen) + 1))
        return renumbered(label_map, seen)

    @torch.inference_mode()
    def _segment(self, frame: Frame) -> tuple[Detections, torch.Tensor]:
        """All queries of all phrases, with their mask logits (N, h, w).

        An instance's probability is the query's times that of the phrase being in the image
        (transformers, Sam3ImageProcessor.post_process_instance_segmentation).
        """
        network, processor = self._loaded.network, self._loaded.processor
        pixels = processor.image_processor(
            images=frame.image.copy(), return_tensors="pt", input_data_format="channels_last"
        ).pixel_values
        vision = network.get_vision_features(pixels.to(network.device, network.dtype))
        height, width = frame.size
        parts = []
        for row, phrase in enumerate(self._phrases):
            text = processor(text=phrase.lower(), return_tensors="pt", original_sizes=[[height, width]])
            if text["input_ids"].shape[1] > network.config.text_config.max_position_embeddings:
                raise OptionError(f'phrase "{phrase[:60]}" is too long for SAM 3: use fewer words.')
            output = network(
                vision_embeds=vision,
                input_ids=text["input_ids"].to(network.device),
                attention_mask=text["attention_mask"].to(network.device),
            )
            scores = output.pred_logits[0].float().sigmoid() * output.presence_logits[0].float().sigmoid()
            boxes = output.pred_boxes[0].float() * torch.tensor([width, height, width, height], device=network.device)
            parts.append((boxes, scores, torch.full_like(scores, row, dtype=torch.int64), output.pred_masks[0]))
        highest = torch.stack([scores.max() for _, scores, *_ in parts])
        boxes, scores, phrases, logits = (torch.cat(part) for part in zip(*parts, strict=True))
        return Detections(boxes, scores, phrases, highest), logits


def load_initializer(options: Sam3TextOptions, runtime: Runtime) -> Initializer:
    """Load SAM 3's image model, which is also in the folder of its video model.

    Raises:
        OptionError: no text.
        ExtraMissingError: transformers is not installed.
        WeightsError: the model cannot be found, fetched or loaded.
    """
    options.phrases("sam3-text")
    folder, _ = model_folder(options.model, SAM3_TYPES)
    return Sam3TextInitializer(options, load(folder, "Sam3Model", "Sam3Processor", runtime))
