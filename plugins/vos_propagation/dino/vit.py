"""Vision Transformers of transformers and timm, as patch features of the last block.

DINO's protocol uses the last block's tokens after the final norm, without class and register tokens. Position
embeddings are resampled as in DINO's own code (vision_transformer.py at 04c0ad9, lines 174-194 and 212-220); timm by
itself resamples them with another kernel.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos import weights
from vos.plugin import ExtraMissingError, OptionError, Size, WeightsError, load_network, load_part
from vos_propagation.dino.backbone_files import split_backbone

TRANSFORMERS_TYPES = ("vit", "dinov2", "dinov2_with_registers", "dinov3_vit")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
DECISIVE_FILES = ("config.json", "*.safetensors", "pytorch_model*.bin")
SPARE_NUMBERS = 1 << 24  # numbers in tables that the network computes and a checkpoint does not store
# Keys of a checkpoint that may hold the weights, and prefixes of the weights' own keys.
WRAPPERS, PREFIXES = ("teacher", "student", "state_dict", "model"), ("_orig_mod.", "module.", "backbone.")


class ViT(Protocol):
    """A frozen Vision Transformer.

    Attributes:
        network: the library's module.
        patch: side of a patch, pixels.
    """

    network: nn.Module
    patch: int

    def features(self, pixels: Tensor) -> Tensor:
        """Return the patches' features.

        Args:
            pixels: (1, 3, H, W), normalised; H and W are multiples of the patch size.
        Returns:
            (C, H / patch, W / patch), the channels of a cell adjacent in memory.
        """
        ...


class TransformersViT:
    """A ViT, DINOv2 or DINOv3 of transformers."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.patch = int(network.config.patch_size)
        self._more = {"interpolate_pos_encoding": True} if network.config.model_type == "vit" else {}
        if network.config.model_type != "dinov3_vit":
            network.embeddings.interpolate_pos_encoding = self._positions

    def _positions(self, tokens: Tensor, height: int, width: int) -> Tensor:
        table = self.network.embeddings.position_embeddings
        side = round((table.shape[1] - 1) ** 0.5)
        return enlarge_positions(table, (side, side), (height // self.patch, width // self.patch))

    def features(self, pixels: Tensor) -> Tensor:
        """See ``ViT.features``."""
        return _grid(self.network(pixel_values=pixels, **self._more).last_hidden_state, pixels, self.patch)


class TimmViT:
    """A VisionTransformer or Eva (DINOv3 among them) of timm."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.patch = int(network.patch_embed.patch_size[0])
        self._size: Size | None = None
        self._first_grid: Size = network.patch_embed.grid_size
        self._table: Tensor | None = network.pos_embed
        self._prefix = 0 if network.no_embed_class else int(network.num_prefix_tokens)

    def features(self, pixels: Tensor) -> Tensor:
        """See ``ViT.features``."""
        height, width = pixels.shape[2:]
        if self._size != (height, width):
            self._resize((height, width))
        tokens = self.network.fc_norm(self.network.forward_features(pixels))
        return _grid(tokens, pixels, self.patch)

    def _resize(self, size: Size) -> None:
        self._size = size
        self.network.set_input_size(img_size=size)
        if self._table is not None:
            grid = size[0] // self.patch, size[1] // self.patch
            table = enlarge_positions(self._table.to(self.network.pos_embed), self._first_grid, grid, self._prefix)
            self.network.pos_embed = nn.Parameter(table, requires_grad=False)


def _grid(tokens: Tensor, pixels: Tensor, patch: int) -> Tensor:
    """Arrange the patches' tokens, the last ones of (1, N, C), as (C, h, w)."""
    height, width = pixels.shape[2] // patch, pixels.shape[3] // patch
    return tokens[0, -height * width :].T.reshape(-1, height, width)


def enlarge_positions(table: Tensor, old: Size, new: Size, prefix: int = 1) -> Tensor:
    """Resample position embeddings to another grid as DINO does.

    Args:
        table: (1, prefix + old cells, C).
        old: (h, w) of the table's grid.
        new: (h, w) wanted.
        prefix: number of tokens at its head without a position.
    Returns:
        (1, prefix + new cells, C).
    Source: facebookresearch/dino vision_transformer.py at 04c0ad9, lines 174-194: bicubic, no
    antialiasing, and a tenth of a cell added to the scale.
    """
    if old == new:
        return table
    plane = table[0, prefix:].float().T.reshape(1, -1, *old)
    scale = (new[0] + 0.1) / old[0], (new[1] + 0.1) / old[1]
    plane = F.interpolate(plane, scale_factor=scale, mode="bicubic", recompute_scale_factor=False)
    return torch.cat([table[:, :prefix], plane[0].flatten(1).T[None].to(table.dtype)], dim=1)


def load_vit(backbone: str) -> ViT:
    """Load a Vision Transformer from local files.

    Args:
        backbone: a folder with ``config.json`` and weights, of transformers or of timm, or
            ``ARCHITECTURE:FILE``, a timm name and a checkpoint of it.
    Returns:
        The model in evaluation mode, float32, on the CPU.
    Raises:
        OptionError: there is no such model, or it is not a Vision Transformer.
        WeightsError: its weights are missing, cannot be read, or belong to another model.
        ExtraMissingError: the library is not installed.
    """
    architecture, path = split_backbone(backbone)
    return _from_timm(architecture, {}, path) if architecture else _from_folder(path)


def describe_vit(backbone: str) -> dict[str, str]:
    """Return the digests of a backbone's files, for a tracker's ``details``.

    Args:
        backbone: as in ``load_vit``, which has loaded it.
    Returns:
        SHA-256 by file name, of all files that influence the features.
    """
    path = Path(backbone).expanduser()
    if path.is_dir():
        files = sorted(file for pattern in DECISIVE_FILES for file in path.glob(pattern))
    else:
        files = [Path(backbone.partition(":")[2]).expanduser()]
    return {file.name: weights.sha256_of(file) for file in files}


def _from_folder(folder: Path) -> ViT:
    if not (folder / "config.json").is_file():
        raise OptionError(f'backbone "{folder}": no config.json there. Give the folder of a transformers or timm ViT.')
    config = weights.read_config(folder / "config.json")
    architecture = config.get("architecture")
    if architecture is None:
        return _from_transformers(folder)
    files = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
    if not files:
        raise WeightsError(f'backbone "{folder}": no {" or ".join(WEIGHT_FILES)} there.')
    arguments = weights.architecture_arguments(config.get("model_args"), str(folder / "config.json"))
    return _from_timm(str(architecture), arguments, files[0])


def _from_transformers(folder: Path) -> ViT:
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise ExtraMissingError(
            f'backbone "{folder}" needs transformers ({error}). Install it: pip install "vos-toolkit[vit]"'
        ) from None
    kind = load_part(transformers.AutoConfig, folder).model_type
    if kind not in TRANSFORMERS_TYPES:
        raise OptionError(
            f'backbone "{folder}": is a {kind}, expected a Vision Transformer ({", ".join(TRANSFORMERS_TYPES)}).'
        )
    network = load_network(transformers.AutoModel, folder, optional=("*pooler.*", "*mask_token"))
    return TransformersViT(network.float().eval().requires_grad_(False))


def _from_timm(architecture: str, model_args: dict[str, Any], file: Path) -> ViT:
    try:
        import timm
        from timm.layers.patch_embed import PatchEmbed
        from timm.models.eva import Eva
        from timm.models.vision_transformer import VisionTransformer
    except ImportError as error:
        raise ExtraMissingError(
            f'backbone "{architecture}" needs timm ({error}). Install it: pip install "vos-toolkit[vit]"'
        ) from None
    name = architecture.partition(".")[0]
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=1)
        hint = f'Did you mean "{close[0]}"?' if close else "timm.list_models() lists them."
        raise OptionError(f'backbone: timm {timm.__version__} has no architecture "{name}". {hint}')
    state = read_state(file)
    try:
        with torch.device("meta"):  # allocates nothing: the arguments may describe a network of any size
            sketch = timm.create_model(name, **{**model_args, "num_classes": 0})
        _refuse_larger(sketch, state, file, name)
        network = timm.create_model(name, **{**model_args, "num_classes": 0})
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise OptionError(f'backbone "{architecture}": timm cannot build it ({_first_line(error)}).') from None
    if not isinstance(network, (VisionTransformer, Eva)) or not isinstance(network.patch_embed, PatchEmbed):
        raise OptionError(f'backbone "{architecture}": is a {type(network).__name__}, expected a Vision Transformer.')
    _fill(network, name, state, file)
    return TimmViT(network.eval().requires_grad_(False))


def _refuse_larger(sketch: nn.Module, state: dict[str, Tensor], file: Path, name: str) -> None:
    """Refuse a network that is much larger than its weights, before its memory is allocated."""
    needed = sum(one.numel() for one in (*sketch.parameters(), *sketch.buffers()))
    stored = sum(tensor.numel() for tensor in state.values())
    if needed > 2 * stored + SPARE_NUMBERS:
        raise WeightsError(
            f"{file}: does not fit {name}: it holds {stored} numbers, the network as configured {needed}."
        )


def _fill(network: Any, name: str, state: dict[str, Tensor], file: Path) -> None:
    """Load weights into a timm model; timm renames those of official releases (DINOv2, DINOv3)."""
    import timm

    kernel, patch = state.get("patch_embed.proj.weight"), network.patch_embed.patch_size
    if kernel is not None and kernel.ndim == 4 and kernel.shape[2:] != patch:  # timm would resample it
        raise WeightsError(
            f"{file}: does not fit {name}: its patches are of {kernel.shape[2]} px, those of {name} of {patch[0]} px."
        )
    home = sys.modules[timm.models.model_entrypoint(name).__module__]
    rename = getattr(home, "checkpoint_filter_fn", None)
    try:
        fitting = state if rename is None else rename(state, network)
        result = network.load_state_dict(fitting, strict=False)
    except Exception as error:  # timm's renaming raises any type of error on foreign tensors
        lines = [line.strip() for line in str(error).splitlines()]
        raise WeightsError(f"{file}: does not fit {name} ({(lines[1:] or lines or [''])[0]}).") from None
    unknown = [key for key in result.unexpected_keys if "head" not in key.partition(".")[0]]
    _check_keys(str(file), name, result.missing_keys, unknown)


def _check_keys(where: str, name: str, missing: Any, unknown: Any) -> None:
    for keys, what in ((missing, "missing"), (unknown, "not of this model")):
        if keys:
            first = ", ".join(f'"{key}"' for key in sorted(keys)[:3])
            raise WeightsError(f"{where}: does not fit {name}: {len(keys)} keys {what}, first {first}.")


def read_state(file: Path) -> dict[str, Tensor]:
    """Read a network's weights from a checkpoint.

    Args:
        file: safetensors, or a torch file: the weights themselves, or a training checkpoint that has
            them under ``teacher`` (taken first), ``student``, ``state_dict`` or ``model``.
    Returns:
        Tensors by name, without ``module.`` and ``backbone.``.
    Raises:
        WeightsError: no such file, or not a checkpoint.
    """
    if not file.is_file():
        raise WeightsError(f'backbone: no such checkpoint file, "{file}".')
    weights.refuse_expanding(file)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            # DINO's training checkpoints contain the arguments of their training run.
            torch.serialization.add_safe_globals([argparse.Namespace])
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # pickle, zip and safetensors raise their own types, with messages of many lines
        raise WeightsError(
            f"{file}: cannot be read as a checkpoint. Expected weights by name, saved by torch or safetensors, "
            "without other Python objects."
        ) from None
    while isinstance(state, dict) and (inner := [key for key in WRAPPERS if isinstance(state.get(key), dict)]):
        state = state[inner[0]]
    found = state.items() if isinstance(state, dict) else ()
    tensors = {key: value for key, value in found if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{file}: holds no weights by name, expected a network's state dict.")
    weights.refuse_unstored(tensors, str(file))
    for prefix in PREFIXES:
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
