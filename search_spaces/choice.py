"""A choice: one named decision with a finite list of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from results.names import unknown

Value = int | float | str | bool

Role = Literal["size", "kernel", "depth", "category"]
"""What a choice decides: a size (width, ratio, number of heads), the reach of an operation (kernel, stripe),
how many parts there are, or which of several things with no order among them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One named decision.

    Attributes:
        name: unique in its space, dotted by place (``stage1.block0.kernel``).
        values: the options. Those of sizes, kernels and depths ascend, and are the more expensive the larger;
            the order of a category's means nothing.
        parent: the choice that decides whether this one is active; empty when it always is.
        parent_values: this choice is active when its parent is active and takes one of these.
        role: what it decides; a category where a value is a string, else a size, unless said otherwise.

    Raises:
        ValueError: no values, repeated values, a parent without values, an unknown role, or strings, or
            values that do not ascend, in another role than that of a category.
    """

    name: str
    values: tuple[Value, ...]
    parent: str = ""
    parent_values: tuple[Value, ...] = ()
    role: Role | Literal[""] = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "parent_values", tuple(self.parent_values))
        if not self.name:
            raise ValueError("a choice needs a name")
        if not self.values:
            raise ValueError(f"choice {self.name!r} has no values; give at least one")
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"choice {self.name!r} repeats a value: {self.values}")
        if bool(self.parent) != bool(self.parent_values):
            raise ValueError(f"choice {self.name!r}: parent and parent_values go together")
        strings = any(isinstance(value, str) for value in self.values)
        if not self.role:
            object.__setattr__(self, "role", "category" if strings else "size")
        if self.role not in get_args(Role):
            raise ValueError(f"choice {self.name!r}: {unknown('role', self.role, get_args(Role))}")
        if strings and not self.categorical:
            raise ValueError(
                f"choice {self.name!r} has the values {self.values} and the role {self.role!r}: strings have "
                f"no order, so the role can only be 'category'"
            )
        if not self.categorical and list(self.values) != sorted(self.values):
            raise ValueError(
                f"choice {self.name!r} has the values {self.values} and the role {self.role!r}: they have to "
                f"ascend; where their order means nothing, say role='category'"
            )

    @property
    def categorical(self) -> bool:
        """Whether the order of the values means nothing."""
        return self.role == "category"
