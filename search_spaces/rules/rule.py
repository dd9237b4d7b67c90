"""Rules over several choices: combinations of values that a space does not have.

``Forbid`` and ``Ascending`` name choices by patterns and are what recipes give; ``Rule`` is any condition of
one's own. A rule holds wherever one of its choices is inactive.
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.conditions import Parent
from search_spaces.reference.extremes import Term

MOST_COMBINATIONS = 2**16  # that a rule is asked about, one after another

_COMPARED = re.compile(r"(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition over some choices.

    Attributes:
        choices: names of the choices.
        allows: whether a combination of their values, given in this order, is in the space.
        text: text of the rule in messages.
    """

    choices: tuple[str, ...]
    allows: Callable[..., bool]
    text: str

    def over(self, choices: Sequence[Choice]) -> list[Rule]:
        """The rule itself, for a space that has its choices.

        Raises:
            ValueError: one that the space has not, or one named twice.
        """
        names = [choice.name for choice in choices]
        for name in self.choices:
            if name not in names:
                raise ValueError(f"rule {self.text!r}: {unknown('choice', name, names)}")
        if len(set(self.choices)) < len(self.choices) or not self.choices:
            raise ValueError(f"rule {self.text!r} has to be over choices, each named once")
        return [self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbid:
    """A combination that no network has: ``{"stage0.block*.mixer": "attention", "stage0.width": "> 64"}``.

    In a name, ``*`` stands for anything between dots, and ``{n}`` for the same thing in every name.

    Attributes:
        values: what each choice must not have together with the others: a value, several, or a comparison
            (``"> 64"``).
    """

    values: Mapping[str, object]

    def over(self, choices: Sequence[Choice]) -> list[Rule]:
        """A rule for every combination of choices that the names stand for.

        Raises:
            ValueError: a name that stands for no choice, a value that no such choice takes, or names of which
                no choices go together.
        """
        if not self.values:
            raise ValueError("forbid names no choice")
        found = [
            [(choice, bound, _matching(choice, given)) for choice, bound in _named(pattern, choices)]
            for pattern, given in self.values.items()
        ]
        for (pattern, given), matches in zip(self.values.items(), found, strict=True):
            _check_values(pattern, given, [choice for choice, _, _ in matches])
        rules = []
        for combination in itertools.product(*found):
            names = tuple(choice.name for choice, _, _ in combination)
            if _agree([bound for _, bound, _ in combination]) and len(set(names)) == len(names):
                rules.append(
                    Rule(
                        choices=names,
                        allows=_NotAll(tuple(values for _, _, values in combination)),
                        text="forbid "
                        + ", ".join(f"{n} = {v}" for n, v in zip(names, self.values.values(), strict=True)),
                    )
                )
        if not rules:
            raise ValueError(
                f"forbid: no choices go together that {' and '.join(map(repr, self.values))} stand for: each "
                f"has to be another one, and {{n}} the same in all"
            )
        return rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Ascending:
    """Values that never fall from a choice to the next: ``("stage*.width",)``.

    Attributes:
        choices: names as in ``Forbid``, each standing for its choices in the space's order.
    """

    choices: tuple[str, ...]

    def over(self, choices: Sequence[Choice]) -> list[Rule]:
        """A rule for each pair of neighbours, or of any two where some may be inactive.

        Raises:
            ValueError: a name that stands for no choice, fewer than two choices, or values that are no
                numbers.
        """
        chain = [choice for pattern in self.choices for choice, _ in _named(pattern, choices)]
        if len({choice.name for choice in chain}) < max(len(chain), 2):
            raise ValueError(f"ascending needs two choices or more, each once: {', '.join(self.choices)}")
        for choice in chain:
            if any(isinstance(value, str) for value in choice.values):
                raise ValueError(f"ascending: choice {choice.name!r} takes {choice.values}, no numbers")
        always = all(not choice.parent for choice in chain)
        pairs = itertools.pairwise(chain) if always else itertools.combinations(chain, 2)
        return [
            Rule(choices=(one.name, two.name), allows=operator.le, text=f"{one.name} <= {two.name}")
            for one, two in pairs
        ]


AnyRule = Rule | Forbid | Ascending


@dataclass(frozen=True, slots=True)
class _NotAll:
    """Whether values are not all among the given ones; a class, so that spaces can be sent elsewhere."""

    values: tuple[frozenset[Value], ...]

    def __call__(self, *given: Value) -> bool:
        return not all(one in values for one, values in zip(given, self.values, strict=True))


def rule_of(given: Mapping[str, Any]) -> AnyRule:
    """The rule that a recipe gives: ``{forbid = {...}}`` or ``{ascending = [...]}``.

    Raises:
        ValueError: anything else.
    """
    kinds = ("forbid", "ascending")
    for key in given:
        if key not in kinds:
            raise ValueError(unknown("rule", key, kinds))
    match dict(given):
        case {"forbid": dict(values), **rest} if values and not rest:
            return Forbid(values=values)
        case {"ascending": list(names) | tuple(names), **rest} if names and not rest:
            return Ascending(choices=tuple(map(str, names)))
    raise ValueError(
        'a rule is { forbid = { "choice" = "value", ... } } or { ascending = ["choice", ...] }, '
        f"not {dict(given)}"
    )


def term_of(rule: Rule, choices: Sequence[Choice], parents: Sequence[Parent]) -> Term:
    """The combinations that a rule allows, over its choices and those that decide whether they are active.

    Raises:
        ValueError: more than ``MOST_COMBINATIONS``, or a rule that fails.
    """
    place = {choice.name: at for at, choice in enumerate(choices)}
    own = [place[name] for name in rule.choices]
    columns = list(own)
    for column in own:
        while (parent := parents[column]) is not None:
            column = parent[0]
            if column not in columns:
                columns.append(column)
    shape = [len(choices[column].values) for column in columns]
    if math.prod(shape) > MOST_COMBINATIONS:
        raise ValueError(
            f"rule {rule.text!r} is over {math.prod(shape)} combinations, and at most {MOST_COMBINATIONS} "
            f"can be told apart: split it into rules over fewer choices"
        )
    indices = dict(zip(columns, np.indices(shape), strict=True))
    active = np.ones(shape, dtype=bool)
    for column in columns:
        parent = parents[column]
        if parent is not None:
            active &= parent[1][indices[parent[0]]]
    try:
        answers = [
            bool(rule.allows(*values))
            for values in itertools.product(*(choices[column].values for column in own))
        ]
    except Exception as error:  # whatever a user's condition raises
        raise ValueError(f"rule {rule.text!r} fails: {type(error).__name__}: {error}") from error
    table = np.array(answers).reshape([len(choices[column].values) for column in own])
    table = table.reshape(table.shape + (1,) * (len(columns) - len(own)))
    return Term(columns=tuple(columns), values=table | ~active)


# -- names and values -----------------------------------------------------------------------------


def _named(pattern: str, choices: Sequence[Choice]) -> list[tuple[Choice, dict[str, str]]]:
    """The choices that a pattern stands for, and what the named parts of it stand for."""
    parts = re.split(r"(\*|\{\w+\})", pattern)
    seen: set[str] = set()
    regex = ""
    for part in parts:
        name = part[1:-1]
        if part == "*":
            regex += r"[^.]*"
        elif re.fullmatch(r"\{\w+\}", part):
            regex += f"(?P={name})" if name in seen else f"(?P<{name}>[^.]*)"
            seen.add(name)
        else:
            regex += re.escape(part)
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no name of choices ({error}); a part is {{n}}") from None
    found = [(choice, match.groupdict()) for choice in choices if (match := compiled.fullmatch(choice.name))]
    if not found:
        raise ValueError(f"rules: {unknown('choice', pattern, [choice.name for choice in choices])}")
    return found


def _agree(bound: Sequence[Mapping[str, str]]) -> bool:
    together: dict[str, str] = {}
    return all(together.setdefault(name, text) == text for one in bound for name, text in one.items())


def _matching(choice: Choice, given: object) -> frozenset[Value]:
    """The values of a choice that are meant."""
    if isinstance(given, str) and (compared := _COMPARED.fullmatch(given.strip())):
        compare, bound = _COMPARISONS[compared[1]], float(compared[2])
        return frozenset(
            value for value in choice.values if not isinstance(value, str) and compare(value, bound)
        )
    wanted = given if isinstance(given, list | tuple) else [given]
    return frozenset(value for value in choice.values if value in wanted)


def _check_values(pattern: str, given: object, choices: Sequence[Choice]) -> None:
    known = list(dict.fromkeys(value for choice in choices for value in choice.values))
    if isinstance(given, str) and _COMPARED.fullmatch(given.strip()):
        if all(isinstance(value, str) for value in known):
            raise ValueError(f"forbid: choice {pattern!r} takes {known}, which {given!r} cannot compare")
        return
    for value in given if isinstance(given, list | tuple) else [given]:
        if value not in known:
            raise ValueError(f"forbid: {unknown(f'value of {pattern!r}', value, known)}")


def texts(rules: Sequence[Rule]) -> Iterator[str]:
    """The texts of rules, each once."""
    yield from dict.fromkeys(rule.text for rule in rules)
