"""The space that a run trains and searches: what its recipe names, less what no answer can be part of.

It is decided when training begins and written down (``train/space.json``): another profile or limit, chosen
later, finds the space that was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.costs.model.latency import LatencyModel
from nas.costs.model.reach import among, latency_terms, reachable
from nas.search.exact import Bound, Solution, solve
from results.files import write_json
from results.numbers import count as in_units
from results.records import SpaceRecord, read_record
from runners.console import Console
from search_spaces.choice import Value
from search_spaces.reference.extremes import Term
from search_spaces.space import SearchSpace
from search_spaces.spaces.narrowed import narrowed

FILE = "train/space.json"
LARGEST = 4.0
"""The largest network, which all others learn from, takes at most this many times the limit. A teacher a few
times the size of its students teaches them; beyond that each of its passes costs several of theirs."""
_TOLD = 8  # choices by name on the terminal
_PATIENCE_S = 30.0
_SAME = 1 + 1e-9  # of two limits that are the same but for rounding


def fixed_space(run: Path) -> SpaceRecord | None:
    """What the training of a run wrote down of its space; None where none has begun."""
    file = run / FILE
    return read_record(SpaceRecord, file) if file.exists() else None


def trained_space(given: SearchSpace, record: SpaceRecord) -> SearchSpace:
    """The space that a run trains, from the one that its recipe names."""
    if not record.kept and record.reference is None:
        return given
    return narrowed(given, record.kept, reference=record.reference)


def fix_space(
    given: SearchSpace,
    known: Callable[[], tuple[Mapping[str, LatencyModel], float]],
    *,
    profile: str,
    left_out: Collection[str],
    run: Path,
    console: Console,
) -> SpaceRecord:
    """Leaves out what no network under the limit can have, writes it down and says so.

    Args:
        given: the space as the recipe names it, without what the profile cannot run; one that only builds is
            left as it is.
        known: gives the latency model of each form that a network can be handed over in, and the limit; asked
            for a space of slots alone, for it takes a while in others.
        profile: name of the profile.
        left_out: mixers that the profile cannot run.
        run: the run's folder.
        console: console of the run.

    Raises:
        ValueError: no network is under the limit.
    """
    if left_out:
        console.say(f"{', '.join(left_out)} left out of the space: profile {profile} cannot run it")
    kept, reference, limit_ms = {}, None, None
    if given.slots:
        models, limit_ms = known()
        try:
            kept = reachable(given, list(models.values()), limit_ms)
        except ValueError as error:
            again = "quarry train --out " + str(run) + " --set search.latency_ms=..."
            raise ValueError(f"{error}; another limit: {again}") from None
        reference = _reference(given, kept, list(models.values()), LARGEST * limit_ms)
    record = SpaceRecord(
        profile=profile,
        limit_ms=limit_ms,
        left_out=tuple(left_out),
        kept=kept,
        reference=reference,
        networks=float(given.size),
        networks_left=float(narrowed(given, kept).size),
    )
    write_json(run / FILE, record.to_json())
    if kept:
        console.say(
            f"left out of the space, since no network with it takes {limit_ms:.4g} ms or less: "
            f"{_lost(given, kept)}; {in_units(record.networks_left)} of {in_units(record.networks)} networks "
            "are left"
        )
    if reference is not None:
        console.say(
            f"the largest network is taken to be that with the most multiply-accumulates within {LARGEST:g} "
            "times the limit"
        )
    return record


def narrowed_warning(record: SpaceRecord, limit_ms: float, profile: str, run: Path) -> str:
    """What a search under another limit or on another device has to know of the space; nothing if all is in.

    Args:
        record: what was left out when the supernet was trained.
        limit_ms: limit of the search.
        profile: name of the profile that it searches for.
        run: the run's folder.
    """
    if record.limit_ms is None or not (record.kept or record.reference):
        return ""
    if profile == record.profile and limit_ms <= record.limit_ms * _SAME:
        return ""
    return (
        f"the space was narrowed for {record.limit_ms:.4g} ms on {record.profile} before it was trained; of "
        f"what was left out some may take {limit_ms:.4g} ms or less on {profile}. To train for that: "
        f"quarry train --out {run} --set search.latency_ms={limit_ms:.4g}"
    )


def _reference(
    given: SearchSpace, kept: Mapping[str, Collection[Value]], models: Sequence[LatencyModel], bound_ms: float
) -> dict[str, Value] | None:
    """What stands for the largest of the narrowed space where its own is over a bound; else None."""
    largest = given.to_row(narrowed(given, kept).largest())[None]
    if min(float(model.latency_ms(largest)[0]) for model in models) <= bound_ms:
        return None
    found = [one for model in models if (one := most_within(given, kept, model, bound_ms)) is not None]
    return given.to_arch(min(found, key=lambda one: one.loss).row) if found else None


def most_within(
    given: SearchSpace,
    kept: Mapping[str, Collection[Value]],
    model: LatencyModel,
    bound_ms: float,
    *,
    gap: float = 0.0,
) -> Solution | None:
    """The arch with the most multiply-accumulates, but for a gap, with these values and within a bound.

    None where there is none, or none was found in time.
    """
    terms, offset_ms = latency_terms(given, model)
    less = [Term(columns=one.columns, values=-one.values) for one in given.terms(given.layer_macs)]
    masks = [among(given, name, values) for name, values in kept.items()]
    barred = [Term(columns=one.columns, values=np.where(one.values, 0.0, np.inf)) for one in masks]
    try:
        limit = {"latency_ms": Bound(terms=terms, limit=bound_ms - offset_ms)}
        return solve(given, [*less, *barred], limit, budget_s=_PATIENCE_S, gap=gap)[0]
    except (ValueError, TimeoutError):  # the space's own then stands for the largest
        return None


def _lost(given: SearchSpace, kept: Mapping[str, Collection[Value]]) -> str:
    """What choices lose, in words: ``stage2.width 96, 128; stage2.depth 3``."""
    lost = [
        f"{choice.name} {', '.join(str(one) for one in choice.values if one not in kept[choice.name])}"
        for choice in given.choices
        if choice.name in kept
    ]
    more = [f"and values of {len(lost) - _TOLD} other choices ({FILE})"] if len(lost) > _TOLD else []
    return "; ".join([*lost[:_TOLD], *more])
