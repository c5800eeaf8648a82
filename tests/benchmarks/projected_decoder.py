"""The mask decoder as it was: all objects in one pass, and the image's cells projected; ``bench_sam.py``'s baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos.plugin import AnyArray
from vos_sam.decoder import Decoded
from vos_sam.prompt import Prompt
from vos_sam.view import View


class ProjectedDecoder:
    """Runs a ``Sam``'s prompt encoder and mask decoder, float32, with its own weights."""

    def __init__(self, sam: Any) -> None:
        """Prepare what does not depend on prompts.

        Args:
            sam: a ``segment_anything.modeling.Sam`` in eval mode, on its device.
        """
        self._prompts = sam.prompt_encoder
        self._decoder = sam.mask_decoder
        self._device = sam.device
        self._grid: tuple[int, int] = tuple(sam.prompt_encoder.image_embedding_size)
        position = sam.prompt_encoder.get_dense_pe()[0].flatten(1).T.contiguous()
        self._position = position
        transformer = sam.mask_decoder.transformer
        self._layers = [_Layer(layer, position) for layer in transformer.layers]
        self._final = transformer.final_attn_token_to_image
        self._final_norm: nn.LayerNorm = transformer.norm_final_attn
        self._final_key = position @ self._final.k_proj.weight.T
        self._upscale = _Upscaling(sam.mask_decoder.output_upscaling)

    def __call__(
        self,
        features: Tensor,
        view: View,
        prompts: Sequence[Prompt],
        *,
        multimask: bool = True,
        hooks: None = None,
    ) -> Decoded:
        """Decode all objects' prompts in one pass.

        Args:
            features: float32 (C, h, w), the frame's embedding.
            view: the frame's place in the model's input.
            prompts: one for each of K objects.
            multimask: three masks of different extent, or the single one for unambiguous prompts.
            hooks: None; the baseline has no hooks.
        Returns:
            M is 3 or 1.
        """
        sparse, hidden = self._sparse(prompts, view)
        keys = self._keys(features, prompts)
        output = torch.cat([self._decoder.iou_token.weight, self._decoder.mask_tokens.weight])
        tokens = torch.cat([output.expand(len(prompts), -1, -1), sparse], dim=1)
        mask = None
        if bool(hidden.any()):
            shown = torch.cat([hidden.new_zeros(len(prompts), len(output)), hidden], dim=1)
            mask = torch.zeros(shown.shape, device=self._device).masked_fill_(shown, -torch.inf)[:, None, None]
        tokens, keys = self._transform(tokens, keys, mask)
        wanted = range(1, self._decoder.num_mask_tokens) if multimask else range(1)
        hyper = torch.stack([self._decoder.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in wanted], dim=1)
        predicted_iou = self._decoder.iou_prediction_head(tokens[:, 0])
        return Decoded(self._upscale(keys, hyper, self._grid), predicted_iou[:, wanted.start : wanted.stop])

    def _sparse(self, prompts: Sequence[Prompt], view: View) -> tuple[Tensor, Tensor]:
        """Embed points and boxes: float32 (K, T, C), and bool (K, T), True where padded.

        Labels are the prompt encoder's: 1 and 0 for points, 2 and 3 for a box's corners, -1 for the 'no point' token
        that follows points without a box (prompt_encoder.py:73-101 at dca509f); -2 pads.
        """
        lists = [_coordinates(prompt, view) for prompt in prompts]
        count = max(len(labels) for _, labels in lists)
        coordinates = np.zeros((len(prompts), count, 2), np.float32)
        labels = np.full((len(prompts), count), -2)
        for row, (xy, kinds) in enumerate(lists):
            coordinates[row, : len(kinds)] = xy
            labels[row, : len(kinds)] = kinds
        encoder = self._prompts
        points = torch.from_numpy(coordinates).to(self._device) + 0.5
        token_kinds = torch.from_numpy(labels).to(self._device)
        embedded: Tensor = encoder.pe_layer.forward_with_coords(points, encoder.input_image_size)
        table = torch.cat([encoder.not_a_point_embed.weight, *(e.weight for e in encoder.point_embeddings)])
        placed = torch.where((token_kinds < 0)[..., None], torch.zeros_like(embedded), embedded)
        return placed + table[(token_kinds + 1).clamp(min=0)], token_kinds == -2

    def _keys(self, features: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Image tokens with the mask prompts added: float32 (K or 1, h * w, C)."""
        image = features.flatten(1).T[None]
        none: Tensor = self._prompts.no_mask_embed.weight
        given = [row for row, prompt in enumerate(prompts) if prompt.low_res_logits is not None]
        if not given:
            return image + none
        masks = torch.stack([m for p in prompts if (m := p.low_res_logits) is not None])[:, None]
        dense: Tensor = self._prompts.mask_downscaling(masks.to(self._device, torch.float32)).flatten(2).transpose(1, 2)
        if len(given) == len(prompts):
            return image + dense
        keys = (image + none).repeat(len(prompts), 1, 1)
        keys[given] = image + dense
        return keys

    def _transform(self, tokens: Tensor, keys: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run the two-way transformer: tokens (K, T, C) and image tokens (K, h * w, C)."""
        queries = position = tokens
        for layer in self._layers:
            queries, keys = layer(queries, keys, position, mask)
        query = queries + position
        final = self._final
        key = final.k_proj(keys) + self._final_key
        attended = _attend(final.q_proj(query), key, final.v_proj(keys), final.num_heads)
        return self._final_norm(queries + final.out_proj(attended)), keys


class _Layer:
    """One two-way block (segment_anything/modeling/transformer.py:151-182 at dca509f)."""

    def __init__(self, block: Any, position: Tensor) -> None:
        self._block = block
        to_image, to_token = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        parts = (to_image.k_proj, to_image.v_proj, to_token.q_proj)
        self._weight = torch.cat([part.weight for part in parts])
        self._bias = torch.cat([part.bias for part in parts])
        self._key = position @ to_image.k_proj.weight.T
        self._query = position @ to_token.q_proj.weight.T

    def __call__(self, queries: Tensor, keys: Tensor, position: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        block = self._block
        own = block.self_attn
        if block.skip_first_layer_pe:
            queries = self._self_attention(queries, queries, mask)
        else:
            queries = queries + self._self_attention(queries + position, queries, mask)
        queries = block.norm1(queries)

        to_image, to_token = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        key, value, image_query = F.linear(keys, self._weight, self._bias).chunk(3, dim=-1)
        query = to_image.q_proj(queries + position)
        query, key, value = _split_heads(query, key + self._key, value, own.num_heads)
        attended = _join_heads(F.scaled_dot_product_attention(query, key, value))
        queries = block.norm2(queries + to_image.out_proj(attended))
        queries = block.norm3(queries + block.mlp(queries))

        token_key, token_value = to_token.k_proj(queries + position), to_token.v_proj(queries)
        attended = _attend(image_query + self._query, token_key, token_value, own.num_heads, mask)
        return queries, block.norm4(keys + to_token.out_proj(attended))

    def _self_attention(self, query: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        own = self._block.self_attn
        attended = _attend(own.q_proj(query), own.k_proj(query), own.v_proj(value), own.num_heads, mask)
        result: Tensor = own.out_proj(attended)
        return result


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Multi-head attention of projected tokens.

    Args:
        query: (K or 1, Q, C).
        key: (K or 1, N, C).
        value: (K or 1, N, C).
        heads: number of heads.
        mask: (K, 1, 1, N), added to the scores.
    Returns:
        (K, Q, C).
    """
    query, key, value = _split_heads(query, key, value, heads)
    return _join_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


def _split_heads(query: Tensor, key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Reshape tokens (K or 1, N, C) to (K, heads, N, C / heads); a batch of one is shared by all objects."""
    batch = max(len(query), len(key))
    query, key, value = (
        x.expand(batch, -1, -1).view(batch, x.shape[1], heads, -1).transpose(1, 2) for x in (query, key, value)
    )
    return query, key, value


def _join_heads(attended: Tensor) -> Tensor:
    """Reshape (K, heads, N, c) to (K, N, heads * c)."""
    return attended.transpose(1, 2).flatten(2)


class _Upscaling:
    """Two transposed 2x2 convolutions with stride 2, then the product with each mask's vector."""

    def __init__(self, layers: nn.Sequential) -> None:
        first, norm, self._act, second, _ = layers
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(second, nn.ConvTranspose2d)
        self._first, self._first_bias = _as_matrix(first)
        self._second, self._second_bias = _as_matrix(second)
        self._norm: Any = norm

    def __call__(self, keys: Tensor, hyper: Tensor, grid: tuple[int, int]) -> Tensor:
        """Image tokens (K, h * w, C) and mask vectors (K, M, C / 8) to logits (K, M, 4h, 4w)."""
        norm = self._norm
        cells = (keys @ self._first).view(*keys.shape[:2], 4, -1) + self._first_bias
        cells = self._act(F.layer_norm(cells, cells.shape[-1:], norm.weight, norm.bias, norm.eps))
        cells = (cells @ self._second).view(*cells.shape[:3], 4, -1) + self._second_bias
        planes: Tensor = hyper @ self._act(cells).flatten(1, 3).transpose(1, 2)
        height, width = grid
        planes = planes.view(*hyper.shape[:2], height, width, 2, 2, 2, 2)
        return planes.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(*hyper.shape[:2], 4 * height, 4 * width)


def _as_matrix(convolution: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A 2x2 transposed convolution with stride 2 as (C_in, 4 * C_out), sub-cells in row order, and its bias."""
    weight = convolution.weight
    assert convolution.bias is not None
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1).contiguous(), convolution.bias


def _coordinates(prompt: Prompt, view: View) -> tuple[AnyArray, AnyArray]:
    """One prompt's tokens: (T, 2) pixels of the model's input and (T,) labels."""
    coordinates: AnyArray = np.zeros((0, 2), np.float32)
    labels: AnyArray = np.zeros(0, np.int64)
    if prompt.points_xy is not None:
        assert prompt.point_labels is not None
        coordinates, labels = view.to_input(prompt.points_xy), prompt.point_labels
        if prompt.box_xyxy is None:
            coordinates = np.concatenate([coordinates, np.zeros((1, 2), np.float32)])
            labels = np.concatenate([labels, [-1]])
    if prompt.box_xyxy is not None:
        coordinates = np.concatenate([coordinates, view.to_input(prompt.box_xyxy.reshape(2, 2))])
        labels = np.concatenate([labels, [2, 3]])
    return coordinates, labels
