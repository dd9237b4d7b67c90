"""A round of a race: networks trained alone, as many at once as there are workers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from compress.target import Target
from nas.search.pool import Outcome, Pool, SerialPool
from nas.supernet import Supernet
from results.files import append_line
from results.records import Raced, Scouted
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
from runners.stages.clock import Clock
from runners.stages.finalists import WEIGHTS
from runners.stages.train import mix_of, train_settings, training_data
from runners.training.loop import DivergedError
from runners.training.pace import seconds_per_epoch
from runners.training.threads import computing_with
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.preset_sizes import TRAINING

RACE = "race.jsonl"
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
    def file(self) -> Path:
        """The file of its trainings."""
        return self.folder / RACE

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


def pace_of(work: Racing, one: Scouted, threads: int) -> float:
    """Seconds of an epoch of a network, trained with so many threads."""
    network = Supernet(work.space.only(one.arch), seed=work.seed, device=work.device)
    with computing_with(threads):
        data = training_data(work.data, work.recipe.train, work.device)
        return seconds_per_epoch(network, data, train_settings(work.recipe.train))


def train_round(
    work: Racing,
    field: Sequence[Scouted],
    epochs: Mapping[str, int],
    *,
    place: int,
    threads: int,
    until: float = math.inf,
    mixed: bool = False,
) -> None:
    """Trains networks, a line of ``race.jsonl`` for each as it is done.

    Args:
        work: the race.
        field: networks to train.
        epochs: epochs of each, by the key of its arch.
        place: place of the round among those of the race.
        threads: threads of each.
        until: time, by ``time.monotonic``, after which none is begun.
        mixed: whether images are mixed, as the recipe has it: that keeps long trainings from learning by
            heart, and only blurs short ones.
    """
    if not field:
        return
    plan = _alone(work, field, epochs, threads, mixed=mixed)
    with (
        work.console.progress(f"training {len(field)} networks") as bar,
        following(plan, [one.arch for one in field], bar.update),
        closing(_pool(work, plan, len(field))) as pool,
    ):

        def on_done(told: Outcome) -> None:
            outcome, one = _usable(told), field[told.ticket]
            entry = Raced(
                rung=place,
                epochs=epochs[key_of(one.arch)],
                arch=one.arch,
                precision=one.precision,
                latency_ms=one.latency_ms or math.nan,
                macs=one.macs,
                accuracy=None if outcome.scores is None else outcome.scores["accuracy"],
                train_loss=None if outcome.scores is None else outcome.scores["train_loss"],
                seconds=round(outcome.seconds + (outcome.scores or {}).get("earlier_s", 0.0), 1),
                error=outcome.error,
                training_macs=0.0
                if outcome.error
                else float(TRAINING * one.macs * epochs[key_of(one.arch)] * len(work.data.splits.train)),
            )
            append_line(work.file, entry.to_json())
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


def _alone(
    work: Racing, field: Sequence[Scouted], epochs: Mapping[str, int], threads: int, *, mixed: bool
) -> AlonePlan:
    recipe, data = work.recipe, work.data
    return AlonePlan(
        space=work.space,
        settings=train_settings(recipe.train),
        epochs={key_of(one.arch): epochs[key_of(one.arch)] for one in field},
        prepare=data.prepare,
        mix=mix_of(recipe.train, len(data.classes)) if mixed else None,
        task=data.task,
        balance=data.balance,
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
