"""What methods have in common."""

from __future__ import annotations

from torch import nn

from nas.distillation.taps import Pair


class Comparing(nn.Module):
    """A method without features, whose ``forward`` gives the loss; those with features set ``pairs``.

    Args:
        weight: Factor of its loss.
    """

    compares_logits = True

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.pairs: tuple[Pair, ...] = ()

    def alone(self, progress: float) -> bool:
        """Never: it counts beside others."""
        del progress
        return False
