"""The tracker ``propagation``: a list of stages, each of which reads and fills named fields of a ``FrameState``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch

from vos.plugin import BoolArray, FloatArray, Frame, LabelMap, Prediction, Runtime, limit_threads, object_ids
from vos_propagation.backbone.features import Encoder, FrameFeatures, has_fast_bf16, working_size
from vos_propagation.backbone.int8_network import has_int8_convolutions
from vos_propagation.backbone.working_resolution import side_for_objects
from vos_propagation.confidence import confidence
from vos_propagation.config import PipelineConfig, PropagationOptions
from vos_propagation.frame_state import FrameState, SequenceState
from vos_propagation.memory.labels import add_rows, drop_row
from vos_propagation.memory.manager import MemoryManager
from vos_propagation.ops.threads import split_threads
from vos_propagation.saved_state import fingerprint, load, save
from vos_propagation.stages.appearance import Appearance
from vos_propagation.stages.crossings import Crossings
from vos_propagation.stages.decoder import Decoder, VotesAsLogits
from vos_propagation.stages.distractors import Distractors, find_distractor_pairs
from vos_propagation.stages.edges import Edges
from vos_propagation.stages.flow import Flow
from vos_propagation.stages.matching import Matching
from vos_propagation.stages.memory_update import MemoryUpdate
from vos_propagation.stages.redetection import Redetection
from vos_propagation.stages.stage import Stage
from vos_propagation.stages.verification import Verification


def build_stages(config: PipelineConfig, device: torch.device, dtype: torch.dtype) -> list[Stage]:
    """List the stages in the order in which they run on each frame."""
    left_out = config.left_out
    if "redetection" in left_out:
        # The stage compares masks with the views that redetection keeps.
        left_out |= {"verification"}
    redetection = Redetection(config.redetection)
    stages: list[Stage] = [
        Flow(),
        Appearance(),
        Matching(config.matching),
        Distractors(config.distractors),
        redetection,
        VotesAsLogits() if "decoder" in left_out else Decoder(config.decoder, device, dtype),
        Verification(redetection),
        Crossings(config.crossings),
        Edges(),
        MemoryUpdate(None if "redetection" in left_out else redetection),
    ]
    return [stage for stage in stages if stage.name not in left_out]


class PropagationTracker:
    """Propagates labels through a video, all objects at once; see docs/trackers/propagation.md.

    Attributes:
        stages: the stages that run on each frame, in this order.
        keep_levels: whether frames keep the backbone's levels, which only training needs.
    """

    encode_batch = 1

    def __init__(self, options: PropagationOptions, runtime: Runtime) -> None:
        self._config = options.config()
        self._device = runtime.torch_device()
        dtype = runtime.torch_dtype("bf16" if has_fast_bf16(self._device) else "fp32")
        int8 = runtime.precision == "auto" and self._device.type == "cpu" and has_int8_convolutions()
        self._encoder = Encoder(self._device, dtype, int8=int8)
        self._dtype = dtype
        self.stages = build_stages(self._config, self._device, dtype)
        self.keep_levels = False
        threads = torch.get_num_threads()
        self._encoding_threads, self._tracking_threads = split_threads(threads)
        # On one core or on a GPU, encoding and tracking would run one after the other anyway.
        if self._device.type == "cpu" and threads > 1:
            self.encode_ahead = self._encode_ahead
        self._side = self._config.side
        self._sequence: SequenceState | None = None

    @property
    def sequence(self) -> SequenceState:
        """The state of the sequence; there is none before ``start``."""
        assert self._sequence is not None, "the host calls start first"
        return self._sequence

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[FrameFeatures]:
        """Extract the frames' features."""
        return [self._encode(frame) for frame in frames]

    @torch.inference_mode()
    def _encode_ahead(self, frames: Sequence[Frame]) -> list[FrameFeatures]:
        """Extract the frames' features on some of the cores, while ``step`` uses the others."""
        with limit_threads(self._encoding_threads):
            return [replace(self._encode(frame), ahead=True) for frame in frames]

    def _encode(self, frame: Frame) -> FrameFeatures:
        features = self._encoder(frame, working_size(frame.size, self._side))
        for stage in self.stages:
            features = stage.encode(features)
        return features if self.keep_levels else replace(features, levels={})

    @torch.inference_mode()
    def start(self, frame: Frame, label_map: LabelMap, encoding: FrameFeatures) -> None:
        """Begin a new sequence, and drop the state of the one before."""
        for stage in self.stages:
            stage.reset()
        self._side = self._config.side
        if self._config.adapt_resolution:
            self._side = side_for_objects(self._side, label_map)
        features = self._at_working_size(frame, encoding)
        background = torch.ones(1, *features.grey.shape, dtype=torch.float32, device=self._device)
        memory = MemoryManager(self._config.memory, features)
        self._sequence = SequenceState(memory, features, [], background)
        self._add_annotation(label_map)

    @torch.inference_mode()
    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add the label map's new ids as objects, and correct those already known."""
        self._add_annotation(label_map)

    @torch.inference_mode()
    def forget(self, object_id: int) -> None:
        """Stop tracking an object; its cells become background."""
        sequence = self.sequence
        row = sequence.object_ids.index(object_id) + 1
        sequence.object_ids.remove(object_id)
        for stage in self.stages:
            stage.forget(object_id)
        sequence.prob = drop_row(sequence.prob, row)
        sequence.memory.forget(object_id, row, sequence.features)
        self._find_distractors()

    @torch.inference_mode()
    def step(self, frame: Frame, encoding: FrameFeatures) -> Prediction:
        """Segment the next frame."""
        features = self._at_working_size(frame, encoding)
        with limit_threads(self._tracking_threads if features.ahead else None):
            return self._step(features)

    def save(self, path: Path) -> None:
        """Write the state of the sequence to a file; see ``vos.plugin.SavingTracker``."""
        save(path, self._side, self.sequence, self.stages, self._fingerprint)

    @torch.inference_mode()
    def load(self, path: Path) -> None:
        """Read the state that ``save`` wrote, and continue from there.

        Raises:
            InputError: the file is damaged, or was written with other options or weights.
        """
        self._side, self._sequence = load(path, self.stages, self._fingerprint, self._config.memory, self._device)

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(f"{self._config} {self._device.type} {self._dtype}", [self._encoder, *self.stages])

    def _step(self, features: FrameFeatures) -> Prediction:
        sequence = self.sequence
        if not sequence.object_ids:
            sequence.features = features
            return Prediction([], np.zeros((0, *features.grey.shape), np.float32))
        frame = FrameState.begin(features, sequence)
        for stage in self.stages:
            stage(frame, sequence)
        sequence.prob, sequence.features = frame.prob_s4, features
        scores = confidence(frame.logits_s4, self._config.redetection.min_area_s8)
        return Prediction(sequence.object_ids, frame.full_logits(), *scores)

    def _at_working_size(self, frame: Frame, encoding: FrameFeatures) -> FrameFeatures:
        """Encode a frame again if its encoding has another size: the size depends on the annotated objects."""
        if encoding.size == working_size(frame.size, self._side):
            return encoding
        return self._encode_ahead([frame])[0] if encoding.ahead else self._encode(frame)

    def _add_annotation(self, label_map: LabelMap) -> None:
        """Add the objects of an annotation of the frame before, or correct them."""
        sequence = self.sequence
        annotated = object_ids(label_map)
        new = [object_id for object_id in annotated if object_id not in sequence.object_ids]
        sequence.object_ids += new
        sequence.prob = add_rows(sequence.prob, len(new))
        shares = {object_id: self._share_of(label_map == object_id) for object_id in annotated}
        prob = torch.zeros_like(sequence.prob)
        for object_id, share in shares.items():
            prob[sequence.object_ids.index(object_id) + 1] = torch.from_numpy(share).to(self._device)
        kept = torch.tensor([object_id not in shares for object_id in sequence.object_ids], device=self._device)
        prob[1:] += sequence.prob[1:] * (1 - prob.sum(0)) * kept[:, None, None]
        prob[0] = (1 - prob[1:].sum(0)).clamp_min(0)
        sequence.prob = prob
        sequence.memory.add_annotation(sequence.features, prob, set(annotated), len(new))
        self._find_distractors()
        for stage in self.stages:
            for object_id, share in shares.items():
                stage.annotate(sequence, object_id, share)

    def _share_of(self, mask: BoolArray) -> FloatArray:
        """Average a mask over cells of 4 px: float32 (h4, w4)."""
        height, width = self.sequence.features.grey.shape
        return np.asarray(cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA))

    def _find_distractors(self) -> None:
        memory, ids = self.sequence.memory, self.sequence.object_ids
        keys = [memory.annotated_keys(object_id, row) for row, object_id in enumerate(ids)]
        self.sequence.distractors = find_distractor_pairs(keys, self._config.distractors)
