"""The diagnosis of limits that no arch meets: the closest arch, what binds it, a limit that would be met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nas.search.objectives import UPPER, Limit
from nas.search.problem import Problem
from search_spaces.space import Rows

ROUNDS = 200


def closest(problem: Problem, rng: np.random.Generator) -> Rows:
    """The row nearest to meeting the cheap limits, (n choices,).

    It is found by descent from the smallest arch and from samples; exact where the space can be listed.
    """
    space = problem.space
    if space.size <= 50_000:
        rows = space.enumerate(50_000)
        return rows[_violation(problem, rows).argmin()]
    smallest = space.ends[:1]
    starts = np.vstack([smallest, space.sample(500, rng)])
    order = np.argsort(_violation(problem, starts), kind="stable")[:4]
    ends = np.vstack([_descend(problem, starts[i]) for i in sorted({0, *order.tolist()})])
    return ends[_violation(problem, ends).argmin()]


def _descend(problem: Problem, row: Rows) -> Rows:
    worst = _violation(problem, row[None])[0]
    for _ in range(ROUNDS):
        if worst == 0:
            break
        steps = problem.space.neighbours(row)
        if not len(steps):
            break
        violation = _violation(problem, steps)
        if violation.min() >= worst:
            break
        row, worst = steps[violation.argmin()], violation.min()
    return row


def _violation(problem: Problem, rows: Rows) -> Rows:
    return np.where(problem.space.valid(rows), problem.violation(rows), np.inf)


def diagnose(problem: Problem, row: Rows) -> str:
    """The message for limits that nothing meets.

    Args:
        problem: problem with the limits.
        row: closest arch, as ``closest`` found it, (n choices,).
    """
    space = problem.space
    costs = {name: values[0] for name, values in problem.costs(row[None]).items()}
    broken = [limit for limit in problem.cheap_limits if limit.excess(np.array([costs[limit.name]]))[0] != 0]
    asked = ", ".join(map(_described, problem.cheap_limits))
    reached = ", ".join(f"{_given_name(limit)} {costs[limit.name]:.6g}" for limit in broken)
    lines = [f"no arch of {space.name!r} meets {asked}; the cheapest reachable network found has {reached}"]
    if any(not np.isfinite(costs[limit.name]) for limit in broken):
        lines.append(
            f"{_given_name(broken[0])} is not known for any arch that was tried: is the cost table complete?"
        )
        return ". ".join(lines)
    bounds = _bounds(problem, row)
    if bounds:
        lines.append(f"It is bound by {', '.join(bounds)}: the other values there cost more")
    met = ", ".join(
        f"{_given_name(limit)} {_round_up(costs[limit.name], up=not limit.at_least):g}" for limit in broken
    )
    lines.append(f"A limit of {met} would be met")
    return ". ".join(lines) + "."


def _given_name(limit: Limit) -> str:
    """The name that the limit was given under."""
    return limit.name.removesuffix(UPPER)


def _described(limit: Limit) -> str:
    upper = " with the upper end of its interval" if limit.name != _given_name(limit) else ""
    return f"{replace(limit, name=_given_name(limit))}{upper}"


def _bounds(problem: Problem, row: Rows, most: int = 3) -> list[str]:
    """The choices that bind an arch most: those whose other values raise the violation most."""
    space = problem.space
    steps = space.neighbours(row)
    if not len(steps):
        return []
    rise = problem.violation(steps) - problem.violation(row[None])[0]
    weight: dict[int, float] = {}
    for step, worse in zip(steps, rise, strict=True):
        changed = int(np.flatnonzero(step != row)[0])  # a parent comes before the children it changes
        if np.isfinite(worse) and worse > 0:
            weight[changed] = min(weight.get(changed, np.inf), float(worse))
    heaviest = sorted(weight, key=lambda column: (-weight[column], column))[:most]
    return [f"{space.names[column]}={space.choices[column].values[row[column]]}" for column in heaviest]


def _round_up(value: float, *, up: bool) -> float:
    """Three digits that the value meets: a limit to ask for."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 2)
    return float((np.ceil(value / unit) if up else np.floor(value / unit)) * unit)
