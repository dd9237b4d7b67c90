"""The search without shared weights: networks trained alone, the better ones longer, the best to the end."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from compress.target import Target
from nas.search.halving import Rung, affordable, promoted, rungs
from nas.search.pool import Outcome, Pool, SerialPool
from nas.supernet import Supernet
from results.files import append_line, read_json, read_lines, write_json
from results.numbers import count as in_units
from results.records import Raced, RacePlan, RungRecord, Scouted, SearchSummary
from runners.console import Console
from runners.data.prepared import RunData
from runners.measuring.machine import cores
from runners.pools.evaluate_all import evaluate_all
from runners.pools.known import key_of
from runners.pools.ray_pool import RayPool
from runners.recipe.schema import Recipe
from runners.scoring.alone import AlonePlan, AloneTrainer, worker_trainer
from runners.scoring.following import following
from runners.scoring.networks import own_calibration
from runners.stages.clock import RANKING, Clock
from runners.stages.finalists import WEIGHTS, Finalists
from runners.stages.starters import starters
from runners.stages.train import mix_of, train_settings, training_data
from runners.training.loop import DivergedError
from runners.training.pace import seconds_per_epoch
from runners.training.threads import computing_with
from search_spaces.space import Arch, SearchSpace

RACE, PLAN = "race.jsonl", "plan.json"
MOST_RACED = 24
"""Networks near the limit that are looked for where a run was given minutes."""
_LEAST_EPOCHS = 1
_SLACK = 1.3  # times the time for choosing, before no further network is begun
DIVERGED = DivergedError.__name__  # begins the reason of a training whose numbers were not finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Racing:
    """What a race works with.

    Attributes:
        space: space of the networks.
        data: what they are trained on; they are judged on its validation images.
        target: finalists are measured on it.
        candidates: networks that use the limit, the likeliest first.
        limit_ms: limit on the latency.
        recipe: recipe of the run.
        device: device to train on.
        clock: time of the run; None where the recipe says how long networks are trained.
        run: folder of the run; ``search/`` is written there.
        console: console of the run.
    """

    space: SearchSpace
    data: RunData
    target: Target
    candidates: Sequence[Scouted]
    limit_ms: float
    recipe: Recipe
    device: torch.device
    clock: Clock | None
    run: Path
    console: Console

    @property
    def folder(self) -> Path:
        """The folder that the race writes into."""
        return self.run / "search"

    @property
    def seed(self) -> int:
        """Seed of the trainings."""
        return self.recipe.seed_or(self.recipe.search.seed)

    @property
    def workers(self) -> int:
        """Networks trained at once: one where a GPU does it."""
        return 1 if self.device.type != "cpu" else self.recipe.search.workers

    @property
    def finalists(self) -> int:
        """Networks that are trained to the end: as many as can be at once, two at most."""
        return min(self.recipe.race.finalists, self.workers, len(self.candidates))

    def threads(self, networks: int) -> int:
        """Threads of each of so many networks that are trained at once."""
        return max(1, len(cores()) // max(1, min(networks, self.workers)))


def race(work: Racing) -> SearchSummary:
    """Trains and chooses; writes ``race.jsonl`` as trainings end, the finalists' weights, and ``front.json``.

    Raises:
        ValueError: no network could be trained.
    """
    file = work.folder / RACE
    plan = _planned(work)
    until = math.inf if work.clock is None else time.monotonic() + _SLACK * RANKING * work.clock.training_s
    begun = _done(file, plan.rungs[0], 0)
    field = starters(work.candidates, plan.rungs[0].networks)
    field += [
        one for one in work.candidates if key_of(one.arch) in begun and one not in field
    ]  # timed for the plan
    for place, rung in enumerate(plan.rungs):
        last = place == len(plan.rungs) - 1
        if last:
            rung = _final(work, rung, field)
        _tell_rung(work, rung, last=last)
        ranked: list[Scouted] = []
        n = len(field) if place == 0 and not last else rung.networks
        while field and not ranked:  # where none of them could be trained, the next ones
            running, field = field[:n], field[n:]
            before = _settled(file, rung, place)
            waiting = [one for one in running if key_of(one.arch) not in before]
            time_limit = math.inf if last else until
            _train(work, waiting, rung, place, plan.threads[place], time_limit, mixed=last)
            done = _done(file, rung, place)
            scores = {key: one.accuracy if last else _by_loss(one) for key, one in done.items()}
            ranked = promoted(running, [scores.get(key_of(one.arch)) for one in running])
        if not ranked:
            reasons = [one.error for one in done.values() if one.error]
            raise ValueError(
                f"no network of the race could be trained: {reasons[0] if reasons else 'no reason'}"
            )
        _tell_result(work, ranked, done, last=last)
        field = ranked
    summary = _summary(work, field, [done[key_of(one.arch)].accuracy or 0.0 for one in field])
    write_json(work.folder / "front.json", summary.to_json())
    shutil.rmtree(work.folder / WEIGHTS / "under_way", ignore_errors=True)
    return summary


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
    rung = RungRecord(networks=work.workers, epochs=epochs)
    field = work.candidates[: work.workers]
    before = _done(work.folder / RACE, rung, 0)
    _train(work, [one for one in field if key_of(one.arch) not in before], rung, 0, threads, math.inf)
    done = _done(work.folder / RACE, rung, 0).values()
    return max((one.seconds / epochs for one in done if not one.error), default=0.0) or _pace(
        work, work.candidates[-1], threads
    )


def _pace(work: Racing, one: Scouted, threads: int) -> float:
    """Seconds of an epoch of a network, trained with so many threads."""
    network = Supernet(work.space.only(one.arch), seed=work.seed, device=work.device)
    with computing_with(threads):
        data = training_data(work.data, work.recipe.train, work.device)
        return seconds_per_epoch(network, data, train_settings(work.recipe.train))


def _final(work: Racing, rung: RungRecord, field: Sequence[Scouted]) -> RungRecord:
    """The final training with as many epochs as the time allows, written down when it begins."""
    file = work.folder / "final.json"
    if work.clock is None:
        return rung
    if not file.exists():
        threads = work.threads(rung.networks)
        slowest = max(_pace(work, one, threads) for one in field[: rung.networks])
        if known := [one.seconds / one.epochs for one in _finished(work, field[: rung.networks])]:
            slowest = min(slowest, max(known))  # a few steps are easily held up by other programs
        epochs = max(_LEAST_EPOCHS, math.floor(work.clock.training_s / slowest))
        write_json(file, RungRecord(networks=rung.networks, epochs=epochs).to_json())
    return RungRecord.from_json(read_json(file))


def _finished(work: Racing, field: Sequence[Scouted]) -> list[Raced]:
    """The longest training so far of each of these networks."""
    keys = {key_of(one.arch) for one in field}
    lines = [Raced.from_json(line) for line in read_lines(work.folder / RACE)]
    longest = {key_of(one.arch): one for one in sorted(lines, key=lambda one: one.epochs) if not one.error}
    return [one for key, one in longest.items() if key in keys]


def _train(
    work: Racing,
    field: Sequence[Scouted],
    rung: RungRecord,
    place: int,
    threads: int,
    until: float,
    *,
    mixed: bool = False,
) -> None:
    """Trains the networks of a rung, a line for each as it is done; none is begun after a time.

    Images are mixed in the final training alone, as the recipe has it: that keeps long trainings from
    learning by heart, and only blurs short ones.
    """
    if not field:
        return
    plan = _alone(work, rung.epochs, threads, mixed=mixed)
    with (
        work.console.progress(f"training {len(field)} networks") as bar,
        following(plan, [one.arch for one in field], bar.update),
        closing(_pool(work, plan, len(field))) as pool,
    ):

        def on_done(told: Outcome) -> None:
            outcome, one = _usable(told), field[told.ticket]
            entry = Raced(
                rung=place,
                epochs=rung.epochs,
                arch=one.arch,
                precision=one.precision,
                latency_ms=one.latency_ms or math.nan,
                macs=one.macs,
                accuracy=None if outcome.scores is None else outcome.scores["accuracy"],
                train_loss=None if outcome.scores is None else outcome.scores["train_loss"],
                seconds=round(outcome.seconds + (outcome.scores or {}).get("earlier_s", 0.0), 1),
                error=outcome.error,
            )
            append_line(work.folder / RACE, entry.to_json())
            if outcome.error:
                work.console.warn(f"a network could not be trained: {outcome.error}")

        evaluate_all(pool, _in_time(work, field, until), on_done)


def _usable(outcome: Outcome) -> Outcome:
    """An outcome of numbers; a score that is none is a failure."""
    if outcome.scores is None or all(map(math.isfinite, outcome.scores.values())):
        return outcome
    return replace(outcome, scores=None, error=f"{DIVERGED}: the trained network's score is not a number")


def _in_time(work: Racing, field: Sequence[Scouted], until: float) -> Iterator[tuple[int, Arch]]:
    """Tickets and archs; none is begun after a time, for a machine that turns out slower than it was."""
    for ticket, one in enumerate(field):
        if time.monotonic() > until and ticket >= work.workers:
            work.console.warn(
                f"{len(field) - ticket} networks are left untrained: the time for choosing is over"
            )
            return
        yield ticket, one.arch


def _alone(work: Racing, epochs: int, threads: int, *, mixed: bool) -> AlonePlan:
    recipe, data = work.recipe, work.data
    return AlonePlan(
        space=work.space,
        settings=replace(train_settings(recipe.train), epochs=epochs),
        prepare=data.prepare,
        mix=mix_of(recipe.train, len(data.classes)) if mixed else None,
        task=data.task,
        seed=work.seed,
        folder=(work.folder / WEIGHTS).resolve(),
        threads=threads if work.device.type == "cpu" else 0,
    )


def _pool(work: Racing, plan: AlonePlan, networks: int) -> Pool:
    """Ray workers on a CPU; one network after the other on a GPU, or where one is trained at once."""
    data, device, val = work.data, work.device, work.data.splits.val
    images, labels = data.training_tensors(device)
    trainer = AloneTrainer(
        plan=plan,
        images=images,
        labels=labels,
        calibration=own_calibration(data).to(device),
        val_images=data.images(val).to(device),
        val_labels=val.labels.to(device),
    )
    workers = min(work.workers, networks)
    if device.type != "cpu" or (workers == 1 and not work.recipe.search.ray_address):
        return SerialPool(trainer)
    return RayPool(
        partial(worker_trainer, plan),
        trainer.arrays(),
        workers=workers,
        address=work.recipe.search.ray_address or None,
    )


def _tell_rung(work: Racing, rung: RungRecord, *, last: bool) -> None:
    networks = f"{rung.networks} network{'s' if rung.networks > 1 else ''}"
    what = "final training of" if last else "training"
    epochs = f"{rung.epochs} epoch{'s' if rung.epochs > 1 else ''}{' each' if rung.networks > 1 else ''}"
    left = f"; {work.clock.left_s / 60:.1f} minutes are left" if work.clock else ""
    work.console.say(f"{what} {networks}, {epochs}{left}")


def _tell_result(work: Racing, ranked: Sequence[Scouted], done: dict[str, Raced], *, last: bool) -> None:
    first, ended = ranked[0], done[key_of(ranked[0].arch)]
    place = (
        "best"
        if last or len(ranked) == 1
        else f"lowest training loss of {len(ranked)} ({ended.train_loss:.3f})"
    )
    work.console.say(
        f"  {place}: {ended.accuracy or 0.0:.1%} on validation, {in_units(first.macs)} MACs, "
        f"{first.latency_ms:.4g} ms in {first.precision}"
    )


def _done(file: Path, rung: RungRecord, place: int) -> dict[str, Raced]:
    """The trainings of a rung that ended."""
    lines = [Raced.from_json(line) for line in read_lines(file)]
    return {key_of(one.arch): one for one in lines if (one.rung, one.epochs) == (place, rung.epochs)}


def _settled(file: Path, rung: RungRecord, place: int) -> dict[str, Raced]:
    """Those that are not done again: what failed for other reasons than its numbers (a full disk, a worker
    that was killed) may succeed in another process."""
    done = _done(file, rung, place)
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
