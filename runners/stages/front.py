"""The front of a search as it is: measured again on the device, scored again on images no searcher saw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from compress.failure import reason
from compress.target import Target
from nas.costs.model.latency import LatencyModel
from nas.search import SearchResult
from nas.supernet import Supernet
from results.front import non_dominated
from results.numbers import compared
from results.precision import MIXED
from results.records import FrontEntry, LayerRecord, PredictorQuality, SearchSummary
from runners.console import Console
from runners.scoring.subnets import SubnetEvaluator
from runners.stages.candidates import Candidates
from search_spaces.space import Arch, SearchSpace

_LARGEST = "largest"
MEASURED = 12  # networks that are exported and measured again
_NEAR = 0.3  # of the limit, within which half of them lie
_ROUNDS = 3  # of looking further where all that was measured is over the limit
SECONDS_EACH = 0.25
LEAST_SECONDS = 3.0  # for as many processes as a measurement has at most


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A scored arch and who found it; ``upper_ms`` is what was held to the limit."""

    searcher: str
    arch: Arch
    accuracy: float
    latency_ms: float
    upper_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLooker:
    """What measures and scores networks of a front again.

    Attributes:
        name: begins the names of the networks.
        supernet: they are extracted from.
        target: they are measured on.
        costs: what is known of archs.
        seen: scores on the images that the searchers saw.
        unseen: scores on images that they did not see; None where none were held back.
        limit_ms: limit on the measured latency.
        confidence: confidence at which predictions had to be under it.
        console: console of the run.
    """

    name: str
    supernet: Supernet
    target: Target
    costs: Candidates
    seen: SubnetEvaluator
    unseen: SubnetEvaluator | None
    limit_ms: float
    confidence: float
    console: Console

    @property
    def space(self) -> SearchSpace:
        """The space of the supernet."""
        return self.supernet.space


def measured_front(
    look: FrontLooker,
    results: dict[str, SearchResult],
    *,
    reference: tuple[float, float],
    known_first: int,
) -> SearchSummary:
    """The joint front of all searches and the largest network, exported, measured and scored again.

    Where all of it is over the limit as measured, faster networks that were scored are measured, a few times.

    Args:
        look: what measures and scores.
        results: result of each searcher.
        reference: (accuracy, latency) for the hypervolume.
        known_first: how many trials of a search were known before it.
    """
    scored = _scored(look.space, results)
    say, limit_ms = look.console.say, look.limit_ms
    computed = look.target.facts.computed
    archs = _joint_front(scored, limit_ms)
    say(
        f"{'computing' if computed else 'measuring'} the {len(archs)} networks of the front again, and the "
        "largest"
    )
    largest_arch = look.space.largest()
    try:
        largest_accuracy = look.seen(largest_arch)["accuracy"]
    except Exception as error:  # whatever a user's network raises
        raise ValueError(
            f"the largest network, which the front is set beside, cannot be scored: "
            f"{type(error).__name__}: {error}. The trials are kept; the same command goes on from them"
        ) from error
    measured, reasons = _measure(look, [*map(_known, archs), (_LARGEST, largest_arch, largest_accuracy)])
    front = [entry for entry in measured if entry.searcher != _LARGEST]
    largest = next((replace(one, name=_LARGEST) for one in measured if one.searcher == _LARGEST), None)
    if not front and archs:
        raise ValueError(
            f"no network of the front runs on {look.target.facts.profile}: {reasons[0]}. The trials are "
            "kept; the same command goes on from them"
        )
    bound = limit_ms
    for _ in range(_ROUNDS):
        if any(entry.meets_limit for entry in front):
            break
        bound *= min(limit_ms / entry.measured_ms for entry in front)
        before = [entry.arch for entry in front]
        faster = [found for found in _joint_front(scored, bound) if dict(found.arch) not in before]
        if not faster:
            break
        say(f"none of them takes under {limit_ms:.4g} ms; trying {len(faster)} that should be faster")
        front += _measure(look, [*map(_known, faster)])[0]
    front.sort(key=lambda entry: entry.predicted_ms)
    return SearchSummary(
        limit_ms=limit_ms,
        confidence=look.confidence,
        reference=reference,
        front=tuple(replace(entry, name=f"{look.name}-{place}") for place, entry in enumerate(front, 1)),
        largest=largest,
        scored_images=len(look.seen.labels),
        held_back_images=0 if look.unseen is None else len(look.unseen.labels),
        known_first=known_first,
        predictors=predictors_of(results),
    )


def predictors_of(results: Mapping[str, SearchResult]) -> tuple[PredictorQuality, ...]:
    """How well the predictors of the searchers that have one did, when they were fitted last."""
    return tuple(
        PredictorQuality(
            searcher=name,
            networks=result.rounds[-1].archs,
            tau=result.rounds[-1].tau,
            mean_error=result.rounds[-1].mean_error,
            interval=result.rounds[-1].interval,
        )
        for name, result in results.items()
        if result.rounds
    )


def tell_front(summary: SearchSummary, console: Console, *, computed: bool) -> None:
    """The front as a table, how far the search was taken in by luck, and whether the limit is met."""
    held = summary.held_back_images > 0
    several = len({entry.precision for entry in summary.entries}) > 1
    rows = [
        [
            entry.name,
            entry.searcher if entry.searcher != entry.name else "",
            f"{entry.accuracy:.1%}",
            *([f"{entry.held_back_accuracy:.1%}"] if entry.held_back_accuracy is not None else []),
            f"{entry.predicted_ms:.4g}",
            f"{entry.measured_ms:.4g}",
            *([entry.precision] if several else []),
            "" if entry is summary.largest else "met" if entry.meets_limit else "missed",
        ]
        for entry in summary.entries
    ]
    columns = ["network", "found by", "accuracy", *(["held back"] if held else [])]
    columns += [
        "predicted ms",
        "computed ms" if computed else "measured ms",
        *(["form"] if several else []),
        "limit",
    ]
    console.table("The front", columns, rows)
    if held:
        console.say(
            f"accuracy is on the {summary.scored_images} validation images that were searched with; on "
            f"{summary.held_back_images} others, held back, {luck(summary)}"
        )
    if not any(entry.meets_limit for entry in summary.front):
        console.warn(f"no network of the front is under the limit of {summary.limit_ms:.4g} ms")


def luck(summary: SearchSummary) -> str:
    """How much of the front's accuracy was the luck of being chosen, in words."""
    lost = [
        entry.accuracy - entry.held_back_accuracy
        for entry in summary.front
        if entry.held_back_accuracy is not None
    ]
    words = f"the front is {compared(-float(np.mean(lost)))} on average"
    largest = summary.largest
    if largest is None:  # it does not run on the target
        return words
    by_itself = largest.accuracy - (largest.held_back_accuracy or 0.0)
    return f"{words}, the largest network, which nobody chose, {compared(-by_itself)}"


def _known(found: _Found) -> tuple[str, Arch, float]:
    return found.searcher, found.arch, found.accuracy


def _measure(
    look: FrontLooker, found: Sequence[tuple[str, Arch, float]]
) -> tuple[list[FrontEntry], list[str]]:
    """Entries without names of what (searcher, arch, accuracy) stands for, measured side by side.

    A network that cannot be exported or does not run is left out and told; the reasons come second.
    """
    space, target = look.space, look.target
    rows = np.array([space.to_row(arch) for _, arch, _ in found])
    first, facts = next(iter(look.costs.models)), target.facts
    # The largest, beside which the others are set, is as it would be without compression.
    forms = [
        first if searcher == _LARGEST else form
        for (searcher, _, _), form in zip(found, look.costs.form(rows), strict=True)
    ]
    known = [look.costs.in_form(row[None], form) for row, form in zip(rows, forms, strict=True)]
    exported = [
        facts.float_precision if (searcher, form) == (_LARGEST, MIXED) else form
        for (searcher, _, _), form in zip(found, forms, strict=True)
    ]
    with TemporaryDirectory(prefix="quarry-") as folder:
        files = [Path(folder) / f"{index}.{facts.format}" for index in range(len(found))]
        problems: dict[int, str] = {}
        for place, ((_, arch, _), form, file) in enumerate(zip(found, exported, files, strict=True)):
            try:
                network, shape = look.supernet.extract(arch).eval(), space.input_shape(arch)
                target.export(network, shape, file, precision=form)
            except Exception as error:  # whatever a user's network or an exporter raises
                problems[place] = reason(error)
        there = [place for place in range(len(found)) if place not in problems]
        budget_s = max(LEAST_SECONDS, SECONDS_EACH * len(there))
        timings = target.measure([files[place] for place in there], budget_s=budget_s) if there else []
    timed = dict(zip(there, timings, strict=True))
    problems |= {place: one.reason for place, one in timed.items() if one.status != "measured"}
    for problem in dict.fromkeys(problems.values()):
        of = [found[place] for place, one in sorted(problems.items()) if one == problem]
        named = ["the largest" if who == _LARGEST else str(dict(arch)) for who, arch, _ in of]
        look.console.warn(f"left out of the front, as their files do not run: {', '.join(named)}: {problem}")
    entries = []
    for place, ((searcher, arch, accuracy), form, costs) in enumerate(zip(found, forms, known, strict=True)):
        if place in problems:
            continue
        timing = timed[place]
        predicted_ms, upper_ms = (float(costs[key][0]) for key in ("latency_ms", "latency_ms_upper"))
        if not math.isfinite(predicted_ms):  # the reference may have layers that the profile rules out
            predicted_ms, upper_ms = timing.median_ms, timing.high_ms
        entries.append(
            FrontEntry(
                name="",
                arch=dict(arch),
                searcher=searcher,
                accuracy=accuracy,
                held_back_accuracy=None if look.unseen is None else look.unseen(arch)["accuracy"],
                predicted_ms=predicted_ms,
                upper_ms=upper_ms,
                measured_ms=timing.median_ms,
                low_ms=timing.low_ms,
                high_ms=timing.high_ms,
                macs=int(costs["macs"][0]),
                params=int(costs["params"][0]),
                meets_limit=timing.median_ms <= look.limit_ms,
                layers=_layer_records(space, arch, look.costs.models[form]),
                precision=exported[place],
            )
        )
    return entries, list(problems.values())


def _layer_records(space: SearchSpace, arch: Arch, model: LatencyModel) -> tuple[LayerRecord, ...]:
    """The layers of an arch with what each costs alone; none where the space has only networks."""
    if not space.slots:
        return ()
    alone = dict(zip(model.layers.keys, model.layer_ms.tolist(), strict=True))
    return tuple(
        LayerRecord(
            name=layer.name,
            kind=layer.kind,
            sizes={**dict(layer.sizes), **({"precision": layer.precision} if layer.precision else {})},
            output_shape=layer.output_shape,
            latency_ms=alone[layer.key] if math.isfinite(alone[layer.key]) else None,
        )
        for layer in space.lower(arch)
    )


def _scored(space: SearchSpace, results: dict[str, SearchResult]) -> list[_Found]:
    """Every arch that was scored and meets the limits, once."""
    found: dict[bytes, _Found] = {}
    for name, result in results.items():
        trials = result.trials[result.trials["feasible"]]
        for trial in trials.to_dict("records"):
            row = space.to_row({choice: trial[choice] for choice in space.names})
            found.setdefault(
                row.tobytes(),
                _Found(
                    searcher=name,
                    arch=space.to_arch(row),
                    accuracy=float(trial["accuracy"]),
                    latency_ms=float(trial["latency_ms"]),
                    upper_ms=float(trial["latency_ms_upper"]),
                ),
            )
    return list(found.values())


def _joint_front(scored: Sequence[_Found], bound_ms: float) -> list[_Found]:
    """What is measured of all that is predicted under a bound, fastest first.

    Half of it lies near the bound, where the answer is: the most accurate there are, on the front and then
    behind it, for accuracies with shared weights do not tell neighbours apart. The rest is the front, thinned
    evenly where it is long.
    """
    found = [one for one in scored if one.upper_ms <= bound_ms]
    points = np.array([(one.latency_ms, -one.accuracy) for one in found]).reshape(-1, 2)
    best = set(np.flatnonzero(non_dominated(points)).tolist())
    near = [place for place, one in enumerate(found) if one.upper_ms >= (1 - _NEAR) * bound_ms]
    near.sort(key=lambda place: (place not in best, -found[place].accuracy))
    chosen = near[: MEASURED // 2]
    others = sorted(best - set(chosen), key=lambda place: found[place].latency_ms)
    wanted = min(MEASURED - len(chosen), len(others))
    chosen += [others[at] for at in sorted({*np.linspace(0, len(others) - 1, wanted).round().astype(int)})]
    return sorted((found[place] for place in chosen), key=lambda one: one.latency_ms)
