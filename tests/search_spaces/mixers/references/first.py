"""Attention over all positions, one depthwise convolution, pooling, and attention in stripes."""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references import basis
from tests.search_spaces.mixers.references.basis import Weights, conv_norm, relu, softmax

HEAD = 16


def heads_over(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of (B, C, N), head by head and position by position."""
    mixed = torch.empty_like(v)
    for start in range(0, v.shape[1], HEAD):
        part = slice(start, start + HEAD)
        for position in range(v.shape[2]):
            logits = (q[:, part, position, None] * k[:, part]).sum(dim=1) / HEAD**0.5  # (B, N)
            mixed[:, part, position] = (softmax(logits)[:, None] * v[:, part]).sum(dim=2)
    return mixed


def attention(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    q, k, v = (conv_norm(x, weights, name).flatten(2) for name in ("q", "k", "v"))
    return conv_norm(heads_over(q, k, v).reshape(x.shape), weights, "project")


def multi_head(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    """Heads as many as are asked for, whose values may be wider than their keys."""
    heads = int(values["heads"])
    q, k, v = (conv_norm(x, weights, name).flatten(2) for name in ("q", "k", "v"))
    mixed = torch.empty_like(v)
    for head in range(heads):
        short, wide = (
            slice(head * one.shape[1] // heads, (head + 1) * one.shape[1] // heads) for one in (q, v)
        )
        for position in range(v.shape[2]):
            logits = (q[:, short, position, None] * k[:, short]).sum(dim=1) * (heads / q.shape[1]) ** 0.5
            mixed[:, wide, position] = (softmax(logits)[:, None] * v[:, wide]).sum(dim=2)
    return conv_norm(mixed.reshape(len(x), -1, *x.shape[2:]), weights, "project")


def depthwise(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    return relu(conv_norm(x, weights, "", groups=0))


def pooling(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    reach = int(values["kernel"]) // 2
    means = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            window = x[:, :, max(i - reach, 0) : i + reach + 1, max(j - reach, 0) : j + reach + 1]
            means[:, :, i, j] = window.mean(dim=(2, 3))
    return weights["scale"] * (means - x)


def stripes(x: Tensor, weights: Weights, name: str, stripe: int) -> Tensor:
    """Attention inside stripes of whole rows, one stripe after another."""
    own = basis.under(weights, name)
    rows = max(size for size in range(1, min(stripe, x.shape[2]) + 1) if x.shape[2] % size == 0)
    q, k, v = (conv_norm(x, own, part) for part in ("q", "k", "v"))
    mixed = torch.empty_like(v)
    for start in range(0, x.shape[2], rows):
        band = slice(start, start + rows)
        inside = [one[:, :, band] for one in (q, k, v)]
        mixed[:, :, band] = heads_over(*(one.flatten(2) for one in inside)).reshape(mixed[:, :, band].shape)
        if basis.under(own, "local"):
            mixed[:, :, band] += conv_norm(v[:, :, band], own, "local", groups=0)
    return conv_norm(mixed, own, "project")


def cswin(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    stripe = int(values["stripe"])
    mixed = stripes(x, weights, "rows", stripe)
    if basis.under(weights, "columns"):
        kernel = "columns.local.conv.weight"
        weights = {key: one.transpose(2, 3) if key == kernel else one for key, one in weights.items()}
        mixed = mixed + stripes(x.transpose(2, 3), weights, "columns", stripe).transpose(2, 3)
    return mixed


REFERENCES = {
    "attention": attention,
    "multi_head": multi_head,
    "depthwise": depthwise,
    "pooling": pooling,
    "cswin": cswin,
}
