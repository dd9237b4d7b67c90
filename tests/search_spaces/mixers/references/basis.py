"""What the formulas of several mixers are written with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def under(weights: Weights, name: str) -> dict[str, Tensor]:
    """The weights of a module inside, by their names there."""
    return {key.removeprefix(f"{name}."): one for key, one in weights.items() if key.startswith(f"{name}.")}


def conv(
    x: Tensor, weight: Tensor, *, groups: int = 1, dilation: int = 1, bias: Tensor | None = None
) -> Tensor:
    """A convolution with zeros around the map that keeps its size, tap by tap.

    Args:
        x: (B, C, H, W).
        weight: (O, C / groups, kh, kw), sides odd.
        groups: groups of channels.
        dilation: pixels between taps.
        bias: (O,).
    """
    batch, channels, height, width = x.shape
    outputs, _, rows, columns = weight.shape
    result = torch.zeros(batch, outputs, height, width, dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            tap = weight[:, :, i, j].reshape(groups, outputs // groups, channels // groups)
            moved = shifted(x, (i - rows // 2) * dilation, (j - columns // 2) * dilation)
            split = moved.reshape(batch, groups, channels // groups, height, width)
            result += torch.einsum("goc,bgchw->bgohw", tap, split).reshape(result.shape)
    return result if bias is None else result + bias.view(-1, 1, 1)


def shifted(x: Tensor, down: int, right: int) -> Tensor:
    """What lies so many rows below and columns to the right of each position; zero beyond the map."""
    height, width = x.shape[-2:]
    result = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            if 0 <= i + down < height and 0 <= j + right < width:
                result[..., i, j] = x[..., i + down, j + right]
    return result


def norm(x: Tensor, own: Weights) -> Tensor:
    """A BatchNorm by its running statistics."""
    scale, shape = own["weight"] / torch.sqrt(own["running_var"] + 1e-5), (1, -1, 1, 1)
    return (x - own["running_mean"].view(shape)) * scale.view(shape) + own["bias"].view(shape)


def conv_norm(x: Tensor, weights: Weights, name: str, *, groups: int = 1, dilation: int = 1) -> Tensor:
    """A convolution without bias that keeps the size of the map, then its norm.

    Args:
        x: (B, C, H, W).
        weights: weights by name; those of this module begin with ``name``.
        name: where it lies; empty where it is the whole.
        groups: groups of channels; 0 for a depthwise one.
        dilation: pixels between taps.
    """
    own = under(weights, name) if name else dict(weights)
    y = conv(x, own["conv.weight"], groups=groups or x.shape[1], dilation=dilation)
    return norm(y, under(own, "norm"))


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def softmax(x: Tensor) -> Tensor:
    """Along the last axis."""
    grown = torch.exp(x - x.max(dim=-1, keepdim=True).values)
    return grown / grown.sum(dim=-1, keepdim=True)
