"""Layers whose ranks come out in the order of their importance while they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.modules.conv import _ConvNd

from compress.plain import faithful_copy
from compress.swaps.factors import product


class OrderedRank(nn.Module):
    """A layer in the place of one with a weight: its weight is ``left @ right``, or the first columns of
    them.

    Args:
        layer: Convolution or linear layer; it begins as its singular value decomposition.
        lasso: Factor of the hierarchical group lasso, the sum over b of the norms of all columns from b on.
    """

    def __init__(self, layer: nn.Module, lasso: float) -> None:
        super().__init__()
        self.layer = layer
        weight = layer.weight
        assert isinstance(weight, nn.Parameter)
        left, values, right = torch.linalg.svd(weight.detach().double().flatten(1), full_matrices=False)
        root = values.sqrt()
        self.left = nn.Parameter((left * root).to(weight.dtype))  # (outputs, rank)
        self.right = nn.Parameter((root[:, None] * right).to(weight.dtype))  # (rank, inputs * kernel)
        self._trainable = weight.requires_grad
        weight.requires_grad_(False)  # the two matrices are what is trained
        self.active: int | None = None
        if lasso:
            self.left.register_hook(lambda gradient: gradient + lasso * lasso_gradient(self.left.detach(), 1))
            self.right.register_hook(
                lambda gradient: gradient + lasso * lasso_gradient(self.right.detach(), 0)
            )

    def forward(self, x: Tensor) -> Tensor:
        """What the layer computes with the active columns."""
        rank = self.left.shape[1] if self.active is None else self.active
        weight = self.left[:, :rank] @ self.right[:rank]
        layer = self.layer
        assert layer.weight is not None
        if isinstance(layer, _ConvNd):
            found: Tensor = layer._conv_forward(x, weight.reshape(layer.weight.shape), layer.bias)
            return found
        return linear(x, weight, layer.bias)  # type: ignore[arg-type]

    def energies(self) -> Tensor:
        """Squared norms of the columns' products, double (ranks,): in the order of the columns."""
        return self.left.detach().double().square().sum(0) * self.right.detach().double().square().sum(1)

    def cut(self, rank: int) -> nn.Sequential:
        """The two layers of the first columns."""
        return product(self.whole(), self.left.detach()[:, :rank], self.right.detach()[:rank])

    def whole(self) -> nn.Module:
        """The layer with the product of all columns for its weight."""
        made = faithful_copy(self.layer)
        weight = made.weight
        assert isinstance(weight, nn.Parameter)
        with torch.no_grad():
            weight.copy_((self.left @ self.right).reshape(weight.shape))
        weight.requires_grad_(self._trainable)
        return made


def lasso_gradient(columns: Tensor, dimension: int) -> Tensor:
    """Gradient of the sum over b of the norm of all columns from b on, of the columns' shape.

    Args:
        columns: Matrix.
        dimension: Dimension along which the columns are counted.
    """
    other = 1 - dimension
    squares = columns.square().sum(other)  # (ranks,)
    tails = squares.flip(0).cumsum(0).flip(0).sqrt().clamp_min(1e-12)  # norm from each column on
    factors = (1 / tails).cumsum(0)  # a column is in the tails that begin at it and before
    return columns * factors.unsqueeze(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """A network whose layers were trained with ranks in order.

    Attributes:
        network: Network with an ``OrderedRank`` in the place of each layer.
        layers: Those by name.
    """

    network: nn.Module
    layers: Mapping[str, OrderedRank]

    def plain(self) -> nn.Module:
        """A copy with ordinary layers in the place of the ordered ones; it computes the same."""
        found = faithful_copy(self.network)
        found._forward_pre_hooks.clear()  # the draw of ranks
        for name, layer in self.layers.items():
            found.set_submodule(name, layer.whole())
        return found


def with_ordered_ranks(network: nn.Module, names: list[str], *, lasso: float) -> Ordered:
    """A copy to be trained so that what matters most stands in the first ranks of each layer.

    "Maestro: Uncovering Low-Rank Structures via Trainable Decomposition" (Horváth et al., ICML 2024): in each
    training step one layer, drawn at random, computes with its first b ranks alone, b drawn too, the others
    with all of theirs; a hierarchical group lasso shrinks the last ranks. There the search for the ranks goes
    on while they are trained; here they are chosen afterwards, by their energy and the time they take.

    Args:
        network: Network; it is left untouched.
        names: Layers, by name.
        lasso: Factor of the lasso.
    """
    copy = faithful_copy(network)
    layers = {}
    for name in names:
        layers[name] = OrderedRank(copy.get_submodule(name), lasso)
        copy.set_submodule(name, layers[name])
    copy.register_forward_pre_hook(_draw)
    return Ordered(network=copy, layers=layers)


def _draw(network: nn.Module, _: Any) -> None:
    """Sets one layer to its first ranks, in training, and all others to all of theirs.

    By PyTorch's own generator, as dropout is drawn: the training loop seeds it in each step, so that a killed
    training goes on with the same draws.
    """
    every = [layer for layer in network.modules() if isinstance(layer, OrderedRank)]
    for layer in every:
        layer.active = None
    if network.training and every:
        chosen = every[int(torch.randint(len(every), ()))]
        chosen.active = 1 + int(torch.randint(chosen.left.shape[1], ()))
