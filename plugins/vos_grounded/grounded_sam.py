"""The initializer "grounded-sam": a text's objects as boxes, the boxes as masks.

Source: Ren et al., Grounded SAM, arXiv:2401.14159, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Frame, Initializer, LabelMap, Runtime, VosError, WeightsError, object_ids
from vos_grounded import DETECTOR_TYPES
from vos_grounded.detections import choose_objects, log_objects
from vos_grounded.detectors import Detector, GroundingDino, Owlv2
from vos_grounded.models import load, model_folder
from vos_grounded.options import GroundedSamOptions
from vos_sam.initializers import choose_mask
from vos_sam.known_weights import resolve_checkpoint
from vos_sam.model import SegmentAnything
from vos_sam.prompt import Prompt
from vos_sam.view import merge_objects


class GroundedSamInitializer:
    """Segments each object that a text names."""

    def __init__(self, options: GroundedSamOptions, detector: Detector, sam: SegmentAnything) -> None:
        self._phrases = options.phrases("grounded-sam")
        self._options = options
        self._detector = detector
        self._sam = sam

    def initialize(self, frame: Frame) -> LabelMap:
        """Find and segment the objects of a frame.

        Args:
            frame: any size.
        Returns:
            uint8 (H, W): ids from 1 in the order of the phrases, the likeliest object of each first.
        Raises:
            EmptyMaskError: none of the phrases is in the frame.
        """
        options = self._options
        found = self._detector.detect(frame.image, self._phrases).inside(frame.size)
        threshold = self._detector.threshold if options.threshold is None else options.threshold
        rows = choose_objects(found, self._phrases, options, threshold, frame)
        # A box's last pixel ends at its border.
        boxes = (found.boxes[rows] - found.boxes.new_tensor([0, 0, 1, 1])).cpu().numpy()
        (embedding,) = self._sam.encode([frame.image])
        decoded = self._sam.decode(embedding, [Prompt(box_xyxy=box) for box in boxes])
        ids = range(1, len(boxes) + 1)
        label_map = merge_objects(embedding.view, ids, choose_mask(decoded, embedding, "best"))
        seen = object_ids(label_map)  # an object may be hidden by another
        log_objects(found, self._phrases, rows[[object_id - 1 for object_id in seen]], range(1, len(seen) + 1))
        return renumbered(label_map, seen)


def renumbered(label_map: LabelMap, ids: Sequence[int]) -> LabelMap:
    """Number objects 1, 2, ... in the order of their ids."""
    import numpy as np

    table = np.zeros(256, np.uint8)
    table[list(ids)] = np.arange(1, len(ids) + 1)
    return table[label_map]


def load_initializer(options: GroundedSamOptions, runtime: Runtime) -> Initializer:
    """Load the detector and Segment Anything.

    Raises:
        OptionError: no text.
        ExtraMissingError: transformers is not installed.
        WeightsError: either is missing or cannot be loaded; the message says how to get each that is missing.
    """
    options.phrases("grounded-sam")
    missing: list[VosError] = []
    try:
        resolve_checkpoint(options.checkpoint, options.sam, runtime.cache)
    except WeightsError as error:
        missing.append(error)
    try:
        folder, kind = model_folder(options.model, DETECTOR_TYPES)
    except WeightsError as error:
        missing.append(error)
    if missing:
        raise WeightsError("\n".join(map(str, missing)))
    detector: Detector
    if kind == "owlv2":
        detector = Owlv2(load(folder, "Owlv2ForObjectDetection", "Owlv2Processor", runtime))
    else:
        detector = GroundingDino(load(folder, "GroundingDinoForObjectDetection", "GroundingDinoProcessor", runtime))
    sam = SegmentAnything.load(runtime, checkpoint=options.checkpoint, model=options.sam)
    return GroundedSamInitializer(options, detector, sam)
