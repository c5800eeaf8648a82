"""Bounded memory for transformers' streaming sessions, which by themselves keep every frame and every output.

For each object the model reads the outputs of its annotated frames, the last ``num_maskmem`` memories and the last
``max_object_pointers_in_encoder`` pointers. All else is dropped after each frame: masks are the same.
Source: SAM 2, arXiv:2408.00714, section 4.
"""

from __future__ import annotations

import importlib
from typing import Any

from vos.plugin import Size


def new_session(model: Any, size: Size) -> Any:
    """Make an empty streaming session of the model's own class.

    Args:
        model: a video model of transformers.
        size: (H, W) of the frames, pixels.
    """
    module = importlib.import_module(type(model).__module__)
    session = getattr(module, type(model).__name__.replace("Model", "InferenceSession"))
    return session(
        video_height=size[0],
        video_width=size[1],
        inference_device=model.device,
        inference_state_device=model.device,
        dtype=model.dtype,
    )


def drop_unreachable(session: Any, time: int, config: Any) -> None:
    """Drop what the model reads on no frame after ``time``."""
    session.processed_frames.clear()
    pointers = max(config.max_object_pointers_in_encoder, config.num_maskmem)
    for index, outputs in session.output_dict_per_obj.items():
        for by_time in outputs.values():
            for stored in by_time.values():
                stored.pop("high_res_masks", None)
        recent = outputs["non_cond_frame_outputs"]
        for then in list(recent):
            if time - then >= pointers:
                del recent[then]
            elif time - then >= config.num_maskmem:
                recent[then]["maskmem_features"] = recent[then]["maskmem_pos_enc"] = None
        tracked = session.frames_tracked_per_obj[index]
        for then in [then for then in tracked if then < time]:
            del tracked[then]


def adopt_objects(session: Any, other: Any, time: int) -> None:
    """Copy the annotated objects of another session as new or corrected ones, at ``time``."""
    for object_id in other.obj_ids:
        outputs = session.output_dict_per_obj[session.obj_id_to_idx(object_id)]
        given = other.output_dict_per_obj[other.obj_id_to_idx(object_id)]
        outputs["cond_frame_outputs"][time] = given["cond_frame_outputs"][time]
        outputs["non_cond_frame_outputs"].pop(time, None)


def remove_object(session: Any, object_id: int) -> None:
    """Remove an object and close the gap in the session's numbering."""
    removed = session.obj_id_to_idx(object_id)
    for table in (
        session.point_inputs_per_obj,
        session.mask_inputs_per_obj,
        session.output_dict_per_obj,
        session.frames_tracked_per_obj,
    ):
        kept = [table[index] for index in sorted(table) if index != removed]
        table.clear()
        table.update(enumerate(kept))
    session.obj_ids = [kept for kept in session.obj_ids if kept != object_id]
    session._obj_id_to_idx.clear()
    session._obj_id_to_idx.update((kept, index) for index, kept in enumerate(session.obj_ids))
    session._obj_idx_to_id.clear()
    session._obj_idx_to_id.update(enumerate(session.obj_ids))
