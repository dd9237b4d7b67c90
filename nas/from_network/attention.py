"""PyTorch's attention with a layer each for queries, keys and values, so that it can lose heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SeparateAttention(nn.Module):
    """What an ``nn.MultiheadAttention`` computes, with its weights; the width inside is free of that outside.

    Args:
        given: attention whose weights it takes, without added key or value biases.

    Attributes:
        num_heads: number of heads.
        head_size: channels of a head, which stay what they are when heads go.
    """

    # Asked for by nn.TransformerEncoderLayer, whose shortcut for evaluation wants packed projections.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, given: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, self.head_size = given.num_heads, given.head_dim
        self.batch_first, self.dropout = given.batch_first, given.dropout
        if given.in_proj_weight is not None:
            weights = given.in_proj_weight.chunk(3)
        else:
            weights = (given.q_proj_weight, given.k_proj_weight, given.v_proj_weight)
        biases = (None,) * 3 if given.in_proj_bias is None else given.in_proj_bias.chunk(3)
        self.query, self.key, self.value = (
            _linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)
        )
        self.out_proj = _linear(given.out_proj.weight, given.out_proj.bias)
        self.train(given.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,  # noqa: ARG002 - only says that the mask is the causal one
    ) -> tuple[Tensor, Tensor | None]:
        """Attention of (B, N, C), or (N, B, C) where the batch is not first, or (N, C), as PyTorch's.

        Masks are as PyTorch's: true or minus infinity where nothing is looked at.
        """
        batched = query.dim() == 3
        given = [one if batched else one.unsqueeze(0) for one in (query, key, value)]
        if batched and not self.batch_first:
            given = [one.transpose(0, 1) for one in given]
        q, k, v = (
            layer(one).unflatten(-1, (self.num_heads, self.head_size)).transpose(1, 2)
            for layer, one in zip((self.query, self.key, self.value), given, strict=True)
        )  # (B, heads, N, head size)
        mask = self._mask(attn_mask, key_padding_mask, q)
        weights: Tensor | None = None
        if need_weights:
            logits = (q * self.head_size**-0.5) @ k.transpose(-2, -1)
            weights = (logits if mask is None else logits + mask).softmax(dim=-1)
            mixed = F.dropout(weights, self.dropout, self.training) @ v
            weights = weights.mean(dim=1) if average_attn_weights else weights
            weights = weights if batched else weights.squeeze(0)
        else:
            share = self.dropout if self.training else 0.0
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=share)
        out = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not batched:
            return out.squeeze(0), weights
        return (out if self.batch_first else out.transpose(0, 1)), weights

    def _mask(self, attention: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
        """Both masks as what is added to logits (B, heads, N, M); None where there is none."""
        mask: Tensor | None = None
        if attention is not None:
            mask = _added(attention, q.dtype)
            if mask.dim() == 3:  # (B * heads, N, M), in which the first heads are kept
                mask = mask.unflatten(0, (q.shape[0], -1))[:, : self.num_heads]
        if padding is not None:
            padded = _added(padding, q.dtype)
            padded = (padded if padded.dim() == 2 else padded.unsqueeze(0))[:, None, None]
            mask = padded if mask is None else mask + padded
        return mask


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype is not torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, float("-inf"))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    return layer


def open_attention(network: nn.Module) -> nn.Module:
    """Takes the place of every ``nn.MultiheadAttention`` of a network, in place; gives the network.

    One that adds biases to keys and values stays, and so do its sizes. Inside an ``nn.TransformerEncoder``
    nested tensors are left off, which want packed projections.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.MultiheadAttention and child.bias_k is None and not child.add_zero_attn:
                setattr(module, name, SeparateAttention(child))
        if isinstance(module, nn.TransformerEncoder):
            module.enable_nested_tensor = module.use_nested_tensor = False
    return network
