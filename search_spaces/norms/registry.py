"""The norms known by name, and how a part of a network comes by one.

``batch`` is what every part has of itself: a BatchNorm after each convolution, into which it folds. Any other
stands once before the part, where the Transformers and ConvNeXt have theirs, and the convolutions of the part
then have a bias in place of their BatchNorms.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from results.names import unknown
from results.registry import Registry
from search_spaces.parts import ConvNorm

Norm = Callable[[int], nn.Module]
"""Makes what turns (B, C, H, W) into (B, C, H, W), given C."""

NORMS: Registry[Norm] = Registry("norm")
"""Norms that stand before a part. Weights belong to channels by their index, as everywhere (the prefix rule);
a norm may look at all channels there are if it is, or holds, one of torch's norms that do, which the check of
the rule knows."""

FOLDED = "batch"
"""BatchNorms inside the part, after its convolutions."""


def norm_names() -> tuple[str, ...]:
    """The names of all norms."""
    return (FOLDED, *NORMS)


def norm(name: str) -> Norm | None:
    """The norm of that name; None for the one that the parts bring.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if name not in norm_names():
        raise ValueError(unknown(NORMS.kind, name, norm_names()))
    return None if name == FOLDED else NORMS[name].part


def normed(part: nn.Module, make: Norm | None, channels: int) -> nn.Module:
    """The part with a norm before it and biases for its own; as it is where the norm is None.

    Args:
        part: takes (B, channels, H, W); changed in place. BatchNorms in it that are in no ``ConvNorm`` stay.
        make: makes the norm.
        channels: width of the part.
    """
    if make is None:
        return part
    for module in part.modules():
        if isinstance(module, ConvNorm):
            _with_bias(module)
    return nn.Sequential(OrderedDict(norm=make(channels), part=part))


def _with_bias(module: ConvNorm) -> None:
    module.conv.bias = nn.Parameter(torch.zeros(module.conv.out_channels))
    module.add_module("norm", nn.Identity())
