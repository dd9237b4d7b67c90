"""ReZero: a residual path scaled by a learned number that is zero at first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.residuals.registry import ResidualForm, register_residual


class ReZero(nn.Module):
    """x + alpha * inner(x), alpha one learned number.

    "ReZero is All You Need: Fast Convergence at Large Depth" (Bachlechner et al., UAI 2021), equation 1. The
    norms inside stay; the paper leaves them out. Alpha stands after the inner module, so its size also says
    how much the network makes of it.

    Args:
        inner: keeps the shape.
        channels: width.
    """

    def __init__(self, inner: nn.Module, channels: int) -> None:  # noqa: ARG002  the same at any width
        super().__init__()
        self.inner = inner
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.alpha * self.inner(x)


register_residual(ResidualForm(name="rezero", make=ReZero))
