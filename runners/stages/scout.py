"""What networks near the limit take on the target, measured before any of them is trained.

A table of layers pays where thousands of archs are searched. Where a few dozen will be trained alone, it is
cheaper, and surer, to measure whole networks: a few over all sizes, then those that a regression of these
puts near the limit, until enough of them are known to use it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from compress.target import Target
from nas.costs.counts.analytic import AnalyticCosts, count
from results.files import append_line, read_lines
from results.records import Scouted
from runners.console import Console
from runners.recipe.schema import Search
from runners.targets.hardware import Limits
from search_spaces.space import Arch, Rows, SearchSpace

SCOUTED = "scouted.jsonl"
_DRAWN, _DRAWN_BUILT = 20_000, 300  # archs to choose from; those of a space that only builds take longer
_AT_ONCE = 16  # networks measured side by side
_ROUNDS = 12
_LEAST_ROUNDS = 3  # in each the regression knows better which of the largest still meet the limit
_HOPELESS = 3  # rounds after which a limit that nothing met will not be met
_SECONDS_EACH = 0.12
_MARGIN = 0.97  # of the limit: what is measured again later varies by a few percent
_LEAST_SHARE = 0.7  # of the limit, that a network worth training uses
_RIDGE = 1e-2
_LEANING = 1.5
_IRREGULAR = 0.25
_SEED = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Scouting:
    """What is measured, and for what.

    Attributes:
        space: space of the networks.
        target: target that they are measured on.
        precisions: number formats that a network can be deployed in.
        limits: limits of the target's profile.
        networks: networks near the limit that are wanted.
        seconds: time to look for them.
        seed: seed of the draw.
        folder: folder ``measure/`` of the run.
        console: console of the run.
    """

    space: SearchSpace
    target: Target
    precisions: tuple[str, ...]
    limits: Limits
    networks: int
    seconds: float
    seed: int
    folder: Path
    console: Console


def scout_sizes(work: Scouting) -> None:
    """Measures networks from the smallest to the largest; adds to ``scouted.jsonl``.

    Raises:
        ValueError: none of them runs on the target.
    """
    found = _with_sizes(work, _Drawn(work))
    if not any(one.latency_ms is not None for one in found):
        raise ValueError(f"no network of the space runs on {work.target.facts.profile}: {found[0].reason}")
    ran = [_ms(one) for one in found if one.latency_ms is not None]
    work.console.say(
        f"{len({_key(one) for one in found})} networks from the smallest to the largest measured in "
        f"{' and '.join(work.precisions)}: {min(ran):.4g} to {max(ran):.4g} ms"
    )


def scout_limit(work: Scouting, limit_ms: float) -> list[Scouted]:
    """Measures networks until enough are known that use the limit; adds to ``scouted.jsonl``.

    What was measured for another limit counts too.

    Returns:
        As ``using_limit``.

    Raises:
        ValueError: no network that was measured is under the limit.
    """
    drawn = _Drawn(work)
    found = _with_sizes(work, drawn)
    fresh, began = len(using_limit(found, limit_ms)) < work.networks, time.monotonic()
    with work.console.progress("measuring networks near the limit") as bar:
        for turn in range(_ROUNDS):
            near = using_limit(found, limit_ms)
            bar.update(min(len(near), work.networks), work.networks)
            hopeless = not near and turn == _HOPELESS
            enough = len(near) >= work.networks and turn >= (_LEAST_ROUNDS if fresh else 0)
            if enough or hopeless or time.monotonic() - began > work.seconds:
                break
            rows = drawn.near(found, limit_ms)
            if not len(rows):
                break
            found += _measure(work, rows)
    near = using_limit(found, limit_ms)
    if not near:
        fastest = min(map(_ms, found))
        raise ValueError(
            f"no network of space {work.space.name!r} is under {limit_ms:.4g} ms: of "
            f"{len({_key(one) for one in found})} that were measured the fastest takes {fastest:.4g} ms. "
            f"Raise search.latency_ms, or take a space with smaller networks"
        )
    if _ms(near[0]) >= _LEAST_SHARE * limit_ms:
        said = f"{len(near)} networks known that use {_LEAST_SHARE:.0%} or more of the limit"
    elif any(_ms(one) > limit_ms for one in found):
        said = f"no network was found that uses {_LEAST_SHARE:.0%} or more of the limit; {len(near)} use less"
    else:
        said = "all networks of the space are far under the limit; a space with larger ones could use it"
    work.console.say(f"{said} (limit: {limit_ms:.4g} ms)")
    return near


def _with_sizes(work: Scouting, drawn: _Drawn) -> list[Scouted]:
    """What is known of the drawn networks, with what is missing from the smallest to the largest."""
    found = [one for one in known(work) if drawn.has(one.arch)]
    there = {_key(one) for one in found}
    missing = [row for row in drawn.spread() if _key_of(work.space.to_arch(row)) not in there]
    return [*found, *_measure(work, np.stack(missing))] if missing else found


def known(work: Scouting) -> list[Scouted]:
    """What was measured so far in all the formats of now.

    A format that no step of the recipe makes any more cannot be handed over; a network without a line in one
    of them was cut short by a kill, or measured when there were fewer.
    """
    found = [one for one in scouted(work.folder) if one.precision in work.precisions]
    formats: dict[str, set[str]] = {}
    for one in found:
        formats.setdefault(_key(one), set()).add(one.precision)
    return [one for one in found if len(formats[_key(one)]) == len(work.precisions)]


def scouted(folder: Path) -> list[Scouted]:
    """What was measured so far, by the folder ``measure/`` of the run."""
    return [Scouted.from_json(line) for line in read_lines(folder / SCOUTED)]


def scouted_limit(search: Search, limits: Limits, space: SearchSpace, found: Sequence[Scouted]) -> float:
    """The limit in ms: as given, or the largest network's measured latency over the speed-up wanted.

    Where the device itself has a tighter one, that.

    Raises:
        ValueError: a speed-up over a largest network that does not run on the target.
    """
    device_ms = limits.latency_ms or math.inf
    if search.latency_ms is not None:
        return min(search.latency_ms, device_ms)
    assert search.speedup is not None  # the recipe has one of the two
    largest = space.largest()
    for one in found:
        if one.arch == largest and one.latency_ms is not None:
            return min(one.latency_ms / search.speedup, device_ms)
    raise ValueError(
        f"search.speedup = {search.speedup:g} is over the largest network, which does not run on the target: "
        "give search.latency_ms instead"
    )


def using_limit(found: Sequence[Scouted], limit_ms: float) -> list[Scouted]:
    """Networks that meet the limit with a margin and use most of it, each in its fastest format.

    Those with the most multiply-accumulates and parameters, by the mean of both ranks, come first. Where none
    uses most of the limit, the whole space being faster, all that meet it.
    """
    fastest: dict[str, Scouted] = {}
    for one in found:
        key = _key(one)
        if one.latency_ms is not None and (key not in fastest or _ms(one) < _ms(fastest[key])):
            fastest[key] = one
    met = [one for one in fastest.values() if (one.high_ms or math.inf) <= _MARGIN * limit_ms]
    near = [one for one in met if _ms(one) >= _LEAST_SHARE * limit_ms]
    return _largest_first(near or met)


def _largest_first(found: Sequence[Scouted]) -> list[Scouted]:
    macs, params = (np.array([getattr(one, name) for one in found]) for name in ("macs", "params"))
    ranks = np.argsort(np.argsort(-macs, kind="stable")) + np.argsort(np.argsort(-params, kind="stable"))
    return [found[place] for place in np.argsort(ranks, kind="stable")]


def _ms(one: Scouted) -> float:
    return math.inf if one.latency_ms is None else one.latency_ms


def _key(one: Scouted) -> str:
    return _key_of(one.arch)


def _key_of(arch: Arch) -> str:
    return repr(sorted(arch.items()))


class _Drawn:
    """Archs to choose from, with what is known of them without a device."""

    def __init__(self, work: Scouting) -> None:
        space = self.space = work.space
        self._rng = np.random.default_rng([work.seed, _SEED])
        n = _DRAWN if space.slots else _DRAWN_BUILT
        drawn = np.vstack([_of_all_sizes(space, n // 2, self._rng), _regular(space, n // 2, self._rng)])
        rows = np.unique(np.vstack([drawn, space.to_row(space.largest())[None], space.ends]), axis=0)
        costs = _counts(work, rows)
        fits = np.ones(len(rows), dtype=bool)
        for name in costs.keys() & {"params", "size_bytes", "peak_memory_bytes"}:
            bound = getattr(work.limits, name)
            if bound is not None:
                fits &= costs[name] <= bound
        fits[self._index(rows, space.to_row(space.largest()))] = True  # a speed-up is over it
        self.rows, self.macs, self.params = rows[fits], costs["macs"][fits], costs["params"][fits]
        layers = (space.layer_ids(self.rows) >= 0).sum(axis=1) if space.slots else np.ones(len(self.rows))
        sizes = np.log(np.maximum(np.column_stack([self.macs, self.params, layers]), 1.0))
        scale = np.maximum(sizes.std(axis=0), 1e-9)
        self._features = np.column_stack(
            [np.ones(len(sizes)), (sizes - sizes.mean(axis=0)) / scale, space.one_hot(self.rows)]
        )
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
        wanted = np.linspace(size.min(), size.max(), _AT_ONCE - 1)
        nearest = (int(np.abs(size - one).argmin()) for one in wanted)
        chosen = {*nearest, self._index(self.rows, self.space.to_row(self.space.largest()))}
        return self._take(sorted(chosen))

    def near(self, found: Sequence[Scouted], limit_ms: float) -> Rows:
        """Networks that should use the limit: half of them the largest of these, half drawn.

        Where none should, those that come nearest to it.
        """
        for one in found:  # of an earlier process too
            self._taken[self._index(self.rows, self.space.to_row(one.arch))] = True
        predicted = self._predicted(found)
        free = np.flatnonzero(~self._taken)
        wanted = free[(predicted[free] >= _LEAST_SHARE * limit_ms) & (predicted[free] <= _MARGIN * limit_ms)]
        if not len(wanted):
            away = np.abs(np.log(predicted[free] / (0.9 * limit_ms)))
            return self._take(free[np.argsort(away, kind="stable")[:_AT_ONCE]].tolist())
        sizes = [np.argsort(np.argsort(-size[wanted], kind="stable")) for size in (self.macs, self.params)]
        largest = wanted[np.argsort(sizes[0] + sizes[1], kind="stable")[: _AT_ONCE // 2]]
        others = np.setdiff1d(wanted, largest)
        drawn = self._rng.permutation(others)[: _AT_ONCE - len(largest)]
        return self._take([*largest.tolist(), *drawn.tolist()])

    def _predicted(self, found: Sequence[Scouted]) -> NDArray[np.float64]:
        """Latency of each in its fastest format by ridge regression of the logarithm, (n,), in ms."""
        best = np.full(len(self.rows), np.inf)
        for precision in dict.fromkeys(one.precision for one in found):
            known = [one for one in found if one.precision == precision and one.latency_ms is not None]
            if len(known) < 2:
                continue
            places = [self._index(self.rows, self.space.to_row(one.arch)) for one in known]
            features, target = self._features[places], np.log([_ms(one) for one in known])
            weight = _RIDGE * np.eye(features.shape[1])
            weight[0, 0] = 0.0
            centre = target.mean()
            solved = np.linalg.lstsq(
                features.T @ features + weight, features.T @ (target - centre), rcond=None
            )[0]
            best = np.minimum(best, np.exp(np.clip(self._features @ solved + centre, -20.0, 20.0)))
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


def _counts(work: Scouting, rows: Rows) -> dict[str, NDArray[np.float64]]:
    """Counts by name, (n,) each. A space that only builds has each network counted: finding its layers first
    would pay for thousands, not for hundreds."""
    space = work.space
    if space.slots:
        return AnalyticCosts(space)(rows)
    found = []
    for row in rows:
        arch = space.to_arch(row)
        found.append(count(space.build(arch), space.input_shape(arch)))
    names = ("macs", "params", "peak_memory_bytes")
    counts = {name: np.array([getattr(one, name) for one in found], dtype=np.float64) for name in names}
    return {**counts, "size_bytes": 4.0 * counts["params"]}


def _measure(work: Scouting, rows: Rows) -> list[Scouted]:
    """The networks in every format, measured side by side, and written down."""
    counts = _counts(work, rows)
    target, space = work.target, work.space
    wanted = [(row, precision) for row in rows for precision in work.precisions]
    reasons: dict[int, str] = {}
    with TemporaryDirectory(prefix="quarry-") as folder:
        files = [Path(folder) / f"{place}.{target.facts.format}" for place in range(len(wanted))]
        for place, (row, precision) in enumerate(wanted):
            arch = space.to_arch(row)
            try:
                network = space.build(arch).eval()
                target.export(network, space.input_shape(arch), files[place], precision=precision)
            except (OSError, MemoryError):
                raise
            except Exception as error:  # what one network cannot do costs that network
                reasons[place] = " ".join(f"{type(error).__name__}: {error}".split())
        there = [place for place in range(len(wanted)) if place not in reasons]
        timings = target.measure(
            [files[place] for place in there], budget_s=_SECONDS_EACH * len(there), half_width=0.02
        )
    timed = dict(zip(there, timings, strict=True))
    found = []
    for place, (row, precision) in enumerate(wanted):
        timing = timed.get(place)
        ran = timing is not None and timing.status == "measured"
        found.append(
            Scouted(
                arch=space.to_arch(row),
                precision=precision,
                latency_ms=timing.median_ms if timing and ran else None,
                low_ms=timing.low_ms if timing and ran else None,
                high_ms=timing.high_ms if timing and ran else None,
                macs=int(counts["macs"][place // len(work.precisions)]),
                params=int(counts["params"][place // len(work.precisions)]),
                reason="" if ran else timing.reason if timing else reasons[place],
            )
        )
    for one in found:
        append_line(work.folder / SCOUTED, one.to_json())
    return found
