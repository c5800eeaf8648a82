"""Load Segment Anything from a checkpoint, whatever model is in it.

The type is read off the tensors: every argument of the constructors follows from their shapes, so the published
vit_b, vit_l and vit_h, MobileSAM's vit_t, and smaller models saved in the same format load by the same path.
Loading is strict and runs no code from the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vos import weights
from vos.plugin import WeightsError

State = Mapping[str, Tensor]

PIXEL_MEAN = [123.675, 116.28, 103.53]
PIXEL_STD = [58.395, 57.12, 57.375]
PUBLISHED_WIDTH = 256
"""Width of the published models' decoders, which have 8 heads."""
DECODER_HEADS = {True: 8, False: 4}


def load_sam(path: Path) -> Any:
    """Load a checkpoint.

    Args:
        path: a file saved with ``torch.save`` that holds a ``Sam``'s state dict.
    Returns:
        A ``segment_anything.modeling.Sam`` in eval mode on the CPU.
    Raises:
        WeightsError: the file is truncated, or holds something else.
    """
    return build_sam(_read(path), str(path))


def _read(path: Path) -> State:
    weights.refuse_expanding(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler stumbles over foreign bytes in any way there is
        size = path.stat().st_size if path.is_file() else 0
        reason = next(iter(str(error).splitlines()), type(error).__name__).split(". ")[0]
        raise WeightsError(
            f"{path}: cannot be read as a checkpoint of tensors ({size} bytes; {reason}). "
            "The file is truncated or foreign: fetch it again."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise WeightsError(f"{path}: not a Segment Anything checkpoint: expected tensors by name, no other objects.")
    return state


def build_sam(state: State, name: str) -> Any:
    """Make the model that a state dict fits, and load it.

    Args:
        state: tensors named as in ``Sam.state_dict()``.
        name: what to call it in messages.
    Returns:
        A ``segment_anything.modeling.Sam`` in eval mode.
    Raises:
        WeightsError: it fits no Segment Anything model.
    """
    from segment_anything.modeling import Sam

    parts = {key.split(".", 1)[0] for key in state}
    missing = {"image_encoder", "prompt_encoder", "mask_decoder"} - parts
    if missing:
        raise WeightsError(
            f"{name}: not a Segment Anything checkpoint: no tensors of {', '.join(sorted(missing))} "
            f"(found {len(state)} tensors{f', first {next(iter(state))!r}' if state else ''})."
        )
    weights.refuse_unstored(state, name)

    def assemble() -> Any:
        encoder, grid = _image_encoder(state)
        return Sam(encoder, _prompt_encoder(state, grid, encoder.img_size), _mask_decoder(state), PIXEL_MEAN, PIXEL_STD)

    try:
        with torch.device("meta"):  # without memory: shapes may describe a model of any size
            sketch = assemble()
    except KeyError as error:
        raise WeightsError(f"{name}: a damaged Segment Anything checkpoint: {error} is missing.") from error
    except Exception as error:  # sizes that make no model stumble in any way there is
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"{name}: a damaged Segment Anything checkpoint: its tensors have other shapes than every known model "
            f"({reason})."
        ) from error
    _refuse_misfit(sketch, state, name)
    sam = assemble()
    sam.load_state_dict(state, strict=True)
    return sam.eval()


def _refuse_misfit(sketch: nn.Module, state: State, name: str) -> None:
    """Compare names and shapes with those of the model that is to be built."""
    expected = {key: tuple(value.shape) for key, value in sketch.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    wrong = {
        "missing": [key for key in expected if key not in given],
        "unknown": [key for key in given if key not in expected],
        "of another shape": [key for key in expected if key in given and given[key] != expected[key]],
    }
    found = [f'{len(keys)} {what}, first "{keys[0]}"' for what, keys in wrong.items() if keys]
    if found:
        raise WeightsError(f"{name}: tensors do not fit the model that their shapes describe: {'; '.join(found)}.")


def _image_encoder(state: State) -> tuple[Any, int]:
    """The encoder and its grid's side, in cells."""
    if "image_encoder.layers.0.blocks.0.conv1.c.weight" in state:
        from vos_sam.tiny_vit import TinyViT

        encoder = TinyViT(out_chans=len(state["image_encoder.neck.0.weight"]))
        return encoder, encoder.img_size // 16
    from segment_anything.modeling import ImageEncoderViT

    prefix = "image_encoder."
    patch = state[f"{prefix}patch_embed.proj.weight"]
    grid = int(state[f"{prefix}pos_embed"].shape[1])
    depth = _module_count(state, rf"{prefix}blocks\.(\d+)\.")
    tables = [state[f"{prefix}blocks.{i}.attn.rel_pos_h"] for i in range(depth)]
    spans = [(len(table) + 1) // 2 for table in tables]
    windows = sorted({span for span in spans if span != grid})
    return (
        ImageEncoderViT(
            img_size=grid * patch.shape[-1],
            patch_size=patch.shape[-1],
            in_chans=patch.shape[1],
            embed_dim=patch.shape[0],
            depth=depth,
            num_heads=patch.shape[0] // tables[0].shape[1],
            mlp_ratio=len(state[f"{prefix}blocks.0.mlp.lin1.weight"]) / patch.shape[0],
            out_chans=len(state[f"{prefix}neck.0.weight"]),
            qkv_bias=f"{prefix}blocks.0.attn.qkv.bias" in state,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=windows[0] if windows else 0,
            global_attn_indexes=tuple(i for i, span in enumerate(spans) if span == grid),
        ),
        grid,
    )


def _prompt_encoder(state: State, grid: int, side: int) -> Any:
    from segment_anything.modeling import PromptEncoder

    return PromptEncoder(
        embed_dim=state["prompt_encoder.no_mask_embed.weight"].shape[1],
        image_embedding_size=(grid, grid),
        input_image_size=(side, side),
        mask_in_chans=len(state["prompt_encoder.mask_downscaling.3.weight"]),
    )


def _mask_decoder(state: State) -> Any:
    from segment_anything.modeling import MaskDecoder, TwoWayTransformer

    prefix = "mask_decoder."
    count, width = state[f"{prefix}mask_tokens.weight"].shape
    if count != (found := _module_count(state, rf"{prefix}output_hypernetworks_mlps\.(\d+)\.")):
        raise ValueError(f"{count} mask tokens for {found} hypernetworks")
    attention = state[f"{prefix}transformer.layers.0.cross_attn_token_to_image.q_proj.weight"]
    return MaskDecoder(
        transformer_dim=width,
        transformer=TwoWayTransformer(
            depth=_module_count(state, rf"{prefix}transformer\.layers\.(\d+)\."),
            embedding_dim=width,
            # No tensor's shape gives the number of heads; a model of another width than the published ones has 4.
            num_heads=DECODER_HEADS[width == PUBLISHED_WIDTH],
            mlp_dim=len(state[f"{prefix}transformer.layers.0.mlp.lin1.weight"]),
            attention_downsample_rate=width // len(attention),
        ),
        num_multimask_outputs=count - 1,
        iou_head_depth=_module_count(state, rf"{prefix}iou_prediction_head\.layers\.(\d+)\."),
        iou_head_hidden_dim=len(state[f"{prefix}iou_prediction_head.layers.0.weight"]),
    )


def _module_count(state: State, pattern: str) -> int:
    """Count the distinct module numbers in the names that match a pattern; numbers run from 0."""
    found = {int(m[1]) for key in state if (m := re.match(pattern, key))}
    if found and max(found) >= len(found):  # a model of so many layers would fill the memory
        raise ValueError(f"layers up to {max(found)}, but only {len(found)} are there")
    return len(found)
