"""The encoding tracker over transformers' streaming session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import BoolArray, Frame, LabelMap, Prediction, TrackerError, object_ids
from vos_hf_video.options import HfVideoOptions
from vos_hf_video.session import adopt_objects, drop_unreachable, new_session, remove_object

Encoding: TypeAlias = dict[str, list[Tensor]]


class HfVideoTracker:
    """Tracks with SAM 2, EdgeTAM or SAM 3; has every capability but ``save``, ``load`` and ``close``.

    The session's time counts the frames since ``start``, whichever way the host runs.
    """

    def __init__(self, model: Any, options: HfVideoOptions, details: Mapping[str, str] | None = None) -> None:
        """Wrap a loaded model.

        Args:
            model: as ``load_model`` returns it.
            options: give the normalisation and ``encode_batch``.
            details: which weights these are, for ``run.json``.
        """
        self.details = dict(details or {})
        self.encode_batch = options.encode_batch
        self._model = model
        self._mean_std = options.mean_std
        self._session: Any = None
        self._time = 0

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[Encoding]:
        """Compute each frame's features and their positions: three levels of (h * w, 1, C).

        Raises:
            TrackerError: a feature is not finite, as where half precision overflows: all objects would vanish.
        """
        found = self._model.get_image_features(self.pixels(frames), return_dict=True)
        if not all(level.isfinite().all() for level in found.fpn_hidden_states):
            raise TrackerError(
                f"the network gives no numbers for this image in {str(self._model.dtype).removeprefix('torch.')}. "
                "With --precision fp16 try bf16 or fp32; otherwise the weights are damaged: fetch them again."
            )
        positions = [level[:, :1].clone() for level in found.fpn_position_encoding]  # they depend on the size alone
        return [
            {
                "vision_feats": [level[:, row : row + 1].clone() for level in found.fpn_hidden_states],
                "vision_pos_embeds": positions,
            }
            for row in range(len(frames))
        ]

    def start(self, frame: Frame, label_map: LabelMap, encoding: Encoding) -> None:
        """Begin a sequence at an annotated frame."""
        self._session = new_session(self._model, frame.size)
        self._time = 0
        self._session.cache.cache_vision_features(0, encoding)
        self._prompt(label_map)

    def step(self, frame: Frame, encoding: Encoding) -> Prediction:
        """Segment the next frame: low-resolution logits, and the probability that each object is in it."""
        if self._session is None:
            raise RuntimeError("step before start")
        self._time += 1
        self._session.cache.cache_vision_features(self._time, encoding)
        if not self._session.obj_ids:
            return Prediction((), np.zeros((0, 1, 1), np.float32))
        output = self._run(self._session)
        logits = output.pred_masks[:, 0].float().cpu().numpy()
        presence = output.object_score_logits.float().flatten().cpu()
        return Prediction(output.object_ids, logits, presence.sigmoid().numpy(), (presence > 0).numpy())

    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add or correct objects: each mask becomes a conditioning memory, like those of the first frame."""
        self._prompt(label_map)

    def forget(self, object_id: int) -> None:
        """Drop an object with its memories."""
        remove_object(self._session, object_id)

    def pixels(self, frames: Sequence[Frame]) -> Tensor:
        """Scale and normalise images for the model: (N, 3, side, side)."""
        images = torch.stack([torch.from_numpy(frame.image.copy()) for frame in frames]).to(self._model.device)
        side = self._model.config.image_size
        scaled = F.interpolate(images.permute(0, 3, 1, 2).float(), (side, side), mode="bilinear", antialias=True) / 255
        mean, std = (scaled.new_tensor(values)[:, None, None] for values in self._mean_std)
        return ((scaled - mean) / std).to(self._model.dtype)

    def _prompt(self, label_map: LabelMap) -> None:
        """Make conditioning memories of a label map's masks at the current time.

        A session runs all its objects at each prompt, so the masks are encoded in a session of their own.
        """
        ids = object_ids(label_map)
        if not ids:
            return
        given = new_session(self._model, (label_map.shape[0], label_map.shape[1]))
        given.cache = self._session.cache
        for object_id in ids:
            given.add_mask_inputs(given.obj_id_to_idx(object_id), self._time, self._mask(label_map == object_id))
        given.obj_with_new_inputs = list(ids)
        self._run(given)
        adopt_objects(self._session, given, self._time)

    def _mask(self, mask: BoolArray) -> Tensor:
        """Scale a mask to the model's input, float (1, 1, side, side); a thin object keeps a pixel."""
        side = self._model.config.image_size
        full = torch.from_numpy(mask).to(self._model.device)[None, None].float()
        square = F.interpolate(full, (side, side), mode="bilinear", antialias=True) >= 0.5
        return (square if square.any() else F.adaptive_max_pool2d(full, (side, side)) > 0).float()

    def _run(self, session: Any) -> Any:
        """Run the model at the current time on the cached features."""
        output = self._model(session, frame_idx=self._time, frame=torch.empty(0))
        drop_unreachable(session, self._time, self._model.config)
        return output
