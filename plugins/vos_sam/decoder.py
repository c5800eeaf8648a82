"""The mask decoder for many objects, equal to one call per object.

Objects may have different prompts: the shorter token lists are padded, and padded tokens are hidden from every
attention, so each object's numbers are those of a call of its own.

There are some ten tokens and thousands of image cells, so the cells are never projected: the attention's projections
are multiplied into the tokens instead. The transposed convolutions run as matrix products on channels-last cells.
On a processor each object is decoded alone, so that its cells (4 MiB) stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos.plugin import AnyArray
from vos_sam.prompt import Prompt
from vos_sam.view import View

OBJECTS_PER_PASS = {"cpu": 1, "cuda": 32}
"""Objects decoded together; 254 in one pass would fill a GPU's memory with image tokens."""


class DecoderHooks:
    """Places where a plugin changes the two-way transformer; the methods of this class change nothing.

    Rows of every tensor are objects. Source of the places: segment_anything/modeling/transformer.py:87-107 at dca509f.
    """

    def select(self, rows: slice) -> DecoderHooks:
        """Return the hooks of some objects, for a decoding of those alone."""
        return self

    def token_position(self, tokens: Tensor) -> Tensor:
        """Change the tokens' positional part, float32 (K, T, C), which is also the first layer's query."""
        return tokens

    def layer_query(self, queries: Tensor, layer: int) -> Tensor:
        """Change the queries, float32 (K, T, C), that go into a layer after the first."""
        return queries

    def final_query(self, query: Tensor) -> Tensor:
        """Change the query, float32 (K, T, C), of the last attention."""
        return query

    def image_attention(self, scores: Tensor) -> Tensor:
        """Turn a layer's scores, from tokens to the image, into attention.

        Args:
            scores: float32 (K, heads, T, h * w), scaled.
        Returns:
            As ``scores``; sums to 1 over the last axis.
        """
        return torch.softmax(scores, dim=-1)


@dataclass(frozen=True)
class Decoded:
    """Masks for K objects, on the model's square input.

    Attributes:
        low_res_logits: float32 (K, M, S, S).
        predicted_iou: float32 (K, M), the model's own estimate.
    """

    low_res_logits: Tensor
    predicted_iou: Tensor


class Decoder:
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
        self._layers = [_Layer(layer) for layer in transformer.layers]
        self._final = _ToImage(transformer.final_attn_token_to_image)
        self._final_norm: nn.LayerNorm = transformer.norm_final_attn
        self._upscale = _Upscaling(sam.mask_decoder.output_upscaling)

    def __call__(
        self,
        features: Tensor,
        view: View,
        prompts: Sequence[Prompt],
        *,
        multimask: bool = True,
        hooks: DecoderHooks | None = None,
    ) -> Decoded:
        """Decode all objects' prompts.

        Args:
            features: float32 (C, h, w), the frame's embedding.
            view: the frame's place in the model's input.
            prompts: one for each of K objects.
            multimask: three masks of different extent, or the single one for unambiguous prompts.
            hooks: changes of the transformer, or None.
        Returns:
            M is 3 or 1.
        """
        step = OBJECTS_PER_PASS.get(self._device.type, OBJECTS_PER_PASS["cuda"])
        hooks = hooks or DecoderHooks()
        passes = [
            self._decode(features, view, prompts[rows], multimask=multimask, hooks=hooks.select(rows))
            for rows in (slice(first, first + step) for first in range(0, len(prompts), step))
        ]
        return Decoded(*(torch.cat(parts) for parts in zip(*passes, strict=True)))

    def _decode(
        self, features: Tensor, view: View, prompts: Sequence[Prompt], *, multimask: bool, hooks: DecoderHooks
    ) -> tuple[Tensor, Tensor]:
        """Decode some objects together: the fields of ``Decoded``."""
        sparse, hidden = self._sparse(prompts, view)
        keys = self._keys(features, prompts)
        output = torch.cat([self._decoder.iou_token.weight, self._decoder.mask_tokens.weight])
        tokens = torch.cat([output.expand(len(prompts), -1, -1), sparse], dim=1)
        mask = None
        if bool(hidden.any()):
            shown = torch.cat([hidden.new_zeros(len(prompts), len(output)), hidden], dim=1)
            mask = torch.zeros(shown.shape, device=self._device).masked_fill_(shown, -torch.inf)[:, None, None]
        tokens, keys = self._transform(tokens, keys, mask, hooks)
        wanted = range(1, self._decoder.num_mask_tokens) if multimask else range(1)
        hyper = torch.stack([self._decoder.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in wanted], dim=1)
        predicted_iou = self._decoder.iou_prediction_head(tokens[:, 0])
        return self._upscale(keys, hyper, self._grid), predicted_iou[:, wanted.start : wanted.stop]

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

    def _transform(
        self, tokens: Tensor, keys: Tensor, mask: Tensor | None, hooks: DecoderHooks
    ) -> tuple[Tensor, Tensor]:
        """Run the two-way transformer: tokens (K, T, C) and image tokens (K, h * w, C)."""
        queries = position = hooks.token_position(tokens)
        positioned = keys + self._position
        for index, layer in enumerate(self._layers):
            if index:
                queries = hooks.layer_query(queries, index)
            queries, keys = layer(queries, position, keys, positioned, mask, hooks)
            positioned = keys + self._position
        attended = self._final(hooks.final_query(queries + position), keys, positioned)
        return self._final_norm(queries + attended), keys


class _Layer:
    """One two-way block (segment_anything/modeling/transformer.py:151-182 at dca509f)."""

    def __init__(self, block: Any) -> None:
        self._block = block
        self._to_image = _ToImage(block.cross_attn_token_to_image)
        self._to_tokens = _ToTokens(block.cross_attn_image_to_token)

    def __call__(
        self,
        queries: Tensor,
        position: Tensor,
        keys: Tensor,
        positioned: Tensor,
        mask: Tensor | None,
        hooks: DecoderHooks,
    ) -> tuple[Tensor, Tensor]:
        """Tokens (K, T, C), their position, image tokens (K or 1, h * w, C) without and with theirs."""
        block = self._block
        if block.skip_first_layer_pe:
            queries = self._self_attention(queries, queries, mask)
        else:
            queries = queries + self._self_attention(queries + position, queries, mask)
        queries = block.norm1(queries)
        queries = block.norm2(queries + self._to_image(queries + position, keys, positioned, hooks))
        queries = block.norm3(queries + block.mlp(queries))
        return queries, block.norm4(self._to_tokens(keys, positioned, queries + position, queries, mask))

    def _self_attention(self, query: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        own = self._block.self_attn
        attended = _attend(own.q_proj(query), own.k_proj(query), own.v_proj(value), own.num_heads, mask)
        result: Tensor = own.out_proj(attended)
        return result


class _ToImage:
    """Attention from T tokens to the N cells of the image, without a projection of the cells.

    A score is ``(W_q q) . (W_k k + b_k)``; the softmax over cells does not change with the constant ``(W_q q) . b_k``,
    and the rest is ``(W_k^T W_q q) . k``. The attended value is ``W_v`` times the attended cell, plus ``b_v``.
    """

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self._key = _by_head(attention.k_proj.weight, attention.num_heads)
        self._value = _by_head(attention.v_proj.weight, attention.num_heads)

    def __call__(self, query: Tensor, keys: Tensor, positioned: Tensor, hooks: DecoderHooks | None = None) -> Tensor:
        """Queries (K, T, C), cells (K or 1, N, C) without and with their position: (K, T, C)."""
        attention = self._attention
        heads, width = self._key.shape[:2]
        count, tokens = query.shape[:2]
        split = attention.q_proj(query).view(count, tokens, heads, width) * width**-0.5
        folded = torch.einsum("kthc,hcd->khtd", split, self._key).flatten(1, 2)
        scores = torch.matmul(folded, positioned.transpose(1, 2)).view(count, heads, tokens, -1)
        attended = torch.softmax(scores, dim=-1) if hooks is None else hooks.image_attention(scores)
        cells = torch.matmul(attended.flatten(1, 2), keys).view(count, heads, tokens, -1)
        values = torch.einsum("khtd,hcd->kthc", cells, self._value).flatten(2) + attention.v_proj.bias
        result: Tensor = attention.out_proj(values)
        return result


class _ToTokens:
    """Attention from the N cells of the image to T tokens, without a projection of the cells; see ``_ToImage``.

    The output's bias is spread over the heads, whose attentions sum to 1 each.
    """

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        heads = attention.num_heads
        self._query = _by_head(attention.q_proj.weight, heads)
        self._query_bias = attention.q_proj.bias.view(heads, -1)
        self._out = _by_head(attention.out_proj.weight.T, heads)
        self._out_bias = attention.out_proj.bias / heads

    def __call__(
        self, keys: Tensor, positioned: Tensor, token_key: Tensor, token_value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Add attention to the cells.

        Args:
            keys: (K or 1, N, C), the cells.
            positioned: the cells with their position.
            token_key: (K, T, C), tokens with their position.
            token_value: (K, T, C).
            mask: (K, 1, 1, T), added to the scores.
        Returns:
            (K, N, C).
        """
        heads, width = self._query.shape[:2]
        count, tokens = token_key.shape[:2]
        key = self._attention.k_proj(token_key).view(count, tokens, heads, width) * width**-0.5
        value = self._attention.v_proj(token_value).view(count, tokens, heads, width)
        constant = torch.einsum("kthc,hc->kht", key, self._query_bias)
        if mask is not None:
            constant = constant + mask[:, 0]
        folded = torch.einsum("kthc,hcd->khtd", key, self._query).flatten(1, 2)
        scores = torch.baddbmm(
            constant.flatten(1)[..., None],
            folded,
            positioned.transpose(1, 2).expand(count, -1, -1),
        )
        attended = torch.softmax(scores.view(count, heads, tokens, -1), dim=2).flatten(1, 2)
        values = torch.einsum("kthc,hcd->khtd", value, self._out) + self._out_bias
        return torch.baddbmm(keys.expand(count, -1, -1), attended.transpose(1, 2), values.flatten(1, 2))


def _by_head(weight: Tensor, heads: int) -> Tensor:
    """Rows of a weight (heads * c, C) by head: (heads, c, C)."""
    return weight.reshape(heads, -1, weight.shape[1]).contiguous()


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Multi-head attention among tokens.

    Args:
        query: (K, T, C), projected.
        key: as ``query``.
        value: as ``query``.
        heads: number of heads.
        mask: (K, 1, 1, T), added to the scores.
    Returns:
        (K, T, C).
    """
    query, key, value = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)


class _Upscaling:
    """Two transposed 2x2 convolutions with stride 2, then the product with each mask's vector."""

    def __init__(self, layers: nn.Sequential) -> None:
        first, norm, self._act, second, _ = layers
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(second, nn.ConvTranspose2d)
        self._first = _as_matrix(first)
        self._second = _as_matrix(second)
        self._norm: Any = norm

    def __call__(self, keys: Tensor, hyper: Tensor, grid: tuple[int, int]) -> Tensor:
        """Image tokens (K, h * w, C) and mask vectors (K, M, C / 8) to logits (K, M, 4h, 4w)."""
        norm = self._norm
        cells = F.linear(keys, *self._first).view(*keys.shape[:2], 4, -1)
        cells = self._act(F.layer_norm(cells, cells.shape[-1:], norm.weight, norm.bias, norm.eps))
        cells = F.linear(cells, *self._second).view(*cells.shape[:3], 4, -1)
        planes: Tensor = hyper @ self._act(cells).flatten(1, 3).transpose(1, 2)
        height, width = grid
        planes = planes.view(*hyper.shape[:2], height, width, 2, 2, 2, 2)
        return planes.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(*hyper.shape[:2], 4 * height, 4 * width)


def _as_matrix(convolution: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A 2x2 transposed convolution with stride 2 as weight (4 * C_out, C_in) and bias, sub-cells in row order."""
    weight = convolution.weight
    assert convolution.bias is not None
    return weight.permute(2, 3, 1, 0).reshape(-1, len(weight)).contiguous(), convolution.bias.repeat(4)


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
