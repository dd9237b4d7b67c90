"""A half of a MetaFormer block: an operation on a residual path, with its norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from search_spaces.choice import Value
from search_spaces.norms.registry import FOLDED, Norm, normed
from search_spaces.operations.operation import Operation
from search_spaces.residuals.registry import SUM, ResidualForm

OURS = "branch."
"""What the sizes of the branch itself begin with, among those of its operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Joins x and operation(norm(x)). It holds the parts: those that a user registers are in no registry of a
    worker.

    Attributes:
        operation: mixer or channel mixer.
        norm: name of the norm.
        make_norm: makes it; None for the BatchNorms that the operation brings.
        form: how both paths are joined.
    """

    operation: Operation
    norm: str
    make_norm: Norm | None
    form: ResidualForm

    def sizes(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """What identifies the branch among those of its operation; empty for the plain one.

        Args:
            values: those of the residual form's choices.
        """
        found: dict[str, Value] = {} if self.norm == FOLDED else {f"{OURS}norm": self.norm}
        if self.form.name != SUM:
            whole = {**self.form.fixed, **values}
            found |= {f"{OURS}residual": self.form.name}
            found |= {f"{OURS}{name}": value for name, value in whole.items()}
        return found

    @property
    def suffix(self) -> str:
        """What the names of layers end with, so that networks with other norms share no weights: the same
        convolutions mean other things where BatchNorms follow them."""
        return "" if self.norm == FOLDED else f"_{self.norm}"

    def __call__(self, channels: int, activation: str, **values: Value) -> nn.Module:
        """The branch, freshly initialised.

        Args:
            channels: width.
            activation: name of the activation.
            values: choices and settings of the operation, and ``sizes``.
        """
        ours = {name.removeprefix(OURS): value for name, value in values.items() if name.startswith(OURS)}
        theirs = {name: value for name, value in values.items() if not name.startswith(OURS)}
        form = {name: value for name, value in ours.items() if name not in ("norm", "residual")}
        inner = self.operation(channels, activation=activation, **theirs)
        make = self.form.make
        assert make is not None  # every form makes something
        return make(normed(inner, self.make_norm, channels), channels, **form)
