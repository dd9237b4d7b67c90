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

from nas.rules.step import History, Moment, Pass, Rule, Size
from nas.supernet import Supernet
from runners.batches import Prepare, batches, batches_per_epoch, channels_last, generator
from runners.checkpoint import Progress, TrainingState, load_checkpoint, save_checkpoint
from runners.passes import run_passes
from runners.schedule import warmup_cosine

_REMEMBERED = 2048  # passes: what rules that learn from the history look back on


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a supernet is trained.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: peak, of AdamW.
        weight_decay: of matrices and kernels; biases, norms and scales take none.
        warmup_epochs: of the linear rise to the peak.
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
    """What one epoch did: the mean loss on labels, and how long it took."""

    epoch: int
    step: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float


class DivergedError(ValueError):
    """The loss became infinite or NaN."""


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

    Returns:
        The supernet to use: the averaged weights where an average is kept.

    Raises:
        DivergedError: the loss is not finite; names the step, the arch and the checkpoint.
        ValueError: the checkpoint is damaged or belongs to another space.
    """
    state = _start(supernet, settings)
    if checkpoint.exists():
        load_checkpoint(checkpoint, state)
    progress, last_saved = state.progress, time.monotonic()
    per_epoch = batches_per_epoch(len(images), settings.batch_size)
    total = per_epoch * settings.epochs
    for epoch in range(progress.step // per_epoch, settings.epochs):
        start = progress.step - epoch * per_epoch
        for batch, target in batches(
            images, labels, prepare, batch_size=settings.batch_size, seed=seed, epoch=epoch, start=start
        ):
            began = time.monotonic()
            rate = settings.learning_rate * warmup_cosine(
                progress.step, total=total, warmup=round(settings.warmup_epochs * per_epoch)
            )
            moment = Moment(
                space=supernet.space,
                rng=np.random.default_rng([seed, progress.step]),
                progress=progress.step / total,
                size=size,
                history=state.history,
            )
            passes = rule(moment)
            losses = _train_step(state, batch, target, passes, rate, settings, seed, checkpoint)
            state.history = _remember(moment, passes, losses)
            loss = _on_labels(passes, losses)
            progress.step += 1
            progress.loss_sum += loss
            progress.seconds += time.monotonic() - began
            on_step(progress.step, total)
            # The last step of an epoch is saved below, once the epoch has been judged.
            if time.monotonic() - last_saved > settings.checkpoint_seconds and progress.step % per_epoch:
                save_checkpoint(checkpoint, state)
                last_saved = time.monotonic()
        on_epoch(_summary(epoch, progress, per_epoch, rate, settings.batch_size), _judged(state))
        progress.loss_sum = progress.seconds = 0.0
        save_checkpoint(checkpoint, state)
        last_saved = time.monotonic()
    return _judged(state)


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


def _summary(epoch: int, progress: Progress, per_epoch: int, rate: float, batch_size: int) -> EpochSummary:
    return EpochSummary(
        epoch=epoch,
        step=progress.step,
        loss=progress.loss_sum / per_epoch,
        learning_rate=rate,
        seconds=progress.seconds,
        images_per_second=per_epoch * batch_size / max(progress.seconds, 1e-9),
    )


def _train_step(
    state: TrainingState,
    batch: Tensor,
    target: Tensor,
    passes: list[Pass],
    rate: float,
    settings: TrainSettings,
    seed: int,
    checkpoint: Path,
) -> list[float]:
    """One optimizer step over the passes of a rule; returns the loss of each."""
    supernet, step = state.supernet, state.progress.step
    batch = channels_last(batch.to(supernet.device, non_blocking=True))
    target = target.to(supernet.device, non_blocking=True)
    supernet.zero_grad()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(seed, step).initial_seed())  # for dropout in users' networks
        losses, used = run_passes(
            supernet,
            batch,
            target,
            passes,
            label_smoothing=settings.label_smoothing,
            distillation=settings.distillation,
            precision=settings.precision,
        )
    for one, done in zip(losses, passes, strict=True):
        if not math.isfinite(one):
            raise DivergedError(
                f"the loss is {one} at step {step} for arch {done.arch}. The last good state is {checkpoint}"
                f"{'' if checkpoint.exists() else ' (not written yet)'}; lower train.learning_rate or "
                f"train.gradient_clip and train again"
            )
    supernet.clip_gradient(settings.gradient_clip)
    supernet.expose_gradients(used)
    for parameters in state.optimizer.param_groups:
        parameters["lr"] = rate
    state.optimizer.step()
    for group, average in state.average.items():
        # Early on the average follows faster: what it began with should not linger.
        decay = min(settings.average_decay, (step + 1) / (step + 10))
        average.lerp_(supernet.flat[group], 1 - decay)
    return losses


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
