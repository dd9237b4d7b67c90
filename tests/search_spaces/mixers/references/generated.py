"""Kernels that are functions of coordinates or of points, and convolutions with kernels as large as the
map."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from search_spaces.choice import Value
from tests.search_spaces.mixers.references.basis import Weights, conv, conv_norm, norm, relu, under


def linear(x: Tensor, own: Weights, name: str) -> Tensor:
    return own[f"{name}.weight"] @ x + own[f"{name}.bias"]


def sines(place: Tensor, own: Weights) -> Tensor:
    """The channels (C,) at a place (dimensions,)."""
    first = torch.sin(10 * linear(place, own, "first"))
    return linear(torch.sin(10 * linear(first, own, "second")), own, "last")


def gabor(place: Tensor, own: Weights) -> Tensor:
    away = ((place - own["middle"]) * own["scale"]) ** 2
    return torch.exp(-away.sum(dim=1) / 2) * torch.sin(linear(place, own, "wave"))


def depthwise(x: Tensor, kernel: Tensor, weights: Weights) -> Tensor:
    return relu(norm(conv(x, kernel, groups=x.shape[1]), under(weights, "norm")))


def flexconv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    extent, own = int(values["extent"]), under(weights, "conv.kernel")
    network = under(own, "network")
    kernel = torch.zeros(x.shape[1], 1, extent, extent, dtype=x.dtype)
    for i in range(extent):
        for j in range(extent):
            place = torch.tensor([i - extent // 2, j - extent // 2], dtype=x.dtype)
            mask = math.exp(-sum(float(one) ** 2 for one in place / own["log_widths"].exp()) / 2)
            if mask >= 0.1:
                first, second = (gabor(place / 8, under(network, name)) for name in ("first", "second"))
                hidden = linear(first, network, "mix") * second
                kernel[:, 0, i, j] = mask * linear(hidden, network, "last")
    return depthwise(x, kernel, weights)


def smpconv(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    extent, own = int(values["extent"]), under(weights, "conv.kernel")
    kernel = torch.zeros(x.shape[1], 1, extent, extent, dtype=x.dtype)
    for i in range(extent):
        for j in range(extent):
            down, right = i - extent // 2, j - extent // 2
            for point, (row, column) in enumerate(own["places"].tolist()):
                away = abs(down / 8 - row) + abs(right / 8 - column)
                near = max(0.0, 1 - away / float(own["radii"][point]))
                kernel[:, 0, i, j] += near * own["weights"][:, point]
            if abs(down) <= 2 and abs(right) <= 2:
                kernel[:, 0, i, j] += own["small"][:, down + 2, right + 2]
    return depthwise(x, kernel, weights)


def hyperzzw(x: Tensor, weights: Weights, values: Mapping[str, Value]) -> Tensor:
    _, _, height, width = x.shape
    network = under(weights, "slow.network")
    mixed = torch.zeros_like(x)
    for k in range(height):
        for m in range(width):
            place = torch.tensor([k / 8, m / 8], dtype=x.dtype)
            kernel = sines(place, network) * x[:, :, k, m]  # (B, C)
            moved = torch.roll(x, (k, m), dims=(2, 3))  # what lies k rows above and m columns to the left
            mixed += kernel[..., None, None] * moved / (height * width)
    return conv_norm(mixed, weights, "project")


REFERENCES = {"flexconv": flexconv, "smpconv": smpconv, "hyperzzw": hyperzzw}
