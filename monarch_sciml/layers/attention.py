"""nn.MultiheadAttention with its projections as layers of their own.

Letters: B batch, L target and S source length, E embedding, H heads, D = E/H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monarch_sciml._checks import message
from monarch_sciml.layers.computed_weight import ComputedWeight

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


class UnpackedAttention(nn.Module):
    """Compute the function of an nn.MultiheadAttention by four linear layers that can be replaced.

    nn.MultiheadAttention holds three of its matrices in one parameter and multiplies by all four
    itself, so no layer inside of it can be replaced. Here the matrices are the layers `q_proj`,
    `k_proj`, `v_proj` and `out_proj`, of any class that maps the last axis. Attributes that other
    code reads (`in_proj_weight`, `batch_first`, …) are kept.

    Parameters
    ----------
    attention
        The attention whose weights, options and training mode are copied. It is not changed.

    Raises
    ------
    ValueError
        When the attention was made with `add_bias_kv` or `add_zero_attn`.
    """

    _qkv_same_embed_dim = False  # keeps nn.TransformerEncoderLayer off its fused path
    bias_k = bias_v = None
    q_proj: Any
    k_proj: Any
    v_proj: Any
    out_proj: Any
    add_zero_attn = False

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        if attention.bias_k is not None or attention.add_zero_attn:
            rule = "an nn.MultiheadAttention must have neither `add_bias_kv` nor `add_zero_attn`"
            raise ValueError(message(rule, "one that has", "Exclude it from the conversion."))
        self.embed_dim, self.num_heads = attention.embed_dim, attention.num_heads
        self.kdim, self.vdim = attention.kdim, attention.vdim
        self.head_dim, self.dropout = attention.head_dim, attention.dropout
        self.batch_first = attention.batch_first
        biases: Any = (None,) * 3
        if attention.in_proj_bias is not None:
            biases = attention.in_proj_bias.chunk(3)
        packed = attention.in_proj_weight
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        # absent where they are packed, and the other way round
        weights: Any = (
            packed.chunk(3) if packed is not None else [getattr(attention, n) for n in names]
        )
        for name, weight, bias in zip(PROJECTIONS, weights, biases):
            setattr(self, name, _linear(weight, bias))
        self.out_proj = _linear(attention.out_proj.weight, attention.out_proj.bias)
        for p in (self.q_proj, self.k_proj, self.v_proj):
            p.weight.requires_grad_(all(w.requires_grad for w in weights))
            if p.bias is not None:
                p.bias.requires_grad_(attention.in_proj_bias.requires_grad)
        self.train(attention.training)

    def packed(self) -> nn.MultiheadAttention:
        """Return an nn.MultiheadAttention of the same function. All projections must be
        nn.Linear.
        """
        weight = self.out_proj.weight
        bias = self.q_proj.bias is not None
        attention = nn.MultiheadAttention(
            self.embed_dim, self.num_heads, self.dropout, bias, kdim=self.kdim, vdim=self.vdim,
            batch_first=self.batch_first, device=weight.device, dtype=weight.dtype,
        )  # fmt: skip
        inputs = (self.q_proj, self.k_proj, self.v_proj)
        with torch.no_grad():
            if attention.in_proj_weight is not None:
                attention.in_proj_weight.copy_(torch.cat([p.weight for p in inputs]))
                attention.in_proj_weight.requires_grad_(self.q_proj.weight.requires_grad)
            else:
                for letter, p in zip("qkv", inputs):
                    parameter = attention.get_parameter(f"{letter}_proj_weight")
                    parameter.copy_(p.weight).requires_grad_(p.weight.requires_grad)
            attention.out_proj.weight.copy_(weight).requires_grad_(weight.requires_grad)
            if bias:
                attention.in_proj_bias.copy_(torch.cat([p.bias for p in inputs]))
                attention.in_proj_bias.requires_grad_(self.q_proj.bias.requires_grad)
                attention.out_proj.bias.copy_(self.out_proj.bias)
                attention.out_proj.bias.requires_grad_(self.out_proj.bias.requires_grad)
        return attention.train(self.training)

    @property
    def in_proj_weight(self) -> Tensor:
        """Compute the matrices of query, key and value, (3 E, E), for code that reads them."""
        weights = [layer.weight for layer in (self.q_proj, self.k_proj, self.v_proj)]
        return torch.cat([w.as_subclass(Tensor) for w in weights]).as_subclass(ComputedWeight)

    @property
    def in_proj_bias(self) -> Tensor | None:
        """Return the biases of query, key and value, (3 E,), or None."""
        biases = [layer.bias for layer in (self.q_proj, self.k_proj, self.v_proj)]
        return None if biases[0] is None else torch.cat(biases)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, with the arguments and the results of nn.MultiheadAttention."""
        batched = query.ndim == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (
            layer(x)
            .unflatten(-1, (self.num_heads, -1))
            .transpose(1, 2)  # (B, L, E) -> (B, H, L, D)
            for layer, x in zip((self.q_proj, self.k_proj, self.v_proj), (query, key, value))
        )
        mask = _mask(q, k, key_padding_mask, attn_mask, is_causal=is_causal)
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            scores = q @ k.mT * self.head_dim**-0.5  # (B, H, L, S)
            shares = (scores if mask is None else scores + mask).softmax(-1)
            shares = F.dropout(shares, dropout) if dropout else shares
            y = shares @ v
        else:
            shares = None
            y = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        y = self.out_proj(y.transpose(1, 2).flatten(2))  # (B, H, L, D) -> (B, L, E)
        if shares is not None and average_attn_weights:
            shares = shares.mean(1)
        if not batched:
            return y.squeeze(0), None if shares is None else shares.squeeze(0)
        return y if self.batch_first else y.transpose(0, 1), shares


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return an nn.Linear with copies of this weight and bias."""
    n_out, n_in = weight.shape
    layer = nn.Linear(n_in, n_out, bias is not None, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight).requires_grad_(weight.requires_grad)
        if bias is not None:
            layer.bias.copy_(bias).requires_grad_(bias.requires_grad)
    return layer


def _mask(
    q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None, *, is_causal: bool
) -> Tensor | None:
    """Return the mask to add to the scores, broadcastable to (B, H, L, S), or None."""
    if mask is None and is_causal:
        rule = "`attn_mask` must be given when `is_causal` is true"
        raise ValueError(message(rule, None, "Pass the causal mask, as nn.MultiheadAttention."))
    masks = []
    if mask is not None:
        mask = _additive(mask, q.dtype)
        # (L, S) for all, or (B·H, L, S)
        masks.append(mask if mask.ndim == 2 else mask.reshape(-1, q.shape[1], *mask.shape[-2:]))
    if padding is not None:
        padding = padding if padding.ndim == 2 else padding.unsqueeze(0)
        masks.append(_additive(padding, q.dtype)[:, None, None, :])  # (B, S) -> (B, 1, 1, S)
    return None if not masks else masks[0] if len(masks) == 1 else masks[0] + masks[1]


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask that is added: a Boolean one becomes minus infinity where it is True."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))
    return mask.to(dtype)
