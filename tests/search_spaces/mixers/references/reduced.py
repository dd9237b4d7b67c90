"""Attention of every position to all of a smaller map, query by query; and attention without a softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.attention import likeness, weighed
from tests.search_spaces.mixers.references.basis import Weights, conv_norm, norm, relu, under

HEAD = 16


def to_all(q: Tensor, k: Tensor, v: Tensor, weights: Weights, short: int = HEAD) -> Tensor:
    """(B, C, H, W) of queries (B, heads short, H, W), keys of a smaller map, and its values (B, C, h, w)."""
    mixed = torch.empty(*v.shape[:2], *q.shape[2:], dtype=v.dtype)
    for i in range(q.shape[2]):
        for j in range(q.shape[3]):
            for head in range(v.shape[1] // HEAD):
                few, whole = slice(head * short, (head + 1) * short), slice(head * HEAD, (head + 1) * HEAD)
                logits = likeness(q[:, few, i, j], k[:, few].flatten(2), weights, head)
                mixed[:, whole, i, j] = weighed(logits, v[:, whole].flatten(2), weights)
    return mixed


def pooled_attention(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    encoding = torch.zeros_like(x)
    if under(weights, "encode"):
        encoding = conv_norm(x, weights, "encode", groups=0)
        x = x + encoding
    side, (height, width) = int(values["reduction"]), x.shape[2:]
    rows = [x[:, :, i : i + side] for i in range(0, height, side)]
    fewer = torch.stack(
        [
            torch.stack([row[..., j : j + side].mean(dim=(2, 3)) for j in range(0, width, side)], dim=-1)
            for row in rows
        ],
        dim=-2,
    )
    q, k, v = conv_norm(x, weights, "q"), conv_norm(fewer, weights, "k"), conv_norm(fewer, weights, "v")
    return encoding + conv_norm(to_all(q, k, v, weights), weights, "project")


def conv_attention(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    step, parts = int(values["key_stride"]), []
    for name in ("q", "k", "v"):
        spatial = conv_norm(x, weights, f"{name}.0", groups=0)
        if name != "q":
            spatial = spatial[:, :, ::step, ::step]
        parts.append(conv_norm(spatial, weights, f"{name}.1"))
    return conv_norm(to_all(*parts, weights), weights, "project")


def strided(x: Tensor, own: Weights, side: int) -> Tensor:
    """A depthwise convolution of squares beside each other, those at the edge filled up with zeros."""
    batch, channels, height, width = x.shape
    result = torch.zeros(batch, channels, -(-height // side), -(-width // side), dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            tap = own["conv.weight"][:, 0, i % side, j % side]
            result[:, :, i // side, j // side] += tap * x[:, :, i, j]
    return norm(result, under(own, "norm"))


def strip_attention(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    side, short = int(values["reduction"]), round(HEAD * float(values["query_share"]))
    fewer = strided(x, under(weights, f"reduce.by_{side}"), side) if side > 1 else x
    q = conv_norm(x, weights, f"short_heads.q_{short}")
    k, v = conv_norm(fewer, weights, f"short_heads.k_{short}"), conv_norm(fewer, weights, "v")
    return conv_norm(to_all(q, k, v, weights, short), weights, "project")


def linear_attention(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    q, k, v = (conv_norm(x, weights, name) for name in ("q", "k", "v"))
    mixed = torch.empty_like(v)
    for start in range(0, x.shape[1], HEAD):
        part = slice(start, start + HEAD)
        queries, keys = relu(q[:, part].flatten(2)), relu(k[:, part].flatten(2))
        pairs = torch.einsum("bdn,bdm->bnm", queries, keys)
        found = torch.einsum("bnm,bdm->bdn", pairs, v[:, part].flatten(2))
        mixed[:, part] = (found / (pairs.sum(dim=2)[:, None] + 1e-6)).reshape(mixed[:, part].shape)
    return conv_norm(mixed + conv_norm(v, weights, "local", groups=0), weights, "project")


REFERENCES = {
    "pooled_attention": pooled_attention,
    "conv_attention": conv_attention,
    "strip_attention": strip_attention,
    "linear_attention": linear_attention,
}
