"""A choice among parts of one kind, with what each of them has to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces.choice import Choice, Value
from search_spaces.operations.operation import Operation
from search_spaces.space import Arch


@dataclass(frozen=True, slots=True)
class Pick:
    """A choice among parts, or the one part there is.

    Attributes:
        prefix: what the names of its choices begin with.
        what: name of the choice among the parts.
        parts: the parts by name.
    """

    prefix: str
    what: str
    parts: Mapping[str, Operation]

    @property
    def which(self) -> tuple[str, ...]:
        """Name of the choice among them; none where there is one alone."""
        return (f"{self.prefix}.{self.what}",) if len(self.parts) > 1 else ()

    @property
    def choices(self) -> tuple[str, ...]:
        """Names of the choices that it depends on."""
        own = (f"{self.prefix}.{one.name}.{c.name}" for one in self.parts.values() for c in one.choices)
        return (*self.which, *own)

    def name(self, arch: Arch) -> str:
        """Name of the one that an arch has."""
        return str(arch[self.which[0]]) if self.which else next(iter(self.parts))

    def own(self, arch: Arch) -> dict[str, Value]:
        """Values of the choices of the one that an arch has."""
        one = self.parts[self.name(arch)]
        return {own.name: arch[f"{self.prefix}.{one.name}.{own.name}"] for own in one.choices}


def part_choices(
    prefix: str, what: str, found: Sequence[Operation], parent: str, parent_values: tuple[Value, ...]
) -> list[Choice]:
    """The choice among parts, where there are several, and what each of them has to choose."""
    which, choices = f"{prefix}.{what}", []
    if len(found) > 1:
        choices.append(Choice(which, tuple(one.name for one in found), parent, parent_values, "category"))
    for one in found:
        above = (which, (one.name,)) if len(found) > 1 else (parent, parent_values)
        choices += [
            Choice(f"{prefix}.{one.name}.{own.name}", own.values, *above, own.role) for own in one.choices
        ]
    return choices
