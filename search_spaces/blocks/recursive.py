"""A block that is run several times, on the same weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.blocks.registry import Block
from search_spaces.choice import Value

TIMES = "stage.recursion"
"""The key of the number of runs among a layer's sizes; no setting of a block can be called that."""


class Recursive(nn.Module):
    """inner(inner(... x)), (B, C, H, W) -> (B, C, H, W).

    "Sliced Recursive Transformer" (Shen et al., ECCV 2022), section 3.1, without the small layer of its own
    that it puts between two runs, and without its slicing of attention. Norms too are the same in every run,
    so that a file holds each weight once; their statistics are averages over the runs.

    Args:
        inner: keeps the shape.
        times: how often it runs.
    """

    def __init__(self, inner: nn.Module, times: int) -> None:
        super().__init__()
        self.inner, self.times = inner, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.inner(x)
        return x


@dataclass(frozen=True, slots=True)
class Repeated:
    """Makes a recursive block. It holds the block itself: one that a user registers is in no registry of a
    worker."""

    block: Block

    def __call__(self, activation: str, **values: Value) -> nn.Module:
        """The block in a ``Recursive``, freshly initialised.

        Args:
            activation: name of the activation.
            values: what the block is given, and ``TIMES``.
        """
        times = int(values.pop(TIMES))
        return Recursive(self.block(activation=activation, **values), times)
