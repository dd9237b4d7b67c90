"""Archs to measure near a limit: many drawn, their latency foretold from those that were measured."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from nas.costs.counts.analytic import AnalyticCosts, count
from results.records import Scouted
from runners.stages.starters import families, in_turn
from runners.targets.hardware import Limits
from search_spaces.space import Arch, Rows, SearchSpace

_DRAWN, _DRAWN_BUILT = 20_000, 300  # archs to choose from; those of a space that only builds take longer
_RIDGE = 1e-2
_LEANING = 1.5  # of the exponents' logarithm
_IRREGULAR = 0.25
_SEED = 21


class Drawn:
    """Archs to choose from, with what is known of them without a device.

    Args:
        space: space that they are drawn from.
        limits: limits of the target's profile; archs over them are left out, but for the largest.
        seed: seed of the draw.
        share: least and largest share of a limit that an arch is to use.
        at_once: archs that are taken at a time.
    """

    def __init__(
        self, space: SearchSpace, limits: Limits, *, seed: int, share: tuple[float, float], at_once: int
    ) -> None:
        self.space, self._share, self._at_once = space, share, at_once
        self._rng = np.random.default_rng([seed, _SEED])
        n = _DRAWN if space.slots else _DRAWN_BUILT
        drawn = np.vstack([_of_all_sizes(space, n // 2, self._rng), _regular(space, n // 2, self._rng)])
        drawn = drawn[space.allowed(drawn)]
        if space.rules:
            drawn = np.vstack([drawn, space.sample(n - len(drawn), self._rng)])
        rows = np.unique(np.vstack([drawn, space.to_row(space.largest())[None], space.ends]), axis=0)
        costs = counts(space, rows)
        fits = np.ones(len(rows), dtype=bool)
        for name in costs.keys() & {"params", "size_bytes", "peak_memory_bytes"}:
            bound = getattr(limits, name)
            if bound is not None:
                fits &= costs[name] <= bound
        fits[self._index(rows, space.to_row(space.largest()))] = True  # a speed-up is over it
        self.rows, self.macs, params = rows[fits], costs["macs"][fits], costs["params"][fits]
        layers = (space.layer_ids(self.rows) >= 0).sum(axis=1) if space.slots else np.ones(len(self.rows))
        sizes = np.log(np.maximum(np.column_stack([self.macs, params, layers]), 1.0))
        scale = np.maximum(sizes.std(axis=0), 1e-9)
        self._features = np.column_stack([(sizes - sizes.mean(axis=0)) / scale, space.one_hot(self.rows)])
        self._taken = np.zeros(len(self.rows), dtype=bool)

    def has(self, arch: Arch) -> bool:
        """Whether an arch is among them: not one that was measured for a space narrowed otherwise."""
        try:
            row = self.space.to_row(arch)
        except ValueError:
            return False
        return bool((self.rows == row).all(axis=1).any())

    def spread(self) -> Rows:
        """Networks from the smallest to the largest, evenly by the log of their multiply-accumulates."""
        size = np.log(np.maximum(self.macs, 1.0))
        wanted = np.linspace(size.min(), size.max(), self._at_once - 1)
        nearest = (int(np.abs(size - one).argmin()) for one in wanted)
        chosen = {*nearest, self._index(self.rows, self.space.to_row(self.space.largest()))}
        return self._take(sorted(chosen))

    def near(self, found: Sequence[Scouted], limit_ms: float) -> Rows:
        """Networks that should use the limit: most of them the largest of each family in turn, some drawn.

        Where none should, those that come nearest to it.
        """
        for one in found:  # of an earlier process too
            self._taken[self._index(self.rows, self.space.to_row(one.arch))] = True
        predicted = self._predicted(found)
        free = np.flatnonzero(~self._taken)
        least, most = (share * limit_ms for share in self._share)
        wanted = free[(predicted[free] >= least) & (predicted[free] <= most)]
        if not len(wanted):
            away = np.abs(np.log(predicted[free] / (0.9 * limit_ms)))
            return self._take(free[np.argsort(away, kind="stable")[: self._at_once]].tolist())
        ordered = wanted[np.argsort(-self.macs[wanted], kind="stable")]
        kinds = families(self.space, self.rows[ordered]).tolist()
        largest = np.array(in_turn(ordered.tolist(), kinds)[: 3 * self._at_once // 4], dtype=np.int64)
        others = np.setdiff1d(wanted, largest)
        drawn = self._rng.permutation(others)[: self._at_once - len(largest)]
        return self._take([*largest.tolist(), *drawn.tolist()])

    def _predicted(self, found: Sequence[Scouted]) -> NDArray[np.float64]:
        """Latency of each in its fastest format by ridge regression of the logarithm, (n,), in ms."""
        best = np.full(len(self.rows), np.inf)
        for precision in dict.fromkeys(one.precision for one in found):
            known = {
                self._index(self.rows, self.space.to_row(one.arch)): math.log(one.latency_ms)
                for one in found
                if one.precision == precision and one.latency_ms is not None
            }
            if len(known) < 2:
                continue
            fitted = Ridge(alpha=_RIDGE).fit(self._features[list(known)], list(known.values()))
            best = np.minimum(best, np.exp(np.clip(fitted.predict(self._features), -20.0, 20.0)))
        return best

    def _take(self, places: Sequence[int]) -> Rows:
        self._taken[list(places)] = True
        return np.asarray(self.rows[list(places)])

    @staticmethod
    def _index(rows: Rows, row: NDArray[np.int64]) -> int:
        return int(np.flatnonzero((rows == row).all(axis=1))[0])


def _of_all_sizes(space: SearchSpace, n: int, rng: np.random.Generator) -> Rows:
    """Archs of all sizes, (n, n choices): drawn evenly choice by choice, nearly all would be of one size."""
    leaning = np.exp(rng.uniform(-_LEANING, _LEANING, size=(n, 1)))  # towards early values, or late ones
    places = rng.random((n, len(space.choices))) ** leaning
    even = rng.random((n, len(space.choices)))
    share = np.where(space.categorical, even, places)  # categories have no order to lean along
    return space.canonical((share * space.n_values).astype(np.int64))


def _regular(space: SearchSpace, n: int, rng: np.random.Generator) -> Rows:
    """Archs whose stages are alike but for a step here and there, (n, n choices).

    Choices of one name in different places (``stage0.width``, ``stage1.width``) take the same place among
    their values, and one in four a neighbouring one. Networks that are good for their cost are regular
    ("Designing Network Design Spaces", Radosavovic et al., CVPR 2020, section 3.3), and of those drawn choice
    by choice hardly any is.
    """
    names = [re.sub(r"\d+", "", choice.name) for choice in space.choices]
    groups = np.unique(names, return_inverse=True)[1]
    share = rng.random((n, int(groups.max()) + 1))[:, groups]
    places = (share * space.n_values).astype(np.int64)
    moved = rng.random(places.shape) < _IRREGULAR
    places = places + np.where(moved, rng.choice([-1, 1], size=places.shape), 0)
    return space.canonical(np.clip(places, 0, space.n_values - 1))


def counts(space: SearchSpace, rows: Rows) -> dict[str, NDArray[np.float64]]:
    """Counts by name, (n,) each. A space that only builds has each network counted: finding its layers first
    would pay for thousands, not for hundreds."""
    if space.slots:
        return AnalyticCosts(space)(rows)
    found = []
    for row in rows:
        arch = space.to_arch(row)
        found.append(count(space.build(arch), space.input_shape(arch)))
    names = ("macs", "params", "peak_memory_bytes")
    known = {name: np.array([getattr(one, name) for one in found], dtype=np.float64) for name in names}
    return {**known, "size_bytes": 4.0 * known["params"]}
