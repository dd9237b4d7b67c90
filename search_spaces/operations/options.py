"""The options of a space's operations, held against what the operations read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from results.names import unknown
from results.registry import Registered, Registry
from search_spaces.operations.operation import Operation, Options

Kind = TypeVar("Kind", bound=Operation)


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


def chosen(registry: Registry[Kind], names: Sequence[str], options: Options) -> tuple[Kind, ...]:
    """The operations of these names with their options.

    Args:
        registry: all of their kind.
        names: those wanted.
        options: options by operation and key, perhaps of others too.

    Raises:
        ValueError: a name that the registry has not, none or one twice, or everything that is wrong with the
            options.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a stage needs one {registry.kind} or more, none twice, got {tuple(names)}")
    found = [registry[name] for name in names]
    own = {name: options[name] for name in names if name in options}
    refuse(registry.kind, problems_of_options(registry.kind, own, names, lambda name: registry[name].part))
    return tuple(entry.part.configured(own.get(entry.name, {})) for entry in found)
