"""What methods have in common."""

from __future__ import annotations

from torch import Tensor, nn

from nas.distillation.method import Heard
from nas.distillation.taps import Pair


class Comparing(nn.Module):
    """A method without features; those with them set ``pairs``.

    Args:
        weight: Factor of its loss.
    """

    compares_logits = True

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.pairs: tuple[Pair, ...] = ()

    def forward(self, heard: Heard) -> Tensor:
        """The loss, a scalar."""
        raise NotImplementedError

    def alone(self, progress: float) -> bool:
        """Never: it counts beside others."""
        del progress
        return False
