"""A space with fewer values of some choices, and its archs as rows of the whole one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.rules import AnyRule
from search_spaces.space import Arch, Rows, SearchSpace


def narrowed(
    space: SearchSpace, kept: Mapping[str, Collection[Value]], *, reference: Arch | None = None
) -> SearchSpace:
    """The space of the archs whose choices take these values alone; its networks are the same ones.

    A choice whose parent takes none of the values that make it active decides nothing any more; it stays with
    one value, so that archs name the same choices in both spaces.

    Args:
        space: the whole space; a reference that it declares stays where all its values do.
        kept: values that are kept, by choice; other choices keep all of theirs.
        reference: arch that ``largest`` is to stand for.

    Raises:
        ValueError: an unknown choice or value, or a choice left without any.
    """
    for name, values in kept.items():
        if name not in space.column:
            raise ValueError(unknown("choice", name, space.names))
        known = space.choices[space.column[name]].values
        if strange := [value for value in values if value not in known]:
            raise ValueError(f"choice {name!r} takes {known}, not {strange[0]!r}")
        if not values:
            raise ValueError(f"choice {name!r} is left without values")
    choices: dict[str, Choice] = {}
    never: set[str] = set()  # active
    for choice in space.choices:
        wanted = kept.get(choice.name, choice.values)
        values = tuple(value for value in choice.values if value in wanted)
        left = tuple(
            value for value in choice.parent_values if value in choices[choice.parent].values
        )  # parents come first
        if choice.parent and (not left or choice.parent in never):
            never.add(choice.name)
            choices[choice.name] = replace(choice, values=values[:1], parent="", parent_values=())
        else:
            choices[choice.name] = replace(choice, values=values, parent_values=left)
    if reference is None and space.declares_reference:
        declared = space.largest()
        if all(declared[name] in choice.values for name, choice in choices.items()):
            reference = declared
    return SearchSpace(
        space.name,
        choices.values(),
        None if space.slots else space.build,
        slots=space.slots,
        input_shape=space.input_shape,
        probes=() if space.slots else space.probes,
        reference=reference,
        rules=[rule for rule in space.rules if never.isdisjoint(rule.choices)],
    )


def ruled(space: SearchSpace, rules: Iterable[AnyRule]) -> SearchSpace:
    """The space without the archs that break these rules, besides its own; its networks are the same ones.

    A reference that it declares stays where it keeps the rules.

    Raises:
        ValueError: a rule over what the space has not, or rules that leave nothing.
    """
    choices = space.choices
    resolved = [part for rule in (*space.rules, *rules) for part in rule.over(choices)]
    declared = space.largest() if space.declares_reference else None
    kept = declared is not None and all(
        rule.allows(*(declared[name] for name in rule.choices))
        for rule in resolved
        if space.active(space.to_row(declared)[None])[0, [space.column[name] for name in rule.choices]].all()
    )
    return SearchSpace(
        space.name,
        choices,
        None if space.slots else space.build,
        slots=space.slots,
        input_shape=space.input_shape,
        probes=() if space.slots else space.probes,
        reference=declared if kept else None,
        rules=resolved,
    )


def lifting(narrow: SearchSpace, whole: SearchSpace) -> Callable[[Rows], Rows]:
    """What makes canonical rows of a narrowed space, (n, n choices), the whole one's rows of the same archs.

    Raises:
        ValueError: a choice or value that the whole space has not.
    """
    if narrow.names != whole.names:
        raise ValueError(f"space {narrow.name!r} has other choices than {whole.name!r}")
    indices = []
    for one, other in zip(narrow.choices, whole.choices, strict=True):
        if strange := [value for value in one.values if value not in other.values]:
            raise ValueError(f"choice {other.name!r} takes {other.values}, not {strange[0]!r}")
        indices.append(np.array([other.values.index(value) for value in one.values]))

    def lift(rows: Rows) -> Rows:
        columns = [index[column] for index, column in zip(indices, np.asarray(rows).T, strict=True)]
        return whole.canonical(np.stack(columns, axis=1)) if columns else np.asarray(rows)

    return lift
