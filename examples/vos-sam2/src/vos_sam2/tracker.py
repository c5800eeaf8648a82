"""SAM 2's video predictor, a frame at a time, with a memory that stays as small as the model needs.

The model keeps, for each object, the output of its annotated frames and of every frame since. It looks at no
more than the last ``num_maskmem`` memories and the last ``max_object_pointers_in_encoder`` pointers, so what is
older is dropped, and so are the images and the full-size masks: results are the same, memory is bounded.

Source: SAM 2, arXiv:2408.00714; the model is ``transformers.Sam2VideoModel``.
"""

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from vos.plugin import Prediction, WeightsError, hub_folder, object_ids

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's RGB values in [0, 1], as the model was trained."""


def load_model(model, device, dtype):
    """Load a video model from a folder or the hub.

    Raises:
        WeightsError: it is not there, or another kind of model.
    """
    folder = hub_folder(
        model, files=("*.json", "*.safetensors"), needed=("config.json", "*.safetensors"), extra="groupvit"
    )
    try:
        loaded, report = Sam2VideoModel.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{model}: cannot be loaded as a SAM 2 video model ({error}).") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsError(
            f'{model}: not the weights of a SAM 2 video model: {len(missing)} keys missing, first "{missing[0]}".'
        )
    return loaded.to(device).eval()


class Sam2Tracker:
    """A tracker with every capability: ``encode``, ``annotate``, ``forget``."""

    def __init__(self, model, encode_batch=1):
        self.encode_batch = encode_batch
        self._model = model
        self._session = None
        self._time = 0

    @torch.inference_mode()
    def encode(self, frames):
        """Compute the image features: for each frame, the levels' features and positions (HW, 1, C)."""
        features = self._model.get_image_features(self._pixels(frames), return_dict=True)
        return [
            {
                "vision_feats": [level[:, i : i + 1].clone() for level in features.fpn_hidden_states],
                "vision_pos_embeds": [level[:, i : i + 1].clone() for level in features.fpn_position_encoding],
            }
            for i in range(len(frames))
        ]

    def start(self, frame, label_map, encoding):
        """Begin a sequence; the model's time counts frames from here, whichever way they go."""
        device = self._model.device
        self._session = Sam2VideoInferenceSession(
            video_height=frame.size[0],
            video_width=frame.size[1],
            inference_device=device,
            inference_state_device=device,
            dtype=self._model.dtype,
        )
        self._time = 0
        self._session.cache.cache_vision_features(0, encoding)
        self._prompt(label_map)

    def step(self, frame, encoding):
        """Segment a frame: low-resolution logits, and how sure the model is that an object is there."""
        if self._session is None:
            raise RuntimeError("step before start")
        self._time += 1
        self._session.cache.cache_vision_features(self._time, encoding)
        if not self._session.obj_ids:  # one may be added on this frame
            return Prediction((), np.zeros((0, 1, 1), np.float32))
        output = self._run()
        there = output.object_score_logits.float().flatten().cpu().numpy()
        logits = output.pred_masks[:, 0].float().cpu().numpy()
        return Prediction(output.object_ids, logits, scores=1 / (1 + np.exp(-there)), present=there > 0)

    def annotate(self, frame, label_map):
        """Add or correct objects: the mask becomes a memory that stays, like that of the first frame."""
        given = object_ids(label_map)
        others = {
            index: memory["non_cond_frame_outputs"].get(self._time)
            for index, memory in self._session.output_dict_per_obj.items()
            if self._session.obj_idx_to_id(index) not in given
        }
        self._prompt(label_map)
        for index, output in others.items():  # they were computed again, beside a mask that is certain
            if output is not None:
                self._session.output_dict_per_obj[index]["non_cond_frame_outputs"][self._time] = output

    def forget(self, object_id):
        """Drop an object, and close the gap in the model's numbering."""
        session = self._session
        gone = session.obj_id_to_idx(object_id)
        ids = [i for i in session.obj_ids if i != object_id]
        for table in (
            session.point_inputs_per_obj,
            session.mask_inputs_per_obj,
            session.output_dict_per_obj,
            session.frames_tracked_per_obj,
        ):
            kept = [table[index] for index in sorted(table) if index != gone]
            table.clear()
            table.update(enumerate(kept))
        session._obj_id_to_idx.clear()
        session._obj_id_to_idx.update((i, index) for index, i in enumerate(ids))
        session._obj_idx_to_id.clear()
        session._obj_idx_to_id.update(enumerate(ids))
        session.obj_ids = ids

    def _pixels(self, frames):
        """Bring images to what the model was trained on: (N, 3, side, side), normalised."""
        side = self._model.config.image_size
        batch = torch.stack([torch.from_numpy(frame.image.copy()) for frame in frames]).to(self._model.device)
        images = F.interpolate(batch.permute(0, 3, 1, 2).float(), (side, side), mode="bilinear", antialias=True) / 255
        mean, std = (images.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        return ((images - mean) / std).to(self._model.dtype)

    def _prompt(self, label_map):
        """Give the masks of a label map to the model, at the current time."""
        session, time = self._session, self._time
        ids = object_ids(label_map)
        for object_id in ids:
            index = session.obj_id_to_idx(object_id)
            session.add_mask_inputs(index, time, self._model_mask(label_map == object_id))
            session.output_dict_per_obj[index]["non_cond_frame_outputs"].pop(time, None)
            session.frames_tracked_per_obj[index].pop(time, None)
        session.obj_with_new_inputs = list(ids)
        self._run()
        for object_id in ids:
            session.remove_mask_inputs(session.obj_id_to_idx(object_id), time)

    def _model_mask(self, mask):
        """Bring a mask to the model's square, float (1, 1, side, side); a thin object keeps a pixel."""
        side = self._model.config.image_size
        full = torch.from_numpy(mask).to(self._model.device)[None, None].float()
        square = F.interpolate(full, (side, side), mode="bilinear", antialias=True) >= 0.5
        return (square if square.any() else F.adaptive_max_pool2d(full, (side, side)) > 0).float()

    def _run(self):
        """Run the model at the current time, whose features are cached, then drop what it will not look at."""
        session, config = self._session, self._model.config
        output = self._model(session, frame_idx=self._time, frame=torch.empty(0))  # the image itself is not needed
        session.processed_frames.clear()
        for index, memory in session.output_dict_per_obj.items():
            for outputs in memory.values():
                for stored in outputs.values():
                    stored.pop("high_res_masks", None)
            recent = memory["non_cond_frame_outputs"]
            for time in list(recent):
                age = self._time - time
                if age >= max(config.max_object_pointers_in_encoder, config.num_maskmem):
                    del recent[time]
                elif age >= config.num_maskmem:
                    recent[time]["maskmem_features"] = recent[time]["maskmem_pos_enc"] = None
            tracked = session.frames_tracked_per_obj[index]
            for time in [t for t in tracked if t < self._time]:
                del tracked[time]
        return output
