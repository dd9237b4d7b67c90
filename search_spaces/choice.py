"""A choice: one named decision with a finite list of values."""

from __future__ import annotations

from dataclasses import dataclass

Value = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One named decision.

    Attributes:
        name: unique in its space, dotted by place (``stage1.block0.kernel``).
        values: the options. Numbers run from cheap to expensive: index 0 is the smallest network's,
            the last index the largest's. Strings are categories; their order only says which the
            smallest and the largest network take.
        parent: the choice that decides whether this one is active; empty when it always is.
        parent_values: this choice is active when its parent is active and takes one of these.

    Raises:
        ValueError: no values, repeated values, or a parent without values.
    """

    name: str
    values: tuple[Value, ...]
    parent: str = ""
    parent_values: tuple[Value, ...] = ()

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

    @property
    def categorical(self) -> bool:
        """Whether the values are categories (strings) and not sizes (numbers)."""
        return any(isinstance(value, str) for value in self.values)
