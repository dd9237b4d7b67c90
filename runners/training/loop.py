"""The training loop of supernets and of single networks.

Which subnets run in a step is the rule's business (``nas.rules``), what is trained the trainable's, and what
for the task's (``runners.tasks``).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from nas.rules.moment import History, Moment, Pass, Rule
from runners.training.batches import (
    TrainingData,
    batches,
    batches_per_epoch,
    channels_last,
    generator,
    kept_of,
)
from runners.training.checkpoint import TrainingState, course_of, load_checkpoint, save_checkpoint
from runners.training.memory import keep_freed_memory
from runners.training.optimizers import optimizer_of
from runners.training.passes import run_passes
from runners.training.precision import resolve
from runners.training.ranks import ALONE, Ranks
from runners.training.schedule import warmup_cosine
from runners.training.settings import TrainSettings
from runners.training.trainable import Trainable
from runners.training.watch import SILENT, EpochSummary, Watch

_REMEMBERED = 2048  # passes: what rules that learn from the history look back on

M = TypeVar("M")


class DivergedError(ValueError):
    """The loss or the gradient became infinite or NaN."""


def train(
    trainable: Trainable[M],
    data: TrainingData,
    settings: TrainSettings,
    *,
    rule: Rule,
    seed: int,
    checkpoint: Path | None = None,
    watch: Watch = SILENT,
    ranks: Ranks = ALONE,
) -> M:
    """Trains a supernet or a network, going on from the checkpoint if there is one.

    Args:
        trainable: what is trained, in place.
        data: what it is trained on, and for which task.
        settings: how it is trained.
        rule: training rule, which says what networks run in a step and what each learns from.
        seed: seed of data order, augmentation and sampling.
        checkpoint: file to go on from and to write, left in place at the end; None keeps nothing.
        watch: who follows the training.
        ranks: the place of this process among those that train together; all give the same arguments, and
            only rank 0 writes the checkpoint.

    Returns:
        The model to use: with the averaged weights where an average is kept.

    Raises:
        DivergedError: a loss or the gradient is not finite; names the step, the arch of the loss and the
            checkpoint.
        LostProcessError: another process of the training is gone.
        ValueError: the checkpoint is damaged or another training's; a batch cannot be shared equally.
    """
    keep_freed_memory()
    course = _Course(
        rule=rule,
        data=data,
        settings=settings,
        seed=seed,
        checkpoint=checkpoint,
        ranks=ranks,
        precision=resolve(settings.precision, trainable, data),
        per_epoch=batches_per_epoch(len(data.images), settings.batch_size),
    )
    state = _start(trainable, settings, course_of(trainable, settings, seed) if checkpoint else "")
    if checkpoint and checkpoint.exists():
        load_checkpoint(checkpoint, state)
    for epoch in range(state.progress.step // course.per_epoch, settings.epochs):
        _epoch(course, state, epoch, watch)
        if watch.epoch:
            judged = trainable.averaged(state.average) if state.average else trainable.model
            watch.epoch(_summary(course, state), judged)
        state.progress.loss_sum = state.progress.seconds = 0.0
        course.save(state)
    return trainable.finished(state.average) if state.average else trainable.model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """What stays the same over a training."""

    rule: Rule
    data: TrainingData
    settings: TrainSettings
    seed: int
    checkpoint: Path | None
    ranks: Ranks
    precision: str
    per_epoch: int

    @property
    def total(self) -> int:
        return self.per_epoch * self.settings.epochs

    def rate(self, step: int) -> float:
        warmup = min(round(self.settings.warmup_epochs * self.per_epoch), self.total // 2)
        return self.settings.learning_rate * warmup_cosine(step, total=self.total, warmup=warmup)

    def save(self, state: TrainingState) -> None:
        if self.checkpoint and self.ranks.rank == 0:
            save_checkpoint(self.checkpoint, state)


def _start(trainable: Trainable[Any], settings: TrainSettings, course: str) -> TrainingState:
    optimizer = optimizer_of(trainable, settings)
    weights, average = trainable.weights(), {}
    if settings.average_decay:  # of counters there is none
        average = {name: one.detach().clone() for name, one in weights.items() if one.is_floating_point()}
    return TrainingState(
        trainable=trainable, optimizer=optimizer, average=average, names=frozenset(weights), course=course
    )


def _epoch(course: _Course, state: TrainingState, epoch: int, watch: Watch) -> None:
    """The steps of an epoch that are still to do, with checkpoints on the way."""
    progress, settings = state.progress, course.settings
    saved = began = time.monotonic()
    for batch, target in batches(
        course.data,
        batch_size=settings.batch_size,
        seed=course.seed,
        epoch=epoch,
        start=progress.step - epoch * course.per_epoch,
    ):
        _step(course, state, batch, target)
        progress.seconds += time.monotonic() - began
        if watch.step:
            watch.step(progress.step, course.total)
        # The last step of an epoch is saved once the epoch has been judged.
        if progress.step % course.per_epoch and time.monotonic() - saved > settings.checkpoint_s:
            course.save(state)
            saved = time.monotonic()
        began = time.monotonic()


def _summary(course: _Course, state: TrainingState) -> EpochSummary:
    progress = state.progress
    images = course.per_epoch * min(len(course.data.images), course.settings.batch_size)
    return EpochSummary(
        epoch=progress.step // course.per_epoch - 1,
        step=progress.step,
        loss=progress.loss_sum / course.per_epoch,
        learning_rate=course.rate(progress.step - 1),
        seconds=progress.seconds,
        images_per_second=images / max(progress.seconds, 1e-9),
    )


def _step(course: _Course, state: TrainingState, batch: Tensor, target: Tensor) -> None:
    """One step: what the rule says now, its gradients summed, one update of the weights and their average."""
    progress, trainable = state.progress, state.trainable
    moment = Moment(
        space=trainable.space,
        rng=np.random.default_rng([course.seed, progress.step]),
        progress=progress.step / course.total,
        size=trainable.size,
        history=state.history,
    )
    passes = course.rule(moment)
    told, networks = _gradients(course, state, batch, target, passes)
    norm = trainable.clip_gradient(course.settings.gradient_clip)
    *losses, largest = torch.cat([told, norm[None]]).tolist()  # one transfer from the device for all
    _check_finite(course, passes, losses, largest, progress.step)
    _update(course, state, networks)
    state.history = _remember(moment, passes, losses)
    progress.step += 1
    progress.loss_sum += _on_labels(passes, losses)


def _gradients(
    course: _Course, state: TrainingState, batch: Tensor, target: Tensor, passes: Sequence[Pass]
) -> tuple[Tensor, list[nn.Module]]:
    """Fills the gradients; returns the loss of each pass and the networks that ran."""
    trainable, settings, ranks = state.trainable, course.settings, course.ranks
    trainable.zero_grad()
    key = (course.seed, state.progress.step, *([ranks.rank] if ranks.rank else []))
    with _seeded(generator(*key).initial_seed(), trainable.device):
        losses, networks = run_passes(
            trainable,
            channels_last(ranks.share(batch).to(trainable.device, non_blocking=True)),
            ranks.share(target).to(trainable.device, non_blocking=True),
            passes,
            task=course.data.task,
            kept=_kept(course, state.progress.step),
            label_smoothing=settings.label_smoothing,
            distillation=settings.distillation,
            precision=course.precision,
        )
    return ranks.average(trainable.gradients(), losses), networks


def _kept(course: _Course, step: int) -> Tensor | None:
    """What was kept of teachers for the batch of a step."""
    epoch, index = divmod(step, course.per_epoch)
    found = kept_of(
        course.data, batch_size=course.settings.batch_size, seed=course.seed, epoch=epoch, index=index
    )
    return None if found is None else course.ranks.share(found)


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Fixed random numbers for dropout in users' networks; in each process others.

    On a CPU without ``torch.manual_seed``: it also notes, for each kind of device that is not there, who
    called it, which can take longer than a pass of a small network.
    """
    before = torch.default_generator.get_state()
    (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


def _check_finite(
    course: _Course, passes: Sequence[Pass], losses: Sequence[float], norm: float, step: int
) -> None:
    """Raises before what is not finite gets into the weights and the next checkpoint."""
    for loss, one in zip(losses, passes, strict=True):
        if not math.isfinite(loss):
            where = f" for arch {one.arch}" if one.arch else ""
            raise DivergedError(f"the loss is {loss} at step {step}{where}{_way_back(course.checkpoint)}")
    if not math.isfinite(norm):
        raise DivergedError(f"the gradient's norm is {norm} at step {step}{_way_back(course.checkpoint)}")


def _way_back(checkpoint: Path | None) -> str:
    lower = "lower its learning rate or gradient_clip and train again"
    if checkpoint is None:
        return f"; {lower}"
    return (
        f". The last good state is {checkpoint}{'' if checkpoint.exists() else ' (not written yet)'}; {lower}"
    )


def _update(course: _Course, state: TrainingState, networks: Sequence[nn.Module]) -> None:
    """One step of the optimizer on the gradients, and of the moving average after it."""
    trainable, step = state.trainable, state.progress.step
    trainable.expose_gradients(networks)
    for group in state.optimizer.param_groups:
        group["lr"] = course.rate(step) * group.get("scale", 1.0)
    state.optimizer.step()
    if state.average:
        # Early on the average follows faster: what it began with should not linger.
        decay = min(course.settings.average_decay, (step + 1) / (step + 10))
        _follow(state.average, trainable.weights(), decay)


@torch.no_grad()
def _follow(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    torch._foreach_lerp_(list(average.values()), [weights[name] for name in average], 1 - decay)


def _on_labels(passes: Sequence[Pass], losses: Sequence[float]) -> float:
    """The mean loss of the passes without a teacher, or of all where every pass has one."""
    found = [one for one, done in zip(losses, passes, strict=True) if done.teacher is None] or losses
    return sum(found) / len(found)


def _remember(moment: Moment, passes: Sequence[Pass], losses: Sequence[float]) -> History:
    """The history with these passes at its end; as it was where sizes are not known."""
    if moment.size is None:
        return moment.history
    before, space = moment.history, moment.space
    sizes = moment.size(np.stack([space.to_row(one.arch) for one in passes]))
    taught = [one.teacher is not None for one in passes]
    return History(
        sizes=np.append(before.sizes, sizes)[-_REMEMBERED:],
        losses=np.append(before.losses, losses)[-_REMEMBERED:],
        taught=np.append(before.taught, taught)[-_REMEMBERED:],
    )
