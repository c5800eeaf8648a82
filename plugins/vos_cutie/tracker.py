"""The tracker over rf-cutie's ``InferenceCore``.

Source: Cutie, arXiv:2310.12982; the package is rf-cutie 1.0.1, from hkchengrex/Cutie.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vos.plugin import Frame, LabelMap, Prediction, Size, object_ids

STRIDE = 16
"""Side of a memory cell, pixels."""


class CutieTracker:
    """Segments frame by frame; the core keeps object ids and a bounded memory."""

    def __init__(
        self,
        network: Any,
        config: Any,
        dtype: torch.dtype = torch.float32,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Wrap a network.

        Args:
            network: as ``load_cutie`` returns it.
            config: the core's configuration.
            dtype: arithmetic of the network, by autocast; float32 is the package's.
            details: which weights these are, for ``run.json``.
        """
        self.details = dict(details or {})
        self._network = network
        self._config = config
        self._dtype = dtype
        self._core: Any = None
        self._label_map: LabelMap = np.zeros((0, 0), np.uint8)
        self._size: Size = (0, 0)

    def start(self, frame: Frame, label_map: LabelMap) -> None:
        """Begin a sequence."""
        self._core = self._new_core(frame.size)
        self._run(frame, label_map, list(object_ids(label_map)))
        self._label_map = label_map

    def step(self, frame: Frame) -> Prediction:
        """Segment the next frame: logits are log-odds against the background, at the frame's size."""
        if self._core is None:
            raise RuntimeError("step before start")
        ids = tuple(self._core.object_manager.all_obj_ids)
        if not ids:
            self._label_map = np.zeros(frame.size, np.uint8)
            return Prediction((), np.zeros((0, 1, 1), np.float32))
        log_prob = self._run(frame).float().clamp(min=1e-7).log()
        logits = (log_prob[1:] - log_prob[0]).cpu().numpy()
        owner = logits.argmax(axis=0)
        rows = np.where(logits.max(axis=0) > 0, np.array(ids, np.uint8)[owner], np.uint8(0))
        self._label_map = rows
        return Prediction(ids, logits)

    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add or correct objects; the frame becomes a permanent memory.

        The core merges new objects into its soft prediction. It cannot correct some of its objects alone, so where
        no object is new, the others are given to it as the last prediction's mask.
        """
        given, known = object_ids(label_map), self._core.object_manager.all_obj_ids
        if not given:
            return
        rest = np.where(np.isin(self._label_map, given), 0, self._label_map)
        self._label_map = np.where(label_map > 0, label_map, rest).astype(np.uint8)
        merged = label_map
        if known and set(given) <= set(known):
            merged, ids = self._label_map, list(known)
        else:
            ids = [i for i in known if i in given] + [i for i in given if i not in known]
        self._core.curr_ti = max(self._core.curr_ti - 1, -1)  # the same frame again
        self._run(frame, merged, ids, force_permanent=True)

    def forget(self, object_id: int) -> None:
        """Drop an object with its memories."""
        core = self._core
        kept = [row for row, known in enumerate(core.object_manager.all_obj_ids) if known != object_id]
        if not kept:
            self._core = self._new_core(self._size)
            return
        _complete_tables(core.memory, object_id)
        core.delete_objects([object_id])
        core.memory.obj_v.pop(object_id, None)
        core.last_mask = core.last_mask[:, kept]  # the package leaves the removed object's mask in it

    def close(self) -> None:
        """Release the memory."""
        self._core = None

    def _new_core(self, size: Size) -> Any:
        """Make an empty core for frames of (H, W); where it chooses among memory cells, small frames have fewer."""
        inference: Any = importlib.import_module("cutie.inference.inference_core")
        core = inference.InferenceCore(self._network, cfg=self._config)
        longest = self._config.max_internal_size
        scale = min(1.0, longest / min(size)) if longest > 0 else 1.0
        cells = math.prod(math.ceil(int(side * scale) / STRIDE) for side in size)
        memory = core.memory
        memory.top_k = min(memory.top_k, cells)
        if memory.use_long_term:
            consolidated = (memory.max_mem_frames - memory.min_mem_frames) * cells
            memory.num_prototypes = min(memory.num_prototypes, consolidated)
        self._size = size
        return core

    @torch.inference_mode()
    def _run(
        self, frame: Frame, label_map: LabelMap | None = None, ids: list[int] | None = None, **settings: Any
    ) -> Tensor:
        """Run the core on a frame: probabilities (K + 1, H, W), the background first."""
        device = self._network.device
        image = torch.from_numpy(frame.image.copy()).to(device).permute(2, 0, 1).float() / 255
        mask = None if label_map is None else torch.from_numpy(label_map.copy()).to(device).long()
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            prob: Tensor = self._core.step(image, mask, ids, **settings)
        return prob


def _complete_tables(memory: Any, object_id: int) -> None:
    """Add a row for the bucket that holds this object alone to every table.

    The package deletes that bucket's rows, which a bucket gets only once it has grown.
    """
    stores = [memory.work_mem, *([memory.long_mem] if memory.use_long_term else [])]
    for store in stores:
        for name in ("e", "use_cnt", "life_cnt"):
            table = getattr(store, name, {})
            for bucket, objects in store.buckets.items():
                if objects == [object_id]:
                    table.setdefault(bucket, None)
