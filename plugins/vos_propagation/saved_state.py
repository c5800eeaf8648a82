"""Files of a tracker's state, from which a stopped run continues with the same masks, bit for bit.

``_Packer`` walks through the objects that hold the state, and writes tensors as arrays and everything else as JSON. A
tensor keeps its memory layout: matrix products round differently in another layout.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vos.plugin import AnyArray, InputError, read_state, write_state
from vos_propagation.backbone.features import FrameFeatures
from vos_propagation.config import MemoryConfig
from vos_propagation.frame_state import SequenceState
from vos_propagation.memory.key_value_store import KeyValueMemoryStore, MemoryFrame
from vos_propagation.memory.manager import Anchor, MemoryManager
from vos_propagation.memory.readout_memory import MemoryPart, ReadoutMemory
from vos_propagation.memory.target_model import TargetModel
from vos_propagation.ops.point_tracks import PointTracks
from vos_propagation.ops.query_tiles import ObjectPlaces
from vos_propagation.redetection.redetector import ObjectState, Redetector
from vos_propagation.redetection.views import View
from vos_propagation.stages.crossings import Contacts
from vos_propagation.stages.distractors import DistractorPair
from vos_propagation.stages.stage import Stage

FORMAT = 8

KINDS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        Anchor,
        Contacts,
        DistractorPair,
        FrameFeatures,
        KeyValueMemoryStore,
        MemoryFrame,
        MemoryManager,
        MemoryPart,
        ObjectPlaces,
        ObjectState,
        PointTracks,
        ReadoutMemory,
        Redetector,
        SequenceState,
        TargetModel,
        View,
    )
}
"""Classes of the objects that hold the state; a file makes objects of these classes only."""

_USED_LATER = ("cells", "samples", "grey", "chroma", "readout")
"""Fields of a past frame's features that later steps use."""

_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool)}


def save(path: Path, side: int, sequence: SequenceState, stages: Sequence[Stage], settings: str) -> None:
    """Write a tracker's state.

    Args:
        path: the file to write.
        side: short side of the working size, pixels.
        sequence: the state of the sequence.
        stages: the tracker's stages, with their own state.
        settings: the options and weights on which the state depends, from ``fingerprint``.
    """
    packer = _Packer()
    held = {stage.name: {name: packer.pack(getattr(stage, name)) for name in stage.saved} for stage in stages}
    facts = {"format": FORMAT, "settings": settings, "side": side, "stages": held, "sequence": packer.pack(sequence)}
    write_state(path, packer.arrays, facts)


def load(
    path: Path, stages: Sequence[Stage], settings: str, config: MemoryConfig, device: torch.device
) -> tuple[int, SequenceState]:
    """Read and check a tracker's state, and set the state of the stages.

    Args:
        path: a file from ``save``.
        stages: the tracker's stages.
        settings: as for ``save``.
        config: the memory's settings.
        device: the device of the tensors.
    Returns:
        The short side, and the state of the sequence.
    Raises:
        InputError: the file is damaged, which the checksums of its parts tell, or was written with other settings.
    """
    arrays, facts = read_state(path)
    if facts.get("format") != FORMAT:
        raise InputError(f"{path}: a state of format {facts.get('format')!r}, expected {FORMAT}.")
    if facts.get("settings") != settings:
        raise InputError(f"{path}: a state of other options or weights.")
    try:
        unpacker = _Unpacker(arrays, device)
        sequence = unpacker.unpack(facts["sequence"])
        sequence.memory._config = config
        held = {
            stage: {name: unpacker.unpack(facts["stages"][stage.name][name]) for name in stage.saved}
            for stage in stages
        }
        side = int(facts["side"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be a state of this tracker ({error}).") from error
    for stage, values in held.items():
        stage.reset()
        for name, value in values.items():
            # The stage's own object keeps its settings, which the file does not hold.
            vars(getattr(stage, name)).update(vars(value))
    return side, sequence


def fingerprint(settings: str, holders: Iterable[object]) -> str:
    """Return a digest of settings and of the weights of all networks that are attributes of ``holders``."""
    digest = hashlib.sha256(settings.encode())
    for holder in holders:
        for value in vars(holder).values():
            for network in value if isinstance(value, tuple) else (value,):
                if isinstance(network, nn.Module):
                    for weights in network.state_dict().values():
                        digest.update(_as_array(weights).tobytes())
    return digest.hexdigest()


class _Packer:
    """Converts values to JSON; tensors and arrays go to ``arrays``, each once."""

    def __init__(self) -> None:
        self.arrays: dict[str, AnyArray] = {}
        self._names: dict[int, str] = {}

    def pack(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, (float, np.floating)):
            return float(value)
        if isinstance(value, Tensor):
            strides = value.stride()
            order = sorted(range(value.ndim), key=lambda axis: -strides[axis])
            name = self._name(value, lambda: _as_array(value.permute(order)))
            return {"kind": "tensor", "array": name, "dtype": str(value.dtype), "order": order}
        if isinstance(value, np.ndarray):
            return {"kind": "array", "array": self._name(value, lambda: value)}
        if isinstance(value, dict):
            return {"kind": "dict", "items": [[self.pack(key), self.pack(held)] for key, held in value.items()]}
        if isinstance(value, deque):
            return {"kind": "deque", "items": [self.pack(item) for item in value], "length": value.maxlen}
        if isinstance(value, (list, tuple, set)):
            items = sorted(value) if isinstance(value, set) else value
            return {"kind": type(value).__name__, "items": [self.pack(item) for item in items]}
        if type(value) is not KINDS.get(type(value).__name__):
            raise TypeError(f"a {type(value).__name__} cannot be saved: add it to KINDS")
        fields = {name: self.pack(held) for name, held in vars(value).items() if _is_saved(value, name)}
        return {"kind": type(value).__name__, "fields": fields}

    def _name(self, value: Any, make: Callable[[], AnyArray]) -> str:
        if id(value) not in self._names:
            self._names[id(value)] = str(len(self.arrays))
            self.arrays[self._names[id(value)]] = make()
        return self._names[id(value)]


class _Unpacker:
    """Converts the output of ``_Packer`` back to values; makes objects of ``KINDS`` only."""

    def __init__(self, arrays: Mapping[str, AnyArray], device: torch.device) -> None:
        self._arrays, self._device = arrays, device
        self._tensors: dict[str, Tensor] = {}

    def unpack(self, packed: Any) -> Any:
        if not isinstance(packed, dict):
            return packed
        kind = packed["kind"]
        if kind == "tensor":
            return self._tensor(**{name: packed[name] for name in ("array", "dtype", "order")})
        if kind == "array":
            return self._arrays[packed["array"]]
        if kind == "dict":
            return {self.unpack(key): self.unpack(held) for key, held in packed["items"]}
        if kind in ("list", "tuple", "set", "deque"):
            items = [self.unpack(item) for item in packed["items"]]
            plain: Any = {"list": list, "tuple": tuple, "set": set}.get(kind)
            return deque(items, packed["length"]) if plain is None else plain(items)
        value: Any = object.__new__(KINDS[kind])
        fields = {name: self.unpack(held) for name, held in packed["fields"].items()}
        unsaved = {name: None for name in getattr(KINDS[kind], "__dataclass_fields__", ()) if name not in fields}
        vars(value).update(fields, **unsaved)
        return value

    def _tensor(self, array: str, dtype: str, order: list[int]) -> Tensor:
        if array not in self._tensors:
            stored = torch.from_numpy(self._arrays[array])
            wanted = _DTYPES[dtype]
            stored = stored.view(wanted) if wanted in (torch.bfloat16, torch.float16) else stored
            if stored.dtype != wanted:
                raise ValueError(f"a tensor is {stored.dtype}, expected {wanted}")
            back = sorted(range(len(order)), key=order.__getitem__)
            # A copy in memory that torch allocates: products of arrays with other alignment round differently.
            self._tensors[array] = torch.empty_like(stored, device=self._device).copy_(stored).permute(back)
        return self._tensors[array]


def _is_saved(value: Any, name: str) -> bool:
    if isinstance(value, FrameFeatures):
        return name in _USED_LATER
    return name != "_config"


def _as_array(tensor: Tensor) -> AnyArray:
    """Convert a tensor to a contiguous array; 16-bit floats become their bit patterns."""
    tensor = tensor.detach().cpu().contiguous()
    array: AnyArray = (tensor.view(torch.int16) if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
    return array
