"""Layers that become two, whose weights' product is the nearest of a rank; and blocks that are left out."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from compress.swaps.swap import SWAPS

LEFT_OUT, TWO_LAYERS = "left_out", "two_layers"


@SWAPS.register(LEFT_OUT)
def left_out(_: nn.Module) -> nn.Module:
    """Nothing in the place of a block: what goes in comes out."""
    return nn.Identity()


@SWAPS.register(TWO_LAYERS)
def two_layers(old: nn.Module, *, rank: Annotated[int, Field(ge=1)]) -> nn.Module | None:
    """A layer to ``rank`` channels and another from there, in the place of a convolution or linear layer.

    Args:
        old: Layer.
        rank: Channels between the two.
    """
    if not factorable(old) or rank > min(_matrix(old).shape):
        return None
    return factored(old, rank)


def factorable(layer: nn.Module) -> bool:
    """Whether a layer's weight can become a product of two."""
    if isinstance(layer, nn.Linear):
        return True
    return (
        isinstance(layer, _ConvNd)
        and not isinstance(layer, _ConvTransposeNd)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
    )


def singular_values(layer: nn.Module) -> Tensor:
    """Singular values of a layer's weight as a matrix (outputs, inputs * kernel), double, descending."""
    return torch.linalg.svdvals(_matrix(layer))


def _matrix(layer: nn.Module) -> Tensor:
    """The weight as a matrix (outputs, inputs * kernel), double."""
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    return weight.detach().double().flatten(1)


def factored(layer: nn.Module, rank: int) -> nn.Sequential:
    """Two layers whose product is the nearest of that rank to the layer's weight.

    The first has the layer's kernel, stride and padding and no bias; the second is 1x1 and has the bias. Each
    has the square root of the singular values.

    Raises:
        ValueError: the layer has no such form, or the rank is none of its ranks.
    """
    if not factorable(layer):
        raise ValueError(f"a {type(layer).__name__} cannot be written as two layers")
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    matrix = _matrix(layer)
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError(f"a weight of {tuple(matrix.shape)} has ranks 1 to {min(matrix.shape)}, not {rank}")
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    root = values[:rank].sqrt()
    return product(
        layer, (left[:, :rank] * root).to(weight.dtype), (root[:, None] * right[:rank]).to(weight.dtype)
    )


def product(layer: nn.Module, left: Tensor, right: Tensor) -> nn.Sequential:
    """The two layers of a product of matrices in the place of a layer's weight.

    Args:
        layer: Layer with its weight's form, its bias and its settings.
        left: Matrix (outputs, rank).
        right: Matrix (rank, inputs * kernel).
    """
    rank, weight, bias = left.shape[1], layer.weight, layer.bias
    assert isinstance(weight, nn.Parameter)
    first: nn.Linear | _ConvNd
    second: nn.Linear | _ConvNd
    if isinstance(layer, nn.Linear):
        first = nn.Linear(layer.in_features, rank, bias=False)
        second = nn.Linear(rank, layer.out_features, bias=bias is not None)
    else:
        assert isinstance(layer, _ConvNd)
        kind: type[_ConvNd] = next(one for one in type(layer).__mro__ if one.__module__ == _ConvNd.__module__)
        first = kind(  # type: ignore[call-arg]
            layer.in_channels,
            rank,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            bias=False,
        )
        second = kind(rank, layer.out_channels, 1, bias=bias is not None)  # type: ignore[call-arg, arg-type]
    both = nn.Sequential(first, second).to(weight.device, weight.dtype)
    state = {"0.weight": right.reshape(first.weight.shape), "1.weight": left.reshape(second.weight.shape)}
    if isinstance(bias, nn.Parameter):
        state["1.bias"] = bias.detach()
    both.load_state_dict(state)
    for parameter in both.parameters():
        parameter.requires_grad_(weight.requires_grad)
    return both.train(layer.training)
