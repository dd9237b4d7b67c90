"""Weights in pieces: what has several parts side by side in one tensor, each of which is cut on its own.

A narrower network is a slice of a wider one, the leading entries of each dimension. Where one tensor holds
queries, keys and values, or what several layers contributed to a concatenation, the leading entries of each
part are kept. So the parts become parameters of their own, and the tensor is computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize


class Pieces(nn.Module):
    """A tensor from its pieces, a parametrization of ``torch.nn.utils.parametrize``.

    Args:
        cuts: ends of the pieces, from 0 on, of each dimension that is in pieces.
    """

    def __init__(self, cuts: Mapping[int, Sequence[int]]) -> None:
        super().__init__()
        self.cuts = {dim: tuple(ends) for dim, ends in cuts.items()}

    def forward(self, *pieces: Tensor) -> Tensor:
        """The whole tensor of its pieces, the later dimension's next to each other."""
        joined = list(pieces)
        for dim, ends in reversed(self.cuts.items()):
            n = len(ends) - 1
            joined = [torch.cat(joined[at : at + n], dim) for at in range(0, len(joined), n)]
        return joined[0]

    def right_inverse(self, whole: Tensor) -> tuple[Tensor, ...]:
        """The pieces of the whole tensor."""
        pieces = [whole]
        for dim, ends in self.cuts.items():
            sizes = [end - start for start, end in pairwise(ends)]
            pieces = [one.contiguous() for piece in pieces for one in piece.split(sizes, dim)]
        return tuple(pieces)


def join(module: nn.Module, name: str, cuts: Mapping[int, Sequence[int]]) -> None:
    """Takes a parameter of a module apart, in place; the module is used as before."""
    trainable = getattr(module, name).requires_grad
    parametrize.register_parametrization(module, name, Pieces(cuts), unsafe=True)
    pieces: Any = module.parametrizations[name]  # type: ignore[index]
    for piece in pieces.parameters():
        piece.requires_grad_(trainable)
    if isinstance(module, _ConvNd) and name == "weight":  # kernels are cropped around their centre
        dims = tuple(range(2, 2 + len(module.kernel_size)))
        pieces.centre_dims = {piece: dims for piece, _ in pieces.named_parameters()}
