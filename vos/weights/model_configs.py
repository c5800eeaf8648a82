"""Configurations in folders of models: data alone, which name no code, no other file and no address.

transformers, diffusers and timm build a network from ``config.json``. Some of its keys make them run Python files,
unpickle other files or fetch kernels and weights, so a folder from a stranger is read with those keys refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vos.errors import WeightsError

CODE_KEYS = frozenset(
    {"auto_map", "custom_pipelines", "custom_pipeline", "quantization_config", "base_model_name_or_path"}
)
"""Keys that make transformers or diffusers import code or load another model."""
KERNEL_KEYS = (
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
)
"""Keys whose value can be the address of compiled kernels."""
BUILT_IN_KERNELS = ("eager", "sdpa")
LARGEST_FILE = 64 << 20
"""Bytes; the largest vocabulary of a tokenizer has less."""

VIT_ARGUMENTS = frozenset(
    {
        "act_layer",
        "attn_drop_rate",
        "attn_type",
        "class_token",
        "depth",
        "drop_path_rate",
        "drop_rate",
        "dynamic_img_pad",
        "dynamic_img_size",
        "embed_dim",
        "fc_norm",
        "final_norm",
        "global_pool",
        "img_size",
        "in_chans",
        "init_values",
        "mlp_ratio",
        "no_embed_class",
        "norm_layer",
        "num_classes",
        "num_heads",
        "num_prefix_tokens",
        "num_reg_tokens",
        "patch_drop_rate",
        "patch_size",
        "pool_include_prefix",
        "pos_drop_rate",
        "pos_embed",
        "pre_norm",
        "proj_bias",
        "proj_drop_rate",
        "qk_norm",
        "qkv_bias",
        "qkv_fused",
        "ref_feat_shape",
        "reg_tokens",
        "rope_grid_indexing",
        "rope_grid_offset",
        "rope_mixed_mode",
        "rope_rotate_half",
        "rope_temperature",
        "rope_type",
        "scale_attn_inner",
        "scale_attn_norm",
        "scale_mlp",
        "scale_mlp_norm",
        "swiglu_align_to",
        "swiglu_mlp",
        "use_abs_pos_emb",
        "use_fc_norm",
        "use_post_norm",
        "use_post_transformer_norm",
        "use_pre_transformer_norm",
        "use_rot_pos_emb",
    }
)
"""Arguments of timm's VisionTransformer and Eva that describe the architecture (timm 1.0.20 to 1.0.31)."""
LARGEST_ARGUMENT = 100_000
DEEPEST = 200


def architecture_arguments(arguments: Any, where: str) -> dict[str, Any]:
    """Check a timm model's ``model_args``: arguments that describe a Vision Transformer, and nothing else.

    ``timm.create_model`` also takes ``checkpoint_path``, ``pretrained``, ``pretrained_cfg`` and ``cache_dir``, which
    unpickle a file or fetch one; they are refused with everything that is not in ``VIT_ARGUMENTS``.

    Args:
        arguments: the value in ``config.json``; None counts as none.
        where: the file, for messages.
    Returns:
        The arguments, each a number, text, None or a list of numbers.
    Raises:
        WeightsError: another argument, or a value of another kind or size.
    """
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise WeightsError(f"{where}: model_args is a {type(arguments).__name__}, expected an object.")
    for name, value in arguments.items():
        if name not in VIT_ARGUMENTS:
            raise WeightsError(
                f'{where}: model_args has "{name[:60]}", which describes no Vision Transformer. Remove it.'
            )
        parts = value if isinstance(value, list) and len(value) <= 4 else [value]
        limit = DEEPEST if name == "depth" else LARGEST_ARGUMENT
        if not all(_is_plain(part, limit) for part in parts):
            raise WeightsError(
                f"{where}: model_args.{name} is {str(value)[:60]!r}, expected text, a flag or numbers up to {limit}."
            )
    return dict(arguments)


def _is_plain(value: Any, limit: int) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, str):
        return len(value) <= 40
    return isinstance(value, (int, float)) and abs(value) <= limit


def read_config(file: Path) -> dict[str, Any]:
    """Read a model's configuration.

    Args:
        file: a JSON file.
    Returns:
        Its object.
    Raises:
        WeightsError: it cannot be read, or holds something else.
    """
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{file.stat().st_size} bytes, expected at most {LARGEST_FILE}")
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise WeightsError(f"{file}: cannot be read as JSON ({' '.join(str(error).split())[:120]}).") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{file}: holds a {type(config).__name__}, expected an object.")
    return config


def refuse_code(folder: Path) -> None:
    """Refuse a folder whose configurations name code, kernels to fetch, or another model.

    Args:
        folder: with ``config.json``, ``tokenizer_config.json`` and the like.
    Raises:
        WeightsError: the first such key, with its file.
    """
    for file in sorted({*folder.glob("*config.json"), *folder.glob("model_index.json")}):
        for key, value in _entries(read_config(file)):
            if (key in CODE_KEYS and value) or (key in KERNEL_KEYS and not _is_built_in(value)):
                raise WeightsError(
                    f'{file}: has "{key}", which makes the library run code or load other files than this model\'s. '
                    "Remove it if the model works without."
                )


def _is_built_in(value: Any) -> bool:
    values = value.values() if isinstance(value, dict) else [value]
    return all(one is None or one in BUILT_IN_KERNELS for one in values)


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """All keys with their values, those of nested objects too."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
