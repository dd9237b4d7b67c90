"""The trainings of compression: further and from scratch, each written down when it ends."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from compress.candidate import Finetuning, Retraining
from compress.plain import faithful_copy
from compress.target import Target
from nas.costs.counts.analytic import count
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from results.files import append_line, read_lines
from results.records import FrontEntry, StepRecord, TrainingRecord
from runners.console import Console
from runners.data.prepared import RunData
from runners.recipe.schema import Recipe
from runners.scoring.networks import Networks
from runners.stages.clock import Clock
from runners.stages.teachers import Teachers
from runners.stages.train import train_settings, training_data
from runners.training.finetuning import Taught, digest, finetune, finetuning_pace
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from runners.training.watch import Watch
from search_spaces.spaces.preset_sizes import TRAINING

TRAININGS = "trainings.jsonl"
_AFTER_S = 15.0  # for export and report, which come after
_KEPT = "teachers"
_UNDER_WAY = "checkpoints"  # of trainings; a step that has ended leaves none


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressing:
    """What compression works with.

    Attributes:
        networks: Networks with their weights.
        data: Data to train on, to calibrate with, and to judge by.
        target: Target that files are made for and measured on.
        recipe: Recipe of the run.
        device: Device that networks are trained on.
        folder: Folder ``compress/`` of the run.
        console: Console of the run.
        clock: Time of the run, which trainings keep to; None where it has no end.
    """

    networks: Networks
    data: RunData
    target: Target
    recipe: Recipe
    device: torch.device
    folder: Path
    console: Console
    clock: Clock | None = None


def retraining(
    work: Compressing, entry: FrontEntry, on_step: Callable[[int, int], None], begun: nn.Module
) -> Retraining:
    """Training of the network of an entry from scratch, with the supernet's settings.

    Args:
        work: What compression works with.
        entry: Entry of the front.
        on_step: Called with steps done and steps in all.
        begun: Its network as compression began with it, which may teach.
    """

    def retrained(*, seed: int, epochs: int | None = None, taught: bool = False) -> nn.Module:
        recipe, space = work.recipe, work.networks.space
        settings = replace(train_settings(recipe.train), epochs=epochs or recipe.train.epochs)
        # One that failed leaves its own behind.
        name = f"{entry.name}-{settings.epochs}-{seed}{'-taught' if taught else ''}"
        checkpoint = work.folder / _UNDER_WAY / f"{name}.safetensors"
        steps = _Steps(on_step)
        data, watch = training_data(work.data, recipe.train, work.device), Watch(step=steps)
        teaching = _taught(work, begun, on_step) if taught else Taught()
        if taught:
            fresh = Supernet(space.only(entry.arch), seed=seed, device=work.device).extract(entry.arch)
            trained = finetune(
                fresh, data, settings, taught=teaching, seed=seed, checkpoint=checkpoint, watch=watch
            )
        else:
            trained = train_alone(
                space, entry.arch, data, settings, seed=seed, checkpoint=checkpoint, watch=watch
            ).extract(entry.arch)
        network = recalibrate(trained.cpu(), work.data.calibration)
        _note(work, "from scratch", network, settings, steps, teaching)
        checkpoint.unlink(missing_ok=True)
        return network

    return retrained


def _taught(work: Compressing, begun: nn.Module | None, on_step: Callable[[int, int], None]) -> Taught:
    """What networks learn from the teachers of the recipe, who are asked once where it says so."""
    settings = work.recipe.compress.recovery
    teachers = Teachers(settings=settings, largest=work.networks.teacher(), device=work.device)
    found = teachers.of(begun)
    return teachers.kept(found, work.data, work.folder / _KEPT, on_step) if settings.views else found


def finetuning(
    work: Compressing, on_step: Callable[[int, int], None], begun: nn.Module | None = None
) -> Finetuning:
    """Training of a network further, on labels and on what teachers give.

    Args:
        work: What compression works with.
        on_step: Called with steps done and steps in all.
        begun: Network as compression began with it, which may teach.
    """

    taught = cache(partial(_taught, work, begun, on_step))

    def finetuned(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        recipe, data = work.recipe.compress, work.data
        network, training = network.to(work.device), training_data(data, work.recipe.train, work.device)
        settings = finetune_settings(work.recipe, recipe.recovery.epochs if epochs is None else epochs)
        if work.clock is not None:
            pace_s = finetuning_pace(network, training, settings, taught=taught(), seed=seed)
            settings = _in_time(settings, pace_s, work.clock)
        steps = _Steps(on_step)
        tuned = finetune(
            network,
            training,
            settings,
            taught=taught(),
            seed=seed,
            checkpoint=work.folder / _UNDER_WAY / f"{digest(network, settings, seed)}.safetensors",
            watch=Watch(step=steps),
        )
        network = tuned.cpu()
        _note(work, "further", network, settings, steps, taught())
        return network

    return finetuned


def finetune_settings(recipe: Recipe, epochs: int) -> TrainSettings:
    """How networks are trained further, from the recipe; ``epochs`` passes over the training images.

    As the supernet was, but labels are not smoothed, which is what the teacher's outputs are there for.
    """
    return replace(
        train_settings(recipe.train),
        epochs=epochs,
        optimizer="adamw",  # steps of its size are for weights that are nearly right
        learning_rate=recipe.compress.recovery.learning_rate,
        layer_decay=recipe.compress.recovery.layer_decay,
        warmup_epochs=0.5,
        label_smoothing=0.0,
        distillation="kl",
    )


def _in_time(settings: TrainSettings, pace_s: float, clock: Clock) -> TrainSettings:
    """The settings with as many epochs as the run has time for, no more than before.

    Args:
        settings: Settings of the training loop.
        pace_s: Seconds of an epoch.
        clock: Time of the run.

    Raises:
        ValueError: there is no time for one epoch.
    """
    epochs = min(settings.epochs, math.floor((clock.left_s - _AFTER_S) / pace_s))
    if settings.epochs and epochs < 1:
        raise ValueError(f"an epoch of training takes {pace_s:.0f} s, for which the run has no time left")
    return replace(settings, epochs=epochs)


class _Steps:
    """Knows whether a training does any steps in this process; what is told goes on to ``on_step``."""

    def __init__(self, on_step: Callable[[int, int], None]) -> None:
        self._on_step, self.any = on_step, False
        self._began = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        self.any = True
        self._on_step(done, total)

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began


def _note(
    work: Compressing, way: str, network: nn.Module, settings: TrainSettings, steps: _Steps, taught: Taught
) -> None:
    """Writes a training down that has ended; ``recorded`` says whose it was when the step is over.

    One that had ended in a process that was killed before the step was over is there already.
    """
    if not steps.any:
        return
    shape, images = work.data.input_shape, len(work.data.splits.train)
    each = TRAINING * _macs(network, shape) + sum(_macs(one, shape) for one in taught.teachers)
    record = TrainingRecord(
        network="",
        step="",
        way=way,
        epochs=settings.epochs,
        macs=float(settings.epochs * images * each),
        seconds=round(steps.seconds, 2),
    )
    append_line(work.folder / _UNDER_WAY / TRAININGS, record.to_json())


def _macs(network: object, shape: tuple[int, ...]) -> int:
    """MACs of a network for one input; of what is none, or cannot be counted, nothing is known."""
    if not isinstance(network, nn.Module):
        return 0
    try:
        return count(faithful_copy(network).cpu(), shape).macs
    except Exception:  # whatever a user's network raises: no training is lost for its account
        return 0


def recorded(work: Compressing, record: StepRecord) -> None:
    """Says how a step ended, and whose its trainings were.

    A step is over: what its trainings would have gone on from is of no more use.
    """
    for line in read_lines(work.folder / _UNDER_WAY / TRAININGS):
        one = replace(TrainingRecord.from_json(line), network=record.network, step=record.step)
        append_line(work.folder / TRAININGS, one.to_json())
    shutil.rmtree(work.folder / _UNDER_WAY, ignore_errors=True)
    outcome = "kept" if record.kept else "undone"
    work.console.say(f"{record.network}, {record.step}: {outcome}; {record.reason} ({record.seconds:.0f} s)")
