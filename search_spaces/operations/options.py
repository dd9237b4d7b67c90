"""The options of a space's operations, held against what the operations read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from results.names import unknown
from results.registry import Registered
from search_spaces.operations.operation import Operation, Options


def problems_of_options(
    kind: str, options: Options, names: Iterable[str], find: Callable[[str], Operation | None]
) -> list[str]:
    """Everything that is wrong with the options of a space's operations; lines begin with name and key.

    Args:
        kind: what they are (``mixer``), for messages.
        options: options by operation and key.
        names: names of the operations that the space has.
        find: gives the operation of a name; None where there is none.
    """
    present = dict.fromkeys(names)
    found = []
    for name, given in options.items():
        known = find(name)
        if name not in present:
            elsewhere = f" {kind.capitalize()} {name!r} exists, but this space does not have it."
            found.append(f"{name}: {unknown(kind, name, present)}" + (elsewhere if known else ""))
        elif not isinstance(given, Mapping):
            found.append(f"{name} = {given!r}: give its options by name, such as {name}.KEY = VALUE")
        elif known:  # an unknown one is the problem of whoever lists it
            entry = Registered(name=name, part=known)
            found += [f"{name}.{problem}" for problem in entry.problems(given)]
    return found


def refuse(kind: str, problems: Sequence[str]) -> None:
    """Raises a ``ValueError`` that says all of them, if there are any."""
    if problems:
        raise ValueError(f"{kind} options: " + "; ".join(problems))
