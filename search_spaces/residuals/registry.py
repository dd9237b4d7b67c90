"""The residual forms known by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from results.registry import Registry
from search_spaces.operations.operation import Operation
from search_spaces.parts import Residual


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualForm(Operation):
    """A way to join: its ``make`` is given ``inner`` and ``channels`` and makes what holds both paths.

    The inner module is called ``inner`` there, so that all forms of a place share its weights.
    """

    KIND: ClassVar[str] = "residual form"
    GIVEN: ClassVar[tuple[str, ...]] = ("inner", "channels")


RESIDUALS: Registry[ResidualForm] = Registry("residual form")


def register_residual(entry: ResidualForm) -> None:
    """Adds a form, which has to obey the prefix rule: what channel j does never depends on the active width.

    Raises:
        ValueError: the name is taken.
    """
    RESIDUALS.add(entry.name, entry)


def _sum(inner: nn.Module, channels: int) -> nn.Module:  # noqa: ARG001  the same at any width
    """x + inner(x)."""
    return Residual(inner)


SUM = "sum"
register_residual(ResidualForm(name=SUM, make=_sum))
