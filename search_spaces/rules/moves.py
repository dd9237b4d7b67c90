"""Other archs from given ones: mutation, neighbours and all there are, as operations on matrices of rows.

What a space knows of its rows comes as arguments: ``active`` says which choices matter, ``canonical`` puts
the others at their default, ``allowed`` says which rows keep its rules.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
_TRIES = 8


def mutated(
    rows: Rows,
    rng: np.random.Generator,
    rate: float,
    n_values: Rows,
    active: Callable[[Rows], Mask],
    canonical: Callable[[Rows], Rows],
) -> Rows:
    """Each active choice moved to another of its values with probability ``rate``, at least one per row."""
    movable = active(rows) & (n_values > 1)
    flip = movable & (rng.random(rows.shape) < rate)
    # One movable choice is forced where chance chose none: a mutation that changes nothing is wasted.
    draw = np.where(movable, rng.random(rows.shape), -1.0)
    forced = np.zeros_like(flip)
    forced[np.arange(len(rows)), draw.argmax(axis=1)] = True
    flip |= forced & movable & ~flip.any(axis=1, keepdims=True)
    shift = rng.integers(1, np.maximum(n_values, 2), size=rows.shape)
    return canonical(np.where(flip, (rows + shift) % n_values, rows))


def retried(first: Rows, again: Callable[[Mask], Rows], allowed: Callable[[Rows], Mask]) -> tuple[Rows, Mask]:
    """Rows of which those that break a rule are made again a few times, and which of them still do, (n,).

    Args:
        first: rows as they were made.
        again: makes those rows anew that a mask names.
        allowed: says which rows keep all rules.
    """
    rows, bad = first.copy(), ~allowed(first)
    for _ in range(_TRIES):
        if not bad.any():
            break
        rows[bad] = again(bad)
        bad = ~allowed(rows)
    return rows, bad


def neighbours(
    row: Rows,
    n_values: Rows,
    active: Callable[[Rows], Mask],
    canonical: Callable[[Rows], Rows],
    allowed: Callable[[Rows], Mask],
) -> Rows:
    """Every canonical arch that differs from this one in one active choice, without repeats."""
    row = canonical(np.asarray(row)[None])[0]
    steps = []
    for index in np.flatnonzero(active(row[None])[0]):
        for value in range(n_values[index]):
            if value != row[index]:
                step = row.copy()
                step[index] = value
                steps.append(step)
    if not steps:
        return np.empty((0, len(row)), dtype=np.int64)
    found = np.unique(canonical(np.array(steps)), axis=0)
    return found[allowed(found)]


def enumerated(n_values: Rows, active: Callable[[Rows], Mask], settled: Callable[[Rows, int], Mask]) -> Rows:
    """Every canonical arch, (n, n choices).

    Args:
        n_values: how many values each choice has.
        active: says which choices matter; parents come first, so activity is known column by column.
        settled: says which rows keep the rules over the choices up to a column.
    """
    rows = np.zeros((1, len(n_values)), dtype=np.int64)
    for index in range(len(n_values)):
        grown = np.repeat(rows, n_values[index], axis=0)
        grown[:, index] = np.tile(np.arange(n_values[index]), len(rows))
        keep = active(grown)[:, index] | (grown[:, index] == 0)
        rows = grown[keep]
        rows = rows[settled(rows, index)]
    return rows
