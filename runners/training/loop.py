"""The training loop of a supernet. Which subnets run in a step is the rule's business (``nas.rules``)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas.rules.moment import History, Moment, Pass, Rule, Size
from nas.supernet.supernet import Supernet
from runners.training.batches import Prepare, batches, batches_per_epoch, channels_last, generator
from runners.training.checkpoint import Progress, TrainingState, load_checkpoint, save_checkpoint
from runners.training.mixing import Mix
from runners.training.ranks import ALONE, Ranks
from runners.training.schedule import warmup_cosine
from runners.training.step import run_passes

_REMEMBERED = 2048  # passes: what rules that learn from the history look back on


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a supernet is trained.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: peak, of AdamW.
        weight_decay: of matrices and kernels; biases, norms and scales take none.
        warmup_epochs: of the linear rise to the peak; at most half of the training.
        label_smoothing: of the losses on labels.
        distillation: of the losses on a teacher's outputs, one of ``nas.distillation.DISTILLATIONS``.
        gradient_clip: largest norm of the whole gradient.
        average_decay: of the moving average of the weights; 0 keeps none.
        precision: ``fp32`` or ``bf16`` (autocast).
        checkpoint_seconds: between checkpoints within an epoch.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_epochs: float
    label_smoothing: float
    gradient_clip: float
    average_decay: float
    distillation: str = "kl"
    precision: str = "fp32"
    checkpoint_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSummary:
    """What one epoch did: the mean loss on labels, and the time of its steps, data included."""

    epoch: int
    step: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float


class DivergedError(ValueError):
    """The loss or the gradient became infinite or NaN."""


def train_supernet(
    supernet: Supernet,
    images: Tensor,
    labels: Tensor,
    prepare: Prepare,
    rule: Rule,
    settings: TrainSettings,
    *,
    seed: int,
    checkpoint: Path,
    on_step: Callable[[int, int], None],
    on_epoch: Callable[[EpochSummary, Supernet], None],
    size: Size | None = None,
    mix: Mix | None = None,
    ranks: Ranks = ALONE,
) -> Supernet:
    """Trains a supernet, going on from the checkpoint if there is one.

    Args:
        supernet: trained in place.
        images: (N, C, H, W) as stored, on any device.
        labels: (N,), int64.
        prepare: makes stored images into network input.
        rule: which subnets run in a step.
        settings: see there.
        seed: of data order, augmentation and sampling.
        checkpoint: file to go on from and to write; left in place at the end.
        on_step: called with (steps done, steps in all).
        on_epoch: called after each epoch with its summary and the supernet to be judged (the average, where
            one is kept), before the checkpoint that counts the epoch as done.
        size: how big archs are, for rules that draw by size; None lets them draw every choice uniformly.
        mix: mixes the images of a batch; None leaves them.
        ranks: the place of this process among those that train together; all give the same arguments, and
            only rank 0 writes the checkpoint.

    Returns:
        The supernet to use: the averaged weights where an average is kept.

    Raises:
        DivergedError: a loss or the gradient is not finite; names the step, the arch of the loss and the
            checkpoint.
        LostProcessError: another process of the training is gone.
        ValueError: the checkpoint is damaged or belongs to another space; a batch cannot be shared equally.
    """
    course = _Course(
        rule=rule,
        settings=settings,
        seed=seed,
        size=size,
        checkpoint=checkpoint,
        ranks=ranks,
        per_epoch=batches_per_epoch(len(images), settings.batch_size),
        images=min(len(images), settings.batch_size),
    )
    state = _start(supernet, settings)
    if checkpoint.exists():
        load_checkpoint(checkpoint, state)
    last_saved = time.monotonic()
    for epoch in range(state.progress.step // course.per_epoch, settings.epochs):
        began = time.monotonic()
        for batch, target in batches(
            images,
            labels,
            prepare,
            batch_size=settings.batch_size,
            seed=seed,
            epoch=epoch,
            start=state.progress.step - epoch * course.per_epoch,
            mix=mix,
        ):
            _step(course, state, batch, target)
            state.progress.seconds += time.monotonic() - began
            on_step(state.progress.step, course.total)
            # The last step of an epoch is saved below, once the epoch has been judged.
            due = time.monotonic() - last_saved > settings.checkpoint_seconds
            if due and state.progress.step % course.per_epoch and ranks.rank == 0:
                save_checkpoint(checkpoint, state)
                last_saved = time.monotonic()
            began = time.monotonic()
        on_epoch(_summary(course, state.progress), _judged(state))
        state.progress.loss_sum = state.progress.seconds = 0.0
        if ranks.rank == 0:
            save_checkpoint(checkpoint, state)
        last_saved = time.monotonic()
    return _judged(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """What stays the same over a training; ``images`` are those of a step."""

    rule: Rule
    settings: TrainSettings
    seed: int
    size: Size | None
    checkpoint: Path
    ranks: Ranks
    per_epoch: int
    images: int

    @property
    def total(self) -> int:
        return self.per_epoch * self.settings.epochs

    def rate(self, step: int) -> float:
        warmup = min(round(self.settings.warmup_epochs * self.per_epoch), self.total // 2)
        return self.settings.learning_rate * warmup_cosine(step, total=self.total, warmup=warmup)


def _start(supernet: Supernet, settings: TrainSettings) -> TrainingState:
    optimizer = torch.optim.AdamW(supernet.optimizer_groups(settings.weight_decay), fused=True)
    average = {}
    if settings.average_decay:
        average = {group: flat.clone() for group, flat in supernet.flat.items()}
    return TrainingState(supernet=supernet, optimizer=optimizer, average=average, progress=Progress())


def _judged(state: TrainingState) -> Supernet:
    if not state.average:
        return state.supernet
    return Supernet.reading(state.supernet.space, state.supernet.index, state.average)


def _summary(course: _Course, progress: Progress) -> EpochSummary:
    images = course.per_epoch * course.images
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
    progress, supernet = state.progress, state.supernet
    moment = Moment(
        space=supernet.space,
        rng=np.random.default_rng([course.seed, progress.step]),
        progress=progress.step / course.total,
        size=course.size,
        history=state.history,
    )
    passes = course.rule(moment)
    losses, used = _gradients(course, state, batch, target, passes)
    _check_finite(passes, losses, progress.step, course.checkpoint)
    _update(course, state, used)
    state.history = _remember(moment, passes, losses)
    progress.step += 1
    progress.loss_sum += _on_labels(passes, losses)


def _gradients(
    course: _Course, state: TrainingState, batch: Tensor, target: Tensor, passes: list[Pass]
) -> tuple[list[float], set[str]]:
    """Fills the shared gradient; returns the loss of each pass and the parameters that took part."""
    supernet, settings, ranks = state.supernet, course.settings, course.ranks
    supernet.zero_grad()
    with torch.random.fork_rng(devices=[]):
        # For dropout in users' networks; another one in each process.
        key = (course.seed, state.progress.step, *([ranks.rank] if ranks.rank else []))
        torch.manual_seed(generator(*key).initial_seed())
        losses, used = run_passes(
            supernet,
            channels_last(ranks.share(batch).to(supernet.device, non_blocking=True)),
            ranks.share(target).to(supernet.device, non_blocking=True),
            passes,
            label_smoothing=settings.label_smoothing,
            distillation=settings.distillation,
            precision=settings.precision,
        )
    return ranks.average(supernet, losses), used


def _check_finite(passes: list[Pass], losses: list[float], step: int, checkpoint: Path) -> None:
    for loss, one in zip(losses, passes, strict=True):
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} at step {step} for arch {one.arch}. {_way_back(checkpoint)}"
            )


def _way_back(checkpoint: Path) -> str:
    return (
        f"The last good state is {checkpoint}{'' if checkpoint.exists() else ' (not written yet)'}; "
        f"lower train.learning_rate or train.gradient_clip and train again"
    )


def _update(course: _Course, state: TrainingState, used: set[str]) -> None:
    """One step of the optimizer on the shared gradient, and of the moving average after it."""
    supernet, step = state.supernet, state.progress.step
    norm = supernet.clip_gradient(course.settings.gradient_clip)
    if not math.isfinite(norm):  # before it gets into the weights and the next checkpoint
        raise DivergedError(f"the gradient's norm is {norm} at step {step}. {_way_back(course.checkpoint)}")
    supernet.expose_gradients(used)
    for group in state.optimizer.param_groups:
        group["lr"] = course.rate(step)
    state.optimizer.step()
    for name, average in state.average.items():
        # Early on the average follows faster: what it began with should not linger.
        decay = min(course.settings.average_decay, (step + 1) / (step + 10))
        average.lerp_(supernet.flat[name], 1 - decay)


def _on_labels(passes: list[Pass], losses: list[float]) -> float:
    """The mean loss of the passes that learned from labels."""
    found = [one for one, done in zip(losses, passes, strict=True) if done.teacher is None]
    return sum(found) / len(found)


def _remember(moment: Moment, passes: list[Pass], losses: list[float]) -> History:
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
