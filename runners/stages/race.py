"""The search without shared weights: networks trained alone, the better ones longer, the best to the end."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence

from nas.search.halving import Rung, affordable, promoted, rungs
from results.files import read_json, read_lines, write_json
from results.numbers import count as in_units
from results.records import Raced, RacePlan, RungRecord, Scouted, SearchSummary
from runners.pools.known import key_of
from runners.stages.clock import RANKING
from runners.stages.finalists import WEIGHTS, Finalists
from runners.stages.racing import DIVERGED, Racing, pace_of, train_round
from runners.stages.starters import firsts, more

PLAN, PACES, FINAL = "plan.json", "paces.json", "final.json"
MOST_RACED = 24
"""Networks near the limit that are looked for where a run was given minutes."""
_LEAST_SHARE = 0.5  # of an epoch
_SLACK = 1.3  # times the time for choosing, before no further network is begun


def race(work: Racing) -> SearchSummary:
    """Trains and chooses; writes ``race.jsonl`` as trainings end, the finalists' weights, and ``front.json``.

    Raises:
        ValueError: no network could be trained.
    """
    plan = _planned(work)
    until = math.inf if work.clock is None else time.monotonic() + _SLACK * RANKING * work.clock.training_s
    last = len(plan.rungs) - 1
    field = _opened(work, plan, until) if last else list(work.candidates)
    for place in range(min(1, last), last + 1):
        field = _advanced(work, plan, place, field, until)
    done = _done(work, last)
    summary = _summary(work, field, [done[key_of(one.arch)].accuracy or 0.0 for one in field])
    write_json(work.folder / "front.json", summary.to_json())
    shutil.rmtree(work.folder / WEIGHTS / "under_way", ignore_errors=True)
    return summary


def _opened(work: Racing, plan: RacePlan, until: float) -> list[Scouted]:
    """The networks of the first round, best first: one of each family, then more of those that do best."""
    n, candidates, timed = plan.rungs[0].networks, work.candidates, _timed(work)
    starters = (one for one in firsts(candidates)[: -(-n // 2)] if one not in timed)
    fresh = [*timed, *starters][: max(n, len(timed))]
    tried, ranked = list[Scouted](), list[Scouted]()
    _tell_rung(work, plan, 0)
    while fresh:
        _train(work, plan, 0, fresh, until)
        tried += fresh
        ranked = _ranked(work, plan, 0, tried)
        if ranked and len(tried) >= n:
            break
        waiting = [one for one in candidates if one not in tried]
        fresh = more(waiting, ranked or tried, n - len(tried) if len(tried) < n else n)
    return _told(work, plan, 0, ranked)


def _advanced(
    work: Racing, plan: RacePlan, place: int, field: Sequence[Scouted], until: float
) -> list[Scouted]:
    """The networks of a later round, best first; where none of them could be trained, the next ones."""
    n, ranked = plan.rungs[place].networks, list[Scouted]()
    _tell_rung(work, plan, place)
    while field and not ranked:
        running, field = field[:n], field[n:]
        _train(work, plan, place, running, until)
        ranked = _ranked(work, plan, place, running)
    return _told(work, plan, place, ranked)


def _train(work: Racing, plan: RacePlan, place: int, field: Sequence[Scouted], until: float) -> None:
    """Trains what of these is not trained yet in a round, and has time in it."""
    last = place == len(plan.rungs) - 1
    before = _settled(work, place)
    waiting = [one for one in field if key_of(one.arch) not in before]
    epochs = _epochs(work, plan, place, waiting)
    train_round(
        work,
        [one for one in waiting if key_of(one.arch) in epochs],
        epochs,
        place=place,
        threads=plan.threads[place],
        until=math.inf if last else until,
        mixed=last,
    )


def _ranked(work: Racing, plan: RacePlan, place: int, field: Sequence[Scouted]) -> list[Scouted]:
    """Those of a round that could be trained, best first."""
    last, done = place == len(plan.rungs) - 1, _done(work, place)
    scores = {key: one.accuracy if last else _by_loss(one) for key, one in done.items()}
    return promoted(field, [scores.get(key_of(one.arch)) for one in field])


def _by_loss(one: Raced) -> float | None:
    """The score of a short training: its loss in the last epoch, over all training images.

    A few thousand validation images tell networks apart that differ by a point or two; the loss is of ten
    times as many, and while a training is short nothing is learned by heart ("Speedy Performance Estimation
    for Neural Architecture Search", Ru et al., NeurIPS 2021, section 3).
    """
    return None if one.train_loss is None else -one.train_loss


def _planned(work: Racing) -> RacePlan:
    """The plan that was begun with, or one for the time that is left."""
    file, recipe = work.folder / PLAN, work.recipe
    if file.exists():
        return RacePlan.from_json(read_json(file))
    own, last = recipe.race, Rung(networks=work.finalists, epochs=recipe.train.epochs)
    steps = {"first_epochs": own.epochs, "keep": own.keep, "last": work.finalists}
    threads, pace = work.threads(work.workers), 0.0
    if work.clock is None:
        first = rungs(networks=min(own.networks, len(work.candidates)), **steps)
    else:
        choosing_s = RANKING * work.clock.training_s
        pace = _first_pace(work, own.epochs, threads)
        first = affordable(choosing_s * work.workers / pace, most=len(work.candidates), **steps)
        first = first or (Rung(networks=len(_timed(work)), epochs=own.epochs),)  # they are trained already
    whole = (*first, last)
    plan = RacePlan(
        rungs=tuple(RungRecord(networks=one.networks, epochs=one.epochs) for one in whole),
        seconds_per_epoch=round(pace, 3),
        workers=work.workers,
        threads=tuple(work.threads(one.networks) for one in whole),
    )
    write_json(file, plan.to_json())
    return plan


def _first_pace(work: Racing, epochs: int, threads: int) -> float:
    """Seconds of an epoch: of the first networks of the race, trained as the first rung trains."""
    before = _done(work, 0)
    field = [one for one in _timed(work) if key_of(one.arch) not in before]
    train_round(work, field, {key_of(one.arch): epochs for one in field}, place=0, threads=threads)
    found = [one.seconds / one.epochs for one in _done(work, 0).values() if not one.error]
    return max(found, default=0.0) or pace_of(work, work.candidates[-1], threads)


def _timed(work: Racing) -> Sequence[Scouted]:
    """The networks that are trained before a plan is made, to make it by."""
    return work.candidates[: work.workers] if work.clock else ()


def _epochs(work: Racing, plan: RacePlan, place: int, field: Sequence[Scouted]) -> dict[str, int]:
    """Epochs of each network in a round, by the key of its arch.

    With minutes all have equal time, as in the final training, which has so many seconds whatever is trained:
    one whose epochs take twice as long gets half of them. One for which there is time for less than half an
    epoch is left out of a round before the last: the others would wait for what it cannot show.
    """
    if work.clock is None:
        return {key_of(one.arch): plan.rungs[place].epochs for one in field}
    if place < len(plan.rungs) - 1:
        first = work.candidates[0]
        paces = _paces(work, plan, place, [first, *field])
        seconds = plan.rungs[place].epochs * paces[key_of(first.arch)]
        shares = {key_of(one.arch): seconds / paces[key_of(one.arch)] for one in field}
        if slow := sum(share < _LEAST_SHARE for share in shares.values()):
            work.console.say(f"{slow} of them left out: an epoch would take over twice the time of each")
        return {key: max(1, round(share)) for key, share in shares.items() if share >= _LEAST_SHARE}
    paces = _paces(work, plan, place, field)
    for line in _lines(work):  # a few steps are easily held up by other programs
        key = key_of(line.arch)
        if key in paces and line.rung < place and line.seconds and not line.error:
            paces[key] = min(paces[key], line.seconds / line.epochs)
    seconds = _final_s(work) if field else 0.0
    return {key_of(one.arch): max(1, math.floor(seconds / paces[key_of(one.arch)])) for one in field}


def _paces(work: Racing, plan: RacePlan, place: int, field: Sequence[Scouted]) -> dict[str, float]:
    """Seconds of an epoch of each network in a round, by the key of its arch; those once measured are read.

    One that fails has the plan's: its training fails likewise, and costs it alone.
    """
    file, threads = work.folder / PACES, plan.threads[place]
    known: dict[str, dict[str, float]] = read_json(file) if file.exists() else {}
    found = known.setdefault(str(threads), {})
    for one in field:
        if key_of(one.arch) not in found:
            try:
                found[key_of(one.arch)] = round(pace_of(work, one, threads), 4)
            except Exception:  # whatever a user's network raises; a training tells it
                found[key_of(one.arch)] = plan.seconds_per_epoch
    write_json(file, known)
    return found


def _final_s(work: Racing) -> float:
    """Seconds of the final training, written down when it begins."""
    assert work.clock is not None
    file = work.folder / FINAL
    if not file.exists():
        write_json(file, {"seconds": round(work.clock.training_s, 1)})
    return float(read_json(file)["seconds"])


def _tell_rung(work: Racing, plan: RacePlan, place: int) -> None:
    rung, last = plan.rungs[place], place == len(plan.rungs) - 1
    what = "final training of" if last else "training"
    networks = f"{rung.networks} network{'s' if rung.networks > 1 else ''}"
    long = f"{rung.epochs} epoch{'s' if rung.epochs > 1 else ''}"
    left = ""
    if work.clock:
        seconds = work.clock.training_s if last else rung.epochs * plan.seconds_per_epoch
        long = f"{seconds / 60:.1f} minutes" if seconds > 90 else f"{seconds:.0f} s"
        left = f"; {work.clock.left_s / 60:.1f} minutes are left"
    work.console.say(f"{what} {networks}, {long}{' each' if rung.networks > 1 else ''}{left}")


def _told(work: Racing, plan: RacePlan, place: int, ranked: list[Scouted]) -> list[Scouted]:
    """The networks, best first, after the best of them was told.

    Raises:
        ValueError: there is none.
    """
    done = _done(work, place)
    if not ranked:
        reasons = [one.error for one in done.values() if one.error]
        raise ValueError(f"no network of the race could be trained: {reasons[0] if reasons else 'no reason'}")
    last = place == len(plan.rungs) - 1
    first, ended = ranked[0], done[key_of(ranked[0].arch)]
    which = (
        "best"
        if last or len(ranked) == 1
        else f"lowest training loss of {len(ranked)} ({ended.train_loss:.3f})"
    )
    work.console.say(
        f"  {which}: {ended.accuracy or 0.0:.1%} on validation, {in_units(first.macs)} MACs, "
        f"{first.latency_ms:.4g} ms in {first.precision}"
    )
    return ranked


def _lines(work: Racing) -> list[Raced]:
    """All trainings that ended."""
    return [Raced.from_json(line) for line in read_lines(work.file)]


def _done(work: Racing, place: int) -> dict[str, Raced]:
    """The trainings of a round that ended."""
    return {key_of(one.arch): one for one in _lines(work) if one.rung == place}


def _settled(work: Racing, place: int) -> dict[str, Raced]:
    """Those that are not done again: what failed for other reasons than its numbers (a full disk, a worker
    that was killed) may succeed in another process."""
    done = _done(work, place)
    return {key: one for key, one in done.items() if not one.error or DIVERGED in one.error}


def _summary(work: Racing, field: Sequence[Scouted], accuracies: Sequence[float]) -> SearchSummary:
    """The finalists, measured with their weights."""
    finalists = Finalists(
        space=work.space, target=work.target, limit_ms=work.limit_ms, run=work.run, console=work.console
    )
    return SearchSummary(
        limit_ms=work.limit_ms,
        confidence=work.recipe.search.confidence,
        reference=(0.0, work.limit_ms),
        front=tuple(finalists.entries(work.recipe.name, field, accuracies)),
        largest=None,
        scored_images=len(work.data.splits.val),
    )
