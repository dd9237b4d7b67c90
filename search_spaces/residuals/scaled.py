"""A residual path scaled by a fixed number."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.residuals.registry import ResidualForm, register_residual


class Scaled(nn.Module):
    """x + scale * inner(x).

    "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning" (Szegedy et al., AAAI
    2017), section 3.3, which finds 0.1 to 0.3 to keep wide networks stable.

    Args:
        inner: keeps the shape.
        channels: width.
        scale: factor on what the inner module makes.
    """

    def __init__(
        self,
        inner: nn.Module,
        channels: int,  # noqa: ARG002  the same at any width
        *,
        scale: Annotated[float, Field(gt=0)],
    ) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.inner(x)


register_residual(ResidualForm(name="scaled", make=Scaled, choices=(Choice("scale", (0.1, 0.2, 0.3)),)))
