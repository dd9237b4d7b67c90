"""Attention beside convolutions on other channels, and modulation by convolutions of several sizes."""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import Weights, conv_norm, relu, softmax, under


def scale_aware(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    s, modulated = conv_norm(x, weights, "s"), torch.empty_like(x)
    for channel in range(x.shape[1]):
        head, place = channel % 4, channel // 4
        own = under(weights, f"heads.{head}")
        one = {key: tensor[place : place + 1] for key, tensor in own.items() if tensor.ndim}
        modulated[:, channel : channel + 1] = conv_norm(s[:, channel : channel + 1], one, "")
    gathered = relu(conv_norm(modulated, weights, "gather", groups=x.shape[1] // 4))
    product = conv_norm(x, weights, "v") * conv_norm(gathered, weights, "mix")
    return conv_norm(product, weights, "project")


def fused(x: Tensor, weights: Weights, name: str) -> Tensor:
    own = under(weights, f"{name}.fused")
    return conv_norm(x + conv_norm(x, own, "spatial", groups=0), own, "project")


def square_means(x: Tensor, side: int) -> Tensor:
    rows = [x[:, :, i : i + side] for i in range(0, x.shape[2], side)]
    means = [
        torch.stack([row[..., j : j + side].mean(dim=(2, 3)) for j in range(0, x.shape[3], side)], dim=-1)
        for row in rows
    ]
    return torch.stack(means, dim=-2)


def inception_attention(x: Tensor, weights: Weights, values: dict[str, Value]) -> Tensor:
    unit, (height, width) = 32, x.shape[2:]
    low = round(unit * float(values["attended"]))
    high = (unit - low) // 2
    place = torch.arange(x.shape[1]) % unit
    own = under(weights, f"paths.attended_{low}")
    fewer = square_means(x[:, place < low], 2)
    q, k, v = (conv_norm(fewer, own, name) for name in ("q", "k", "v"))
    mixed = torch.empty_like(v)
    for start in range(0, v.shape[1], low):
        part = slice(start, start + low)
        logits = torch.einsum("bdn,bdm->bnm", q[:, part].flatten(2), k[:, part].flatten(2)) / low**0.5
        mixed[:, part] = torch.einsum("bnm,bdm->bdn", softmax(logits), v[:, part].flatten(2)).reshape(
            mixed[:, part].shape
        )
    rows, columns = torch.arange(height) // 2, torch.arange(width) // 2
    result = fused(mixed[:, :, rows][..., columns], weights, f"paths.attended_{low}")

    name = f"paths.convolved_{high}"
    y = conv_norm(x[:, (place >= low) & (place < low + high)], under(weights, name), "expand")
    result = result + fused(relu(conv_norm(y, under(weights, name), "convolve", groups=0)), weights, name)

    name, kept = f"paths.maximum_{high}", x[:, place >= low + high]
    most = torch.empty_like(kept)
    for i in range(height):
        for j in range(width):
            around = kept[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            most[:, :, i, j] = around.amax(dim=(2, 3))
    return result + fused(relu(conv_norm(most, under(weights, name), "expand")), weights, name)


REFERENCES = {"scale_aware": scale_aware, "inception_attention": inception_attention}
