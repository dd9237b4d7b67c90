"""What a latency limit leaves of a space of layers: values that some arch under it can have."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.costs.layers.sums import Floats
from nas.costs.model.latency import LatencyModel
from search_spaces.choice import Value
from search_spaces.reference.extremes import Term, argmin
from search_spaces.space import Rows, SearchSpace

_ENDLESS_MS = 1e12  # of a layer that cannot run, for the solver: what is not allowed is worse still


def reachable(
    space: SearchSpace, models: Sequence[LatencyModel], limit_ms: float
) -> dict[str, tuple[Value, ...]]:
    """The values that archs under a limit can have, of the choices that lose some.

    A value is left out where even the fastest arch with it, in every form, is over the limit by the lower end
    of its interval. The fastest is found exactly, for a sum over layers that is never more than the model's
    prediction (what a layer takes more or less after one of another kind counts only where it is less).

    Args:
        space: space of slots that the models are of.
        models: latency model of each form that a network can be handed over in.
        limit_ms: the limit.

    Returns:
        The values that are kept by choice; nothing at all where every value of some choice is over the limit.

    Raises:
        ValueError: no arch is under the limit; says what the fastest takes.
    """
    found = [_seen(space, model, limit_ms) for model in models]
    fastest = min(least for least, _ in found)
    if fastest > limit_ms:
        raise ValueError(
            f"no network of space {space.name!r} takes {limit_ms:.4g} ms or less: the fastest takes "
            f"{fastest:.4g} ms. Raise the limit, or add smaller sizes to the space"
        )
    seen = np.logical_or.reduce([one for _, one in found])
    for column, value in zip(*np.nonzero(~seen), strict=True):
        if value < space.n_values[column]:
            seen[column, value] = any(
                fastest_of(space, model, _only(space, int(column), int(value)))[0] <= limit_ms
                for model in models
            )
    return {
        choice.name: tuple(value for value, one in zip(choice.values, seen[column], strict=False) if one)
        for column, choice in enumerate(space.choices)
        if not seen[column, : len(choice.values)].all() and seen[column].any()
    }


def _seen(space: SearchSpace, model: LatencyModel, limit_ms: float) -> tuple[float, NDArray[np.bool_]]:
    """Least latency of all, and the values that the fastest arch or one a value from it has under the limit.

    What is found here need not be looked for: most values are.
    """
    least, row = fastest_of(space, model, [])
    seen = np.zeros((len(space.choices), int(space.n_values.max())), dtype=bool)
    if row is None:
        seen[:] = True
        return 0.0, seen
    terms, offset_ms = latency_terms(space, model)
    near = np.vstack([row[None], space.neighbours(row)])
    for one in near[_total(terms, offset_ms, near) <= limit_ms]:
        active = space.active(one[None])[0]
        seen[np.flatnonzero(active), one[active]] = True
    return least, seen


def fastest_of(space: SearchSpace, model: LatencyModel, only: Sequence[Term]) -> tuple[float, Rows | None]:
    """The least latency there can be, and the arch that it is of; 0 and None where that is hard to say."""
    terms, offset_ms = latency_terms(space, model)
    solvable = [Term(columns=one.columns, values=np.minimum(one.values, _ENDLESS_MS)) for one in terms]
    row = argmin(space.n_values, solvable, [*space.possible_terms, *only])
    return (0.0, None) if row is None else (float(_total(terms, offset_ms, row[None])[0]), row)


def latency_terms(space: SearchSpace, model: LatencyModel) -> tuple[list[Term], float]:
    """Terms and an offset whose sum is at most the lower end of the interval of a prediction, in ms."""
    correction, layers = model.correction, model.layers
    kinds, moved = layers.kinds, layers.activation_bytes
    per_layer = correction.layers_ms(model.layer_ms, kinds, moved)
    if correction.after:
        per_layer = per_layer + np.minimum(correction.after_ms(kinds, moved), 0.0)
    per_layer = per_layer + min(correction.ms_per_spilled_byte, 0.0) * layers.weight_bytes
    share = model.lower_share
    terms = space.terms(share * per_layer)
    return terms, share * correction.offset_ms


def _total(terms: Sequence[Term], offset_ms: float, rows: Rows) -> Floats:
    parts = [one.values[tuple(rows[:, column] for column in one.columns)] for one in terms]
    return np.asarray(np.sum(parts, axis=0) + offset_ms)


def _only(space: SearchSpace, column: int, value: int) -> list[Term]:
    """A term that allows a choice this value alone, and only where it is active."""
    columns, own, active = _activity(space, column)
    return [Term(columns=columns, values=(own == value) & active)]


def among(space: SearchSpace, name: str, values: Collection[Value]) -> Term:
    """A term that allows a choice these values where it is active."""
    column = space.column[name]
    columns, own, active = _activity(space, column)
    good = np.array([value in values for value in space.choices[column].values])
    return Term(columns=columns, values=good[own] | ~active)


def _activity(space: SearchSpace, column: int) -> tuple[tuple[int, ...], Rows, NDArray[np.bool_]]:
    """A choice and those it depends on; for each combination of theirs its value and whether it is active."""
    columns, choice = [column], space.choices[column]
    while choice.parent:
        columns.append(space.column[choice.parent])
        choice = space.choices[columns[-1]]
    indices = np.indices([int(space.n_values[one]) for one in columns])
    active = np.ones(indices.shape[1:], dtype=bool)
    for child, parent, at in zip(columns, columns[1:], indices[1:], strict=False):
        allowed = [value in space.choices[child].parent_values for value in space.choices[parent].values]
        active &= np.array(allowed)[at]
    return tuple(columns), indices[0], active
